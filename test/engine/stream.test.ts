import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import v8 from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Act, CELL } from './fixtures/stage.ts';
import { Board, count, ends, failure, fixture, openEngine, success, tally, until } from './support.ts';

/** What may be between the source and the reader: lib/batch/outcome-stream.ts, unless there are more lanes. */
const MAX_LOOK_AHEAD = 4_096;

/** An engine whose items wait until the board says so, or for their signal. */
function openStage(t: TestContext, concurrency = 4) {
  const board = new Board();
  const engine = openEngine<Act, number>(t, fixture('stage'), { concurrency, handlerData: board.data });
  return { board, engine };
}

async function isIdle(engine: ReturnType<typeof openEngine>): Promise<void> {
  await until(() => {
    const { batches, pending, inFlight, waiting } = engine.stats();
    return batches + pending + inFlight + waiting === 0;
  });
}

test('100,000 items from an async generator: each once, bounded look-ahead', async (t) => {
  const engine = openEngine<number, number>(t, fixture('double'));
  let pulled = 0;
  let delivered = 0;
  let mostBetween = 0;
  async function* source() {
    for (; pulled < 100_000; ) {
      yield pulled++;
      mostBetween = Math.max(mostBetween, pulled - delivered);
    }
  }
  const seen = new Uint8Array(100_000);
  for await (const outcome of engine.stream(source())) {
    const { value, index } = success(outcome);
    assert.ok(value === index * 2 && seen[index] === 0);
    seen[index] = 1;
    delivered++;
    mostBetween = Math.max(mostBetween, pulled - delivered);
  }
  assert.equal(delivered, 100_000);
  assert.ok(mostBetween <= MAX_LOOK_AHEAD + 1, `${mostBetween} items between source and reader`);
});

test('sync iterables: an array, a set, a generator', async (t) => {
  const engine = openEngine<number, number>(t, fixture('double'));
  function* generated() {
    yield* count(50);
  }
  for (const items of [count(50), new Set(count(50)), generated()]) {
    const values: number[] = [];
    for await (const outcome of engine.stream(items)) values[outcome.index] = success(outcome).value;
    assert.deepEqual(
      values,
      count(50).map((index) => index * 2),
    );
  }
  for await (const _ of engine.stream([])) assert.fail('no items, no outcomes');
});

test('memory stays flat, for a quick reader and for one that is always behind', async (t) => {
  v8.setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  const total = 32_000;
  function* source() {
    // Two thousand characters each: what is kept by mistake shows.
    for (const index of count(total)) yield { text: String(index).padEnd(2_000, '.') };
  }
  for (const isSlow of [false, true]) {
    const engine = openEngine<object, object>(t, fixture('echo'), { concurrency: 32 });
    const usedMb: number[] = [];
    let read = 0;
    for await (const outcome of engine.stream(source())) {
      success(outcome);
      if (++read % 10_000 === 0) {
        gc();
        usedMb.push(process.memoryUsage().heapUsed / 1e6);
      }
      if (!isSlow || read % 8 !== 0) continue;
      while (engine.stats().succeeded < Math.min(total, read + 16)) await nextTurn();
    }
    const [early = 0, , late = 0] = usedMb;
    // Between the two are 20 000 outcomes, more than 40 MB; what the look-ahead holds varies by 8 MB.
    assert.ok(late - early < 20, `${isSlow ? 'slow' : 'quick'} reader: ${usedMb.map(Math.round).join(', ')} MB`);
  }
});

test('a reader that waits slows the source', async (t) => {
  const engine = openEngine<number, number>(t, fixture('double'));
  let pulled = 0;
  function* endless() {
    for (;;) yield pulled++;
  }
  const stream = engine.stream(endless());
  for (let read = 1; read <= 10_000; read++) {
    await stream.next();
    assert.ok(pulled - read <= MAX_LOOK_AHEAD + 1);
  }
  // What was pulled gets done, and then nothing moves until somebody reads.
  await until(() => engine.stats().succeeded === pulled);
  const before = pulled;
  for (let turn = 0; turn < 100; turn++) await nextTurn();
  assert.equal(pulled, before);
  await stream.return();
  await isIdle(engine);
});

test('leaving after 10 items cleans up', async (t) => {
  const { board, engine } = openStage(t);
  let isReturned = false;
  async function* source(): AsyncGenerator<Act> {
    try {
      for (let index = 0; ; index++) yield index < 10 ? { value: index } : { wait: 'obeys' };
    } finally {
      isReturned = true;
    }
  }
  let read = 0;
  for await (const outcome of engine.stream(source())) {
    success(outcome);
    if (++read === 10) break;
  }
  await isIdle(engine);
  assert.ok(isReturned);
  await until(() => board.get(CELL.running) === 0);
  const { outcomes } = await engine.run([{ value: 1 }, { value: 2 }]);
  assert.deepEqual(ends(outcomes), ['ok', 'ok']);
});

test('an error of the source is thrown after the outcomes, and ends what is in work', async (t) => {
  const { board, engine } = openStage(t);
  const failed = new Error('the source failed');
  async function* asynchronous(): AsyncGenerator<Act> {
    yield { value: 1 };
    yield { wait: 'obeys' };
    await until(() => board.get(CELL.running) === 1);
    throw failed;
  }
  function* synchronous(): Generator<Act> {
    yield { value: 1 };
    yield { value: 1 };
    throw failed;
  }
  const wrong = { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(failed) }) };

  for (const [source, items] of [
    [asynchronous(), 2],
    [synchronous(), 2],
    [wrong, 0],
  ] as const) {
    const got: string[] = [];
    await assert.rejects(
      async () => {
        for await (const outcome of engine.stream(source)) got.push(outcome.ok ? 'ok' : outcome.error.code);
      },
      (error) => error === failed,
    );
    assert.equal(got.length, items);
    assert.ok(got.every((end) => end === 'ok' || end === 'ABORTED'));
    await isIdle(engine);
  }
  // The handler was told, and not only given up.
  assert.equal(board.get(CELL.stopped), 1);
});

test('an abort ends a stream whose source never brings anything', async (t) => {
  const { engine } = openStage(t);
  const controller = new AbortController();
  let isReturned = false;
  const source: AsyncIterableIterator<Act> = {
    [Symbol.asyncIterator]: () => source,
    next: () => new Promise(() => {}),
    return: () => {
      isReturned = true;
      return new Promise(() => {});
    },
  };
  const reading = engine.stream(source, { signal: controller.signal }).next();
  await nextTurn();
  controller.abort();
  assert.deepEqual(await reading, { done: true, value: undefined });
  assert.ok(isReturned);
  await isIdle(engine);
  assert.deepEqual(getEventListeners(controller.signal, 'abort'), []);
});

test('an abort in the middle: what is done stays, what was pulled is aborted, nothing more is pulled', async (t) => {
  const { board, engine } = openStage(t);
  const controller = new AbortController();
  let pulled = 0;
  async function* source(): AsyncGenerator<Act> {
    for (;;) yield pulled++ < 5 ? { value: 1 } : { wait: 'obeys' };
  }
  const got: string[] = [];
  let pulledAtAbort = 0;
  for await (const outcome of engine.stream(source(), { signal: controller.signal })) {
    got.push(outcome.ok ? 'ok' : outcome.error.code);
    if (got.length !== 5) continue;
    await until(() => board.get(CELL.running) === 4);
    pulledAtAbort = pulled;
    controller.abort();
  }
  const { ok, ABORTED = 0, ...others } = tally(got);
  assert.equal(ok, 5);
  assert.deepEqual(others, {});
  // The one that the source had in hand at the abort is not part of the stream.
  assert.ok(ABORTED >= 4 && 5 + ABORTED >= pulledAtAbort - 1 && 5 + ABORTED <= pulled);
  assert.equal(board.get(CELL.stopped), 4);
  assert.deepEqual(getEventListeners(controller.signal, 'abort'), []);
});

test('a signal that was aborted before the start: nothing is pulled, nothing runs', async (t) => {
  const { board, engine } = openStage(t);
  let pulled = 0;
  const source = {
    [Symbol.iterator]: () => ({ next: () => ({ done: false as const, value: { value: pulled++ } }) }),
  };
  for (const items of [source, [{ value: 1 }, { value: 2 }]]) {
    const signal = AbortSignal.abort();
    for await (const outcome of engine.stream(items, { signal })) assert.fail(JSON.stringify(outcome));
    await isIdle(engine);
    assert.deepEqual(getEventListeners(signal, 'abort'), []);
  }
  assert.equal(pulled, 0);
  assert.equal(board.get(CELL.called), 0);
});

test('a stream that nobody reads does nothing and is in nobody’s way', async (t) => {
  const { engine } = openStage(t);
  let pulled = 0;
  function* source(): Generator<Act> {
    for (;;) yield { value: pulled++ };
  }
  const unread = engine.stream(source());
  const returned = engine.stream(source());
  assert.deepEqual(await returned.return(), { done: true, value: undefined });
  await engine.run([{ value: 1 }]);
  assert.equal(pulled, 0);
  await engine.close();
  await assert.rejects(unread.next(), { code: 'ENGINE_CLOSED' });
  assert.throws(() => engine.stream([]), { code: 'ENGINE_CLOSED' });
});

test('throw() on the iterator ends the stream with that error', async (t) => {
  const { board, engine } = openStage(t);
  let isReturned = false;
  function* source(): Generator<Act> {
    try {
      yield { value: 7 };
      for (;;) yield { wait: 'obeys' };
    } finally {
      isReturned = true;
    }
  }
  const stream = engine.stream(source());
  assert.equal(success((await stream.next()).value ?? undefined).value, 7);
  await until(() => board.get(CELL.running) === 4);
  const thrown = new Error('thrown into it');
  await assert.rejects(stream.throw(thrown), (error) => error === thrown);
  assert.ok(isReturned);
  await isIdle(engine);
  await until(() => board.get(CELL.running) === 0);
  assert.equal(board.get(CELL.stopped), 4);
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
});

test('close lets a stream finish what was pulled; with abort it ends at once', async (t) => {
  for (const mode of ['drain', 'abort'] as const) {
    const { board, engine } = openStage(t);
    let isReturned = false;
    async function* source(): AsyncGenerator<Act> {
      try {
        for (;;) yield { wait: 'obeys' };
      } finally {
        isReturned = true;
      }
    }
    const reading = (async () => {
      const got: string[] = [];
      for await (const outcome of engine.stream(source())) got.push(outcome.ok ? 'ok' : outcome.error.code);
      return got;
    })();
    await until(() => board.get(CELL.running) === 4);
    const closing = engine.close({ mode });
    if (mode === 'drain') board.set(CELL.isOpen, 1);
    await closing;
    const got = tally(await reading);
    assert.deepEqual(Object.keys(got), [mode === 'drain' ? 'ok' : 'ABORTED']);
    assert.ok(isReturned);
  }
});

test('items of a stream are tried again', async (t) => {
  const engine = openEngine<{ failures: number; as: string }, number>(t, fixture('verdicts'), {
    // The handler counts its calls per thread.
    threads: 1,
    retry: { initialMs: 1, jitter: 0 },
  });
  const attempts: number[] = [];
  for await (const outcome of engine.stream([
    { failures: 0, as: 'retry' },
    { failures: 1, as: 'retry' },
    { failures: 2, as: 'retry' },
    { failures: 3, as: 'retry' },
  ])) {
    attempts[outcome.index] = outcome.ok ? outcome.attempts : -failure(outcome).error.attempts;
  }
  assert.deepEqual(attempts, [1, 2, 3, -3]);
});

test('bad arguments are refused at once', (t) => {
  const { engine } = openStage(t);
  for (const items of [undefined, null, 5, 'text', {}, { next: () => ({}) }]) {
    assert.throws(() => engine.stream(items as never), { code: 'INVALID_OPTION', option: 'items' });
  }
  assert.throws(() => engine.stream([], { signal: 5 } as never), { code: 'INVALID_OPTION', option: 'signal' });
});
