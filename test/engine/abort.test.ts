import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineOptions } from '../../lib/options.ts';
import { type Act, CELL } from './fixtures/stage.ts';
import { Board, count, ends, failure, fixture, openEngine, success, tally, until } from './support.ts';

function openStage(t: TestContext, options: Omit<EngineOptions, 'handler'> = {}) {
  const board = new Board();
  const engine = openEngine<Act>(t, fixture('stage'), { concurrency: 4, ...options, handlerData: board.data });
  return { board, engine };
}

test('aborted before the start: nothing runs', async (t) => {
  const { board, engine } = openStage(t);
  const signal = AbortSignal.abort();
  const { outcomes, aborted, summary } = await engine.run([{}, {}, {}], { signal });
  assert.equal(aborted, true);
  assert.deepEqual(summary.errors, { ABORTED: 3 });
  for (const outcome of outcomes) {
    const { error, attempts, threadId } = failure(outcome);
    assert.deepEqual(
      [error.code, error.name, error.possiblyExecuted, attempts, threadId],
      ['ABORTED', 'AbortError', false, 0, -1],
    );
  }
  assert.equal(board.get(CELL.called), 0);
  assert.deepEqual(getEventListeners(signal, 'abort'), []);
  assert.equal((await engine.run([], { signal })).outcomes.length, 0);
});

test('aborted before any thread is ready', async (t) => {
  const { engine } = openStage(t);
  const controller = new AbortController();
  const running = engine.run([{ wait: 'obeys' }, {}], { signal: controller.signal });
  controller.abort();
  const { outcomes, aborted } = await running;
  assert.equal(aborted, true);
  assert.deepEqual(tally(ends(outcomes)), { ABORTED: 2 });
});

test('while items wait for their tokens: they were certainly not executed, and cost no token', async (t) => {
  const { board, engine } = openStage(t, { rate: { limit: 2, windowMs: 600_000 } });
  const controller = new AbortController();
  const running = engine.run(
    count(8).map(() => ({})),
    { signal: controller.signal },
  );
  await until(() => engine.stats().succeeded === 2 && engine.stats().waiting === 4);
  controller.abort();
  const { outcomes, aborted } = await running;
  assert.equal(aborted, true);
  assert.deepEqual(tally(ends(outcomes)), { ok: 2, ABORTED: 6 });
  for (const outcome of outcomes) if (!outcome.ok) assert.equal(outcome.error.possiblyExecuted, false);
  assert.equal(board.get(CELL.called), 2);
});

test('in the handler: it was told, and may have been executed', async (t) => {
  const { board, engine } = openStage(t);
  const controller = new AbortController();
  const running = engine.run([{ value: 1 }, ...count(9).map((): Act => ({ wait: 'obeys' }))], {
    signal: controller.signal,
  });
  await until(() => board.get(CELL.running) === 4 && engine.stats().succeeded === 1);
  controller.abort('why not');
  const { outcomes, aborted, summary } = await running;
  assert.equal(aborted, true);
  assert.equal(success(outcomes[0]).value, 1);
  assert.deepEqual(summary.errors, { ABORTED: 9 });
  assert.equal(board.get(CELL.stopped), 4);
  assert.equal(board.get(CELL.running), 0);
  assert.deepEqual(tally(outcomes.map((outcome) => (outcome.ok ? 'ok' : String(outcome.error.possiblyExecuted)))), {
    ok: 1,
    true: 4,
    false: 5,
  });
  assert.deepEqual(getEventListeners(controller.signal, 'abort'), []);
});

test('while an item waits to be tried again', async (t) => {
  const engine = openEngine(t, fixture('verdicts'), { retry: { initialMs: 600_000, maxMs: 600_000 } });
  const controller = new AbortController();
  engine.on('retry', () => controller.abort());
  const { outcomes, aborted } = await engine.run([{ failures: 1, as: 'retry' }], { signal: controller.signal });
  assert.equal(aborted, true);
  const { error, attempts } = failure(outcomes[0]);
  assert.deepEqual([error.code, attempts, error.possiblyExecuted], ['ABORTED', 1, true]);
  assert.equal(engine.stats().pending, 0);
});

test('one of two batches: the other goes on unharmed', async (t) => {
  const { board, engine } = openStage(t);
  const controller = new AbortController();
  const aborted = engine.run(
    count(20).map((): Act => ({ wait: 'obeys' })),
    { signal: controller.signal },
  );
  const other = engine.run(count(20).map((): Act => ({ wait: 'obeys', value: 'other' })));
  await until(() => board.get(CELL.running) === 4);
  controller.abort();
  assert.deepEqual(tally(ends((await aborted).outcomes)), { ABORTED: 20 });
  await until(() => board.get(CELL.running) === 4);
  board.set(CELL.isOpen, 1);
  const { outcomes, aborted: isAborted } = await other;
  assert.equal(isAborted, false);
  assert.deepEqual(tally(ends(outcomes)), { ok: 20 });
  assert.equal(engine.stats().workerExits, 0);
});

for (const deaf of [{ wait: 'deaf' }, { spin: true }] as const satisfies readonly Act[]) {
  test(`a handler that ignores its signal (${Object.keys(deaf)}): the batch does not wait for it`, async (t) => {
    const { board, engine } = openStage(t, { cancelGraceMs: 20, threads: 1 });
    const controller = new AbortController();
    const running = engine.run([deaf, { value: 1 }], { signal: controller.signal });
    await until(() => board.get(CELL.called) >= 1);
    const other = engine.run([{ takesMs: 1, value: 'other' }]);
    controller.abort();
    const { outcomes, aborted } = await running;
    assert.equal(aborted, true);
    const { error } = failure(outcomes[0]);
    assert.deepEqual([error.code, error.possiblyExecuted], ['ABORTED', true]);
    assert.equal(board.get(CELL.running) > 0, true);

    // Nobody else is harmed: its thread lives on, and its lane is free again when it is done.
    board.set(CELL.isOpen, 1);
    assert.equal(success((await other).outcomes[0]).value, 'other');
    const { outcomes: next } = await engine.run(count(8).map((): Act => ({ takesMs: 1 })));
    assert.deepEqual(tally(ends(next)), { ok: 8 });
    await until(() => engine.stats().inFlight === 0);
    assert.equal(engine.stats().workerExits, 0);
  });
}

test('a handler that never comes back is ended by its timeout, after its batch', async (t) => {
  const { board, engine } = openStage(t, { cancelGraceMs: 1, killGraceMs: 1, timeoutMs: 200, threads: 1 });
  const controller = new AbortController();
  const running = engine.run([{ spin: true }], { signal: controller.signal });
  await until(() => board.get(CELL.called) === 1);
  controller.abort();
  assert.deepEqual(ends((await running).outcomes), ['ABORTED']);
  await until(() => engine.stats().workerExits === 1 && engine.stats().threadsReady === 1);
  assert.equal(engine.stats().inFlight, 0);
});

test('after the end, and twice', async (t) => {
  const { board, engine } = openStage(t);
  const controller = new AbortController();
  const { signal } = controller;
  const done = await engine.run([{ value: 1 }], { signal });
  assert.deepEqual(getEventListeners(signal, 'abort'), []);
  controller.abort();
  assert.equal(done.aborted, false);

  const both = new AbortController();
  const running = engine.run([{ wait: 'obeys' }], { signal: both.signal });
  await until(() => board.get(CELL.running) === 1);
  both.abort();
  both.abort();
  const closing = engine.close({ mode: 'abort' });
  assert.deepEqual(ends((await running).outcomes), ['ABORTED']);
  await closing;
});

test('one signal for many batches', async (t) => {
  const { engine } = openStage(t);
  const warnings: Error[] = [];
  const warn = (warning: Error) => warnings.push(warning);
  process.on('warning', warn);
  t.after(() => process.off('warning', warn));
  const controller = new AbortController();
  const { signal } = controller;
  const running = Promise.all(count(50).map(() => engine.run([{ wait: 'obeys' }], { signal })));
  await until(() => engine.stats().inFlight === 4);
  controller.abort();
  for (const { outcomes } of await running) assert.deepEqual(ends(outcomes), ['ABORTED']);
  assert.deepEqual(getEventListeners(signal, 'abort'), []);
  assert.deepEqual(warnings, []);
});

test('at any moment, many times', async (t) => {
  const { board, engine } = openStage(t, { concurrency: 16, rate: { limit: 8, windowMs: 4, spacing: 0.2 } });
  await engine.ready();
  let abortedCount = 0;
  for (const round of count(120)) {
    const controller = new AbortController();
    const items = count(40).map((index): Act => (index % 10 === 9 ? { wait: 'obeys' } : { takesMs: index % 3 }));
    const running = engine.run(items, { signal: controller.signal });
    await sleep(round % 12);
    controller.abort();
    const { outcomes } = await running;
    assert.equal(outcomes.length, 40);
    const { ok = 0, ABORTED = 0 } = tally(ends(outcomes));
    assert.equal(ok + ABORTED, 40);
    abortedCount += ABORTED;
    // Handlers that obey are all back: none was started after it was told to stop.
    assert.equal(board.get(CELL.running), 0, `round ${round}`);
  }
  assert.ok(abortedCount > 0);
  // Every token is there again, and so is every lane.
  await until(() => engine.stats().tokens[0]?.free === 8);
  const { batches, pending, waiting, inFlight } = engine.stats();
  assert.deepEqual({ batches, pending, waiting, inFlight }, { batches: 0, pending: 0, waiting: 0, inFlight: 0 });
});
