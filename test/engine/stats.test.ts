import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEngine } from '../../lib/engine.ts';
import { type Act, CELL } from './fixtures/stage.ts';
import { Board, count, fixture, openEngine, until } from './support.ts';

const NO_LATENCY = { min: 0, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 };

test('a new engine', async (t) => {
  const engine = openEngine(t, fixture('double'), { threads: 2, concurrency: 5, rate: { limit: 7, windowMs: 1_000 } });
  const fresh = {
    threads: 2,
    threadsReady: 0,
    concurrency: 5,
    batches: 0,
    pending: 0,
    waiting: 0,
    inFlight: 0,
    succeeded: 0,
    failed: 0,
    requestsSent: 0,
    refused: 0,
    cancelled: 0,
    retried: 0,
    rateLimitEvents: 0,
    hintsIgnored: 0,
    circuit: 'closed',
    circuitOpenings: 0,
    credentialRefreshes: 0,
    workerExits: 0,
    isPaused: false,
    pauseLeftMs: 0,
    tokens: [{ total: 7, free: 7 }],
    waitMs: NO_LATENCY,
    durationMs: NO_LATENCY,
  };
  assert.deepEqual(engine.stats(), fresh);
  await engine.ready();
  assert.deepEqual(engine.stats(), { ...fresh, threadsReady: 2 });
  await engine.ready();
});

test('while batches run, and after them', async (t) => {
  const board = new Board();
  const engine = openEngine<Act>(t, fixture('stage'), {
    threads: 2,
    concurrency: 4,
    rate: { limit: 3, windowMs: 600_000 },
    handlerData: board.data,
  });
  const controller = new AbortController();
  const running = engine.run(
    count(10).map((): Act => ({ wait: 'deaf' })),
    { signal: controller.signal },
  );
  await until(() => engine.stats().inFlight === 3 && engine.stats().waiting === 1);
  const during = engine.stats();
  assert.deepEqual([during.batches, during.succeeded, during.tokens], [1, 0, [{ total: 3, free: 0 }]]);
  assert.equal(JSON.parse(JSON.stringify(during)).inFlight, 3);

  board.set(CELL.isOpen, 1);
  await until(() => engine.stats().succeeded === 3);
  controller.abort();
  const { summary } = await running;
  const after = engine.stats();
  assert.deepEqual(
    [after.batches, after.pending, after.waiting, after.inFlight, after.succeeded, after.failed, after.requestsSent],
    [0, 0, 0, 0, 3, 7, 3],
  );
  assert.deepEqual([summary.succeeded, summary.failed, summary.requestsSent], [3, 7, 3]);
  for (const { min, mean, p50, p90, p99, max } of [after.durationMs, summary.durationMs]) {
    assert.ok(min > 0 && min <= p50 && p50 <= p90 && p90 <= p99 && p99 <= max * 1.001 && mean >= min && mean <= max);
  }
});

test('a snapshot does not change', async (t) => {
  const engine = openEngine<number>(t, fixture('double'));
  const before = engine.stats();
  const copy = structuredClone(before);
  await engine.run(count(100));
  assert.deepEqual(before, copy);
});

test('threads are never more than concurrency', async (t) => {
  const engine = createEngine({ handler: fixture('double'), threads: 8, concurrency: 2 });
  t.after(() => engine.close());
  await engine.ready();
  const { threads, threadsReady, concurrency } = engine.stats();
  assert.deepEqual({ threads, threadsReady, concurrency }, { threads: 2, threadsReady: 2, concurrency: 2 });
});
