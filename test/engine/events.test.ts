import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Progress } from '../../lib/batch/progress.ts';
import type { EngineEvents } from '../../lib/events.ts';
import type { Act } from './fixtures/stage.ts';
import { Board, count, ends, fixture, openEngine, tally, until } from './support.ts';

function openStage(t: TestContext) {
  const board = new Board();
  return { board, engine: openEngine<Act>(t, fixture('stage'), { concurrency: 4, handlerData: board.data }) };
}

function collectWarnings(t: TestContext): Error[] {
  const warnings: Error[] = [];
  const warn = (warning: Error) => warnings.push(warning);
  process.on('warning', warn);
  t.after(() => process.off('warning', warn));
  return warnings;
}

test('progress only grows, and its last report is complete', async (t) => {
  const { engine } = openStage(t);
  const events: EngineEvents['progress'][] = [];
  const calls: Progress[] = [];
  engine.on('progress', (progress) => events.push(progress));
  await engine.run(
    count(200).map(() => ({ takesMs: 5 })),
    { onProgress: (progress) => calls.push(progress) },
  );
  assert.deepEqual(
    events.map(({ batch, ...progress }) => {
      assert.equal(batch, 1);
      return progress;
    }),
    calls,
  );
  assert.ok(calls.length > 1);
  for (const [index, { done, succeeded, failed, total, elapsedMs }] of calls.entries()) {
    const before = calls[index - 1];
    assert.equal(total, 200);
    assert.equal(done, succeeded + failed);
    assert.ok(before === undefined || (done >= before.done && elapsedMs > before.elapsedMs));
  }
  // At most every 100 ms, but for the last.
  for (const [index, { elapsedMs }] of calls.slice(0, -1).entries()) assert.ok(elapsedMs >= 100 * (index + 1) - 1);
  const last = calls.at(-1);
  assert.deepEqual(
    [last?.done, last?.inFlight, last?.waiting, last?.timeLeftMs, last?.isPaused],
    [200, 0, 0, 0, false],
  );
});

test('even an empty batch reports its end; batches are numbered', async (t) => {
  const { engine } = openStage(t);
  const events: (number | undefined)[][] = [];
  engine.on('progress', ({ batch, done, total }) => events.push([batch, done, total]));
  await engine.run([]);
  await engine.run([{}]);
  assert.deepEqual(events.filter(([, done, total]) => done === total).slice(0, 2), [
    [1, 0, 0],
    [2, 1, 1],
  ]);
});

test('the progress of a stream has no total until the source ends', async (t) => {
  const { board, engine } = openStage(t);
  const calls: Progress[] = [];
  async function* source(): AsyncGenerator<Act> {
    yield {};
    yield {};
    await until(() => calls.length > 0);
    yield {};
  }
  for await (const _ of engine.stream(source(), { onProgress: (progress) => calls.push(progress) }));
  assert.equal(calls[0]?.total, undefined);
  assert.equal(calls[0]?.timeLeftMs, undefined);
  const last = calls.at(-1);
  assert.deepEqual([last?.done, last?.total, last?.timeLeftMs], [3, 3, 0]);
  assert.equal(board.get(0), 3);
});

test('listeners that throw break nothing: each becomes a warning, and the others are still called', async (t) => {
  const warnings = collectWarnings(t);
  const engine = openEngine<string>(t, fixture('hostile'), { retry: { initialMs: 1 } });
  const heard: string[] = [];
  const thrown: unknown[] = [new Error('from a listener'), 'a string', null, Symbol('s'), Object.create(null)];
  for (const error of thrown) {
    engine.on('workerExit', () => {
      throw error;
    });
    engine.on('progress', () => {
      throw error;
    });
  }
  engine.on('workerExit', async () => {
    throw new Error('from an async listener');
  });
  engine.on('workerExit', () => heard.push('workerExit'));
  engine.on('progress', () => heard.push('progress'));
  const { outcomes } = await engine.run(['exit', 'fine', 'slow'], {
    onProgress: () => {
      throw new Error('from onProgress');
    },
  });
  assert.deepEqual(ends(outcomes), ['WORKER_LOST', 'ok', 'ok']);
  const { workerExit = 0, progress = 0 } = tally(heard);
  assert.ok(workerExit >= 1 && progress >= 1);
  const expected = thrown.length * (workerExit + progress) + workerExit + progress;
  await until(() => warnings.length >= expected);
  assert.equal(warnings.length, expected);
  const messages = new Set(warnings.map(({ message }) => message));
  for (const from of ['from a listener', 'from an async listener', 'from onProgress']) assert.ok(messages.has(from));
});

test('a listener may use the engine: start a batch, listen no more, close', async (t) => {
  const { engine } = openStage(t);
  const heard: number[] = [];
  const again: Promise<unknown>[] = [];
  const listener = ({ batch }: { batch: number }) => {
    heard.push(batch);
    engine.off('progress', listener);
    again.push(engine.run([{}]), engine.close());
  };
  engine.on('progress', listener);
  await engine.run([{}]);
  await Promise.all(again);
  assert.deepEqual(heard, [1]);
});

test('once hears one event', async (t) => {
  const { engine } = openStage(t);
  const heard: number[] = [];
  engine.once('progress', ({ batch }) => heard.push(batch));
  await engine.run([]);
  await engine.run([]);
  assert.deepEqual(heard, [1]);
});

test('workerExit tells of deaths, and not of closing', async (t) => {
  const open = (options: { timeoutMs?: number; killGraceMs?: number }) => {
    const engine = openEngine<string>(t, fixture('hostile'), { ...options, retry: { maxAttempts: 1 } });
    const exits: EngineEvents['workerExit'][] = [];
    engine.on('workerExit', (event) => exits.push(event));
    return { engine, exits };
  };
  const dying = open({});
  await dying.engine.run(['exit']);
  const [first, second] = dying.exits;
  // The first time it was in nobody's company, but only the second time that was known.
  assert.equal(dying.exits.length, 2);
  assert.notEqual(first?.threadId, second?.threadId);
  for (const { exitCode, reason } of dying.exits) {
    assert.deepEqual([exitCode, reason], [7, 'The worker thread exited with code 7.']);
  }

  const looping = open({ timeoutMs: 100, killGraceMs: 1 });
  await looping.engine.run(['loop forever']);
  assert.deepEqual(
    looping.exits.map(({ reason }) => reason),
    ['a handler that ignored its timeout'],
  );

  for (const { engine, exits } of [dying, looping]) {
    exits.length = 0;
    await engine.close();
    await nextTurn();
    assert.deepEqual(exits, []);
  }
});
