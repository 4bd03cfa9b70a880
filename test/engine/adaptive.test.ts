import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { RetryOptions } from '../../lib/index.ts';
import { makeEngine, requests } from '../support/engine-bench.ts';
import { HeldServer } from '../support/held-server.ts';
import { count, tally } from './support.ts';

const RETRY = { initialMs: 10, factor: 1, maxMs: 1000, jitter: 0, maxAttempts: 50, maxRefusals: 50 } as const;

/** One item at a time, so that it is known what came before each failure. */
async function open(t: TestContext, retry: RetryOptions = {}) {
  const server = await HeldServer.start(t);
  const engine = makeEngine(t, { threads: 1, concurrency: 1, circuit: false, retry: { ...RETRY, ...retry } });
  const waits: number[] = [];
  engine.on('retry', ({ delayMs }) => waits.push(delayMs));
  engine.on('paused', ({ delayMs }) => waits.push(delayMs));
  /** Answer the next requests with these; an item that fails for a while comes again at once after its wait. */
  const run = async (items: number, statuses: readonly number[], headers: Readonly<Record<string, string>> = {}) => {
    const left = [...statuses];
    waits.length = 0;
    server.onRequest = (request) => {
      const status = left.shift() ?? 200;
      request.answer(status, status === 200 ? {} : headers);
    };
    const { summary } = await engine.run(requests(server, items));
    assert.deepEqual(left, [], 'all of it was needed');
    return { waits: [...waits], summary };
  };
  return { server, engine, run };
}

const times = (length: number, status: number) => count(length).map(() => status);

describe('waits', { concurrency: 4 }, () => {
  it('are doubled while fewer than 20% of the last attempts succeeded, ten of them at least', async (t) => {
    const { run } = await open(t);
    const { waits } = await run(1, times(13, 500));
    assert.deepEqual(waits, [...times(9, 10), ...times(4, 20)]);
  });

  it('are doubled after refusals, too', async (t) => {
    const { run } = await open(t);
    const { waits, summary } = await run(1, times(13, 429));
    assert.deepEqual(waits, [...times(9, 10), ...times(4, 20)]);
    assert.equal(summary.refused, 13);
  });

  it('are as usual again when enough has succeeded', async (t) => {
    const { run } = await open(t);
    await run(1, times(13, 500));
    await run(13, times(13, 200));
    // One succeeded in the end, and 13 now: with this failure 14 of 28.
    assert.deepEqual((await run(1, [500])).waits, [10]);
  });

  it('look back on a hundred attempts, and no further', async (t) => {
    for (const [failures, waitMs] of [
      [79, 10],
      [80, 20],
    ] as const) {
      const { run, engine } = await open(t);
      assert.equal((await run(300, [])).summary.succeeded, 300);
      assert.deepEqual((await run(failures, times(failures, 404))).summary.errors, { HTTP_STATUS: failures });
      // With this one 20, or 19, of the last hundred have succeeded.
      assert.deepEqual((await run(1, [500])).waits, [waitMs]);
      await engine.close();
    }
  });

  it('never become longer than maxMs', async (t) => {
    const { run } = await open(t, { maxMs: 15 });
    assert.deepEqual((await run(1, times(13, 500))).waits, [...times(9, 10), ...times(4, 15)]);
  });

  it('never become shorter than a hint, nor longer because of one', async (t) => {
    const { run } = await open(t, { initialMs: 1 });
    await run(1, times(13, 500));
    assert.deepEqual((await run(1, [500], { 'retry-after': '1' })).waits, [1000]);
  });

  it('are as usual with adaptive: false', async (t) => {
    const { run } = await open(t, { adaptive: false });
    assert.deepEqual((await run(1, times(13, 500))).waits, times(13, 10));
    assert.deepEqual((await run(1, times(13, 429))).waits, times(13, 10));
  });

  it('do not depend on what was aborted or cancelled', async (t) => {
    const server = await HeldServer.start(t);
    const engine = makeEngine(t, { threads: 2, concurrency: 16, circuit: false, retry: RETRY });
    const stop = new AbortController();
    const aborted = engine.run(requests(server, 16), { signal: stop.signal });
    await server.waitFor(16);
    stop.abort();
    assert.deepEqual((await aborted).summary.errors, { ABORTED: 16 });
    await server.until(() => server.held.length === 0);

    const running = engine.run(requests(server, 16));
    const [first] = await server.waitFor(16);
    first?.answer(429);
    await server.until(() => server.aborted === 31);
    const waits: number[] = [];
    engine.on('retry', ({ delayMs }) => waits.push(delayMs));
    const items: string[] = [];
    server.onRequest = (request) => {
      // The first answers since then are seven failures; with the refusal that makes eight.
      const isFailure = items.push(request.item) <= 7;
      request.answer(isFailure ? 500 : 200);
    };
    const { summary } = await running;
    assert.deepEqual([summary.succeeded, summary.cancelled, summary.refused], [16, 15, 1]);
    assert.deepEqual(tally(waits.map(String)), { 10: 7 });
  });
});
