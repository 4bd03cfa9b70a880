import assert from 'node:assert/strict';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createEngine } from '../../lib/engine.ts';
import type { EngineOptions } from '../../lib/options.ts';
import * as blocking from './fixtures/blocking.ts';
import { type Act, CELL } from './fixtures/stage.ts';
import type { Trouble } from './fixtures/verdicts.ts';
import { Board, count, ends, failure, fixture, openEngine, tally, until } from './support.ts';

function openStage(t: TestContext, options: Omit<EngineOptions, 'handler'> = {}) {
  const board = new Board();
  const engine = openEngine<Act>(t, fixture('stage'), { concurrency: 4, ...options, handlerData: board.data });
  return { board, engine };
}

test('drain: what was taken on is finished, nothing more is', async (t) => {
  const { board, engine } = openStage(t);
  const running = [
    engine.run(count(20).map((): Act => ({ wait: 'obeys' }))),
    engine.run(count(20).map((): Act => ({ takesMs: 1 }))),
  ];
  await until(() => board.get(CELL.running) > 0);
  const closing = engine.close();
  await assert.rejects(engine.run([{}]), { name: 'EngineClosedError', code: 'ENGINE_CLOSED' });
  await assert.rejects(engine.ready(), { code: 'ENGINE_CLOSED' });
  assert.throws(() => engine.stream([]), { code: 'ENGINE_CLOSED' });
  board.set(CELL.isOpen, 1);
  await closing;
  for (const { outcomes, aborted } of await Promise.all(running)) {
    assert.deepEqual(tally(ends(outcomes)), { ok: 20 });
    assert.equal(aborted, false);
  }
  await assert.rejects(engine.run([{}]), { code: 'ENGINE_CLOSED' });
  const { threadsReady, batches } = engine.stats();
  assert.deepEqual({ threadsReady, batches }, { threadsReady: 0, batches: 0 });
});

test('drain waits for what will be tried again', async (t) => {
  const engine = openEngine<Trouble>(t, fixture('verdicts'), { threads: 1, retry: { initialMs: 20 } });
  const running = engine.run([{ failures: 2, as: 'retry' }]);
  await engine.close();
  assert.deepEqual(ends((await running).outcomes), ['ok']);
});

test('abort: what is left ends at once, and every item has its outcome', async (t) => {
  const { board, engine } = openStage(t);
  const running = engine.run([{ value: 1 }, ...count(19).map((): Act => ({ wait: 'obeys' }))]);
  await until(() => board.get(CELL.running) === 4);
  await engine.close({ mode: 'abort' });
  const { outcomes, aborted } = await running;
  assert.equal(aborted, true);
  assert.deepEqual(tally(ends(outcomes)), { ok: 1, ABORTED: 19 });
  assert.equal(board.get(CELL.stopped), 4);
});

test('twice, and abort while it drains', async (t) => {
  const { board, engine } = openStage(t);
  const running = engine.run([{ wait: 'obeys' }]);
  await until(() => board.get(CELL.running) === 1);
  const closings = [engine.close(), engine.close(), engine.close({ mode: 'abort' }), engine.close()];
  assert.deepEqual(ends((await running).outcomes), ['ABORTED']);
  await Promise.all(closings);
  await engine.close();
  await engine.close({ mode: 'abort' });
});

test('an unknown mode is refused, and closes nothing', async (t) => {
  const { engine } = openStage(t);
  await assert.rejects(engine.close({ mode: 'now' } as never), { code: 'INVALID_OPTION', option: 'mode' });
  assert.deepEqual(ends((await engine.run([{}])).outcomes), ['ok']);
});

test('a new engine, at once', async (t) => {
  const { engine } = openStage(t);
  await engine.close();
  const { engine: other } = openStage(t);
  const ready = assert.rejects(other.ready(), { code: 'ENGINE_CLOSED' });
  await other.close({ mode: 'abort' });
  await ready;
});

for (const mode of ['drain', 'abort'] as const) {
  test(`during a pause after a rate-limit error: ${mode}`, async (t) => {
    const engine = openEngine<Trouble>(t, fixture('verdicts'), {
      threads: 1,
      concurrency: 1,
      retry: { initialMs: mode === 'abort' ? 600_000 : 100, maxMs: 600_000 },
    });
    const closed = new Promise<void>((resolve, reject) => {
      engine.once('paused', () => {
        assert.equal(engine.stats().isPaused, true);
        engine.close({ mode }).then(resolve, reject);
      });
    });
    const { outcomes } = await engine.run([{ failures: 1, as: 'rate-limit' }, { failures: 0 }]);
    await closed;
    assert.deepEqual(ends(outcomes), mode === 'drain' ? ['ok', 'ok'] : ['ABORTED', 'ABORTED']);
  });
}

test('with a handler that loops: abort comes back after the grace, drain after the timeout', async (t) => {
  for (const mode of ['abort', 'drain'] as const) {
    const { board, engine } = openStage(t, {
      cancelGraceMs: 10,
      killGraceMs: 10,
      timeoutMs: mode === 'abort' ? 600_000 : 100,
      retry: { maxAttempts: 1 },
    });
    const running = engine.run([{ spin: true }, {}]);
    await until(() => board.get(CELL.called) >= 1);
    await engine.close({ mode });
    const { error } = failure((await running).outcomes[0]);
    assert.deepEqual([error.code, error.possiblyExecuted], [mode === 'abort' ? 'ABORTED' : 'TIMEOUT', true]);
    // Its thread is gone: nobody is there to see that the stage is open.
    const ended = board.get(CELL.ended);
    board.set(CELL.isOpen, 1);
    assert.equal(board.get(CELL.ended), ended);
  }
});

test('with a handler inside a native call: close comes back before the call does', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'sluicegate-close-'));
  const file = join(folder, 'go on');
  const board = new Board();
  const engine = openEngine<string>(t, fixture('blocking'), { cancelGraceMs: 1, threads: 1, handlerData: board.data });
  try {
    const running = engine.run([file]);
    await until(() => board.get(blocking.CELL.called) === 1);
    await engine.close({ mode: 'abort' });
    assert.deepEqual(ends((await running).outcomes), ['ABORTED']);
    assert.equal(board.get(blocking.CELL.ended), 0);
  } finally {
    await writeFile(file, '');
  }
});

test('await using closes', async (t) => {
  const board = new Board();
  let running: Promise<unknown>;
  let closed: ReturnType<typeof createEngine<Act>>;
  {
    await using engine = createEngine<Act>({ handler: fixture('stage'), handlerData: board.data });
    t.after(() => engine.close({ mode: 'abort' }));
    running = engine.run([{ takesMs: 5 }]);
    closed = engine;
  }
  assert.equal(board.get(CELL.ended), 1);
  await running;
  await assert.rejects(closed.run([]), { code: 'ENGINE_CLOSED' });
});
