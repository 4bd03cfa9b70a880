import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineOptions } from '../../lib/options.ts';
import { CELL, type Use } from './fixtures/context.ts';
import { Board, count, ends, failure, fixture, openEngine, success, tally, until } from './support.ts';

const FOR_EVER_MS = 600_000;

function openContext(t: TestContext, options: Omit<EngineOptions, 'handler'> = {}) {
  const board = new Board();
  const handlerData = { cells: board.cells, name: 'the state' };
  const engine = openEngine<Use>(t, fixture('context'), { ...options, handlerData });
  return { board, engine, free: () => engine.stats().tokens[0]?.free };
}

test('index, attempt, threadId, state, signal', async (t) => {
  const { engine } = openContext(t);
  const { outcomes } = await engine.run(count(50).map(() => ({ kind: 'report' })));
  for (const [index, outcome] of outcomes.entries()) {
    const { value, threadId } = success(outcome);
    assert.deepEqual(value, {
      index,
      attempt: 1,
      threadId,
      isOwnThread: true,
      state: `the state in ${threadId}`,
      isSameSignal: true,
      isAborted: false,
    });
  }
});

test('the signal is made when it is first read', async (t) => {
  const { engine } = openContext(t);
  const { outcomes } = await engine.run([
    { kind: 'count controllers' },
    { kind: 'count controllers', readsSignal: true },
  ]);
  assert.deepEqual(
    outcomes.map((outcome) => success(outcome).value),
    [
      { made: 0, reads: 0 },
      { made: 1, reads: 2 },
    ],
  );
});

test('acquire takes a token each time', async (t) => {
  const { engine, free } = openContext(t, { rate: { limit: 10, windowMs: FOR_EVER_MS } });
  assert.equal(free(), 10);
  const { outcomes, summary } = await engine.run([{ kind: 'acquire', permits: 3 }, { kind: 'acquire' }]);
  assert.deepEqual(tally(ends(outcomes)), { ok: 2 });
  assert.equal(free(), 5);
  assert.equal(summary.requestsSent, 5);
});

test('acquire without a rate limit, and with several', async (t) => {
  const { engine: unlimited } = openContext(t);
  assert.deepEqual(ends((await unlimited.run([{ kind: 'acquire', permits: 5 }])).outcomes), ['ok']);

  const { engine } = openContext(t, {
    rate: [
      { limit: 20, windowMs: FOR_EVER_MS },
      { limit: 5, windowMs: FOR_EVER_MS },
    ],
  });
  assert.deepEqual(ends((await engine.run([{ kind: 'acquire', permits: 3 }])).outcomes), ['ok']);
  assert.deepEqual(engine.stats().tokens, [
    { total: 5, free: 1 },
    { total: 20, free: 16 },
  ]);
});

test('waiting in acquire is no time of the attempt, one after the other or all at once', async (t) => {
  const { engine } = openContext(t, {
    rate: { limit: 2, windowMs: 60 },
    concurrency: 2,
    timeoutMs: 150,
    retry: { maxAttempts: 1 },
  });
  // Each of them waits for about eight windows.
  const { outcomes } = await engine.run([
    { kind: 'acquire', permits: 8 },
    { kind: 'acquire', permits: 8 },
  ]);
  assert.deepEqual(ends(outcomes), ['ok', 'ok']);
  const { outcomes: atOnce } = await engine.run([{ kind: 'acquire at once', permits: 8 }], {});
  assert.deepEqual(ends(atOnce), ['ok'], JSON.stringify(atOnce));
  assert.equal(engine.stats().workerExits, 0);
  assert.equal(engine.stats().retried, 0);
  await until(() => engine.stats().tokens[0]?.free === 2);
});

test('an abort ends all waits in acquire and costs no token', async (t) => {
  const { engine, free, board } = openContext(t, { rate: { limit: 4, windowMs: FOR_EVER_MS }, threads: 1 });
  const controller = new AbortController();
  const running = engine.run([{ kind: 'acquire at once', permits: 10 }], { signal: controller.signal });
  await until(() => board.get(CELL.called) === 1 && free() === 0);
  controller.abort();
  const { outcomes } = await running;
  assert.deepEqual(ends(outcomes), ['ABORTED']);
  assert.equal(engine.stats().workerExits, 0);
  assert.equal(engine.stats().inFlight, 0);
});

for (const [kind, arrivalWithinMs] of [
  ['sent, then wait', 0],
  ['answered, then wait', Number.POSITIVE_INFINITY],
] as const) {
  test(`${kind}: the token comes back while the handler still works`, async (t) => {
    const { board, engine } = openContext(t, { rate: { limit: 1, windowMs: 30, arrivalWithinMs }, concurrency: 3 });
    const running = engine.run([{ kind }, { kind }, { kind }]);
    await until(() => board.get(CELL.running) === 3);
    board.set(CELL.isOpen, 1);
    assert.deepEqual(tally(ends((await running).outcomes)), { ok: 3 });
  });
}

test('a handler that says nothing holds its token until it is done', async (t) => {
  const { board, engine, free } = openContext(t, { rate: { limit: 1, windowMs: 10 }, concurrency: 2 });
  const running = engine.run([{ kind: 'wait' }, { kind: 'wait' }]);
  await until(() => engine.stats().waiting === 1 && engine.stats().inFlight === 1);
  // Many windows: what should not happen has had its chance.
  await sleep(100);
  assert.equal(board.get(CELL.running), 1);
  assert.equal(free(), 0);
  board.set(CELL.isOpen, 1);
  assert.deepEqual(ends((await running).outcomes), ['ok', 'ok']);
  await until(() => free() === 1);
});

test('throwIfStopped throws the reason of the signal, once there is one', async (t) => {
  const { engine } = openContext(t, { timeoutMs: 50 });
  const { outcomes } = await engine.run([{ kind: 'throwIfStopped' }]);
  assert.deepEqual(success(outcomes[0]).value, { code: 'TIMEOUT', isReason: true });
});

test('a first window without tokens', async (t) => {
  const { engine, free } = openContext(t, { rate: { limit: 3, windowMs: FOR_EVER_MS, initial: 'empty' } });
  assert.equal(free(), 0);
  const controller = new AbortController();
  const running = engine.run([{ kind: 'report' }], { signal: controller.signal });
  await until(() => engine.stats().waiting === 1);
  controller.abort();
  const { error } = failure((await running).outcomes[0]);
  assert.deepEqual([error.code, error.possiblyExecuted], ['ABORTED', false]);
});
