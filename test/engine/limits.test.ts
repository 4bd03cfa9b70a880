import assert from 'node:assert/strict';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { describe, it, type TestContext } from 'node:test';
import { type EngineOptions, presets, type RateLimit } from '../../lib/index.ts';
import type { Simulator, SimulatorOptions } from '../../lib/simulator/index.ts';
import { mostInWindow } from '../../lib/simulator/journal.ts';
import { assertAllOk, assertSentAsSeen, makeEngine, requests, startSim, statsWhen } from '../support/engine-bench.ts';
import { WireLog } from '../support/wire-log.ts';

const HANDLER = new URL('./fixtures/rec-http.js', import.meta.url);

interface LimitRun {
  readonly server: SimulatorOptions;
  readonly engine: EngineOptions;
  readonly items: number;
}

/** Run requests against a server with a limit; all must succeed, at one request each. */
async function runUnder(t: TestContext, { server, engine: options, items }: LimitRun) {
  const sim = await startSim(t, { serviceTimeMs: [0, 50], ...server });
  const engine = makeEngine(t, options);
  const result = await engine.run(requests(sim, items));
  const stats = await assertSentAsSeen(sim, result);
  assert.equal(stats.refused, 0, 'refused by the server');
  assertAllOk(result, items);
  assert.equal(stats.total, items);
  assert.deepEqual(
    [result.summary.refused, result.summary.rateLimitEvents, result.summary.rounds, result.summary.retried],
    [0, 0, 1, 0],
  );
  return { sim, stats, result };
}

async function arrivalTimes(sim: Simulator): Promise<Float64Array> {
  const arrivals = await sim.arrivals();
  const firstNs = arrivals[0]?.atNs ?? 0n;
  return Float64Array.from(arrivals, ({ atNs }) => Number(atNs - firstNs));
}

const quick = { limit: 20, windowMs: 200 } as const;

/**
 * A server with a limit that judges spacing, and an engine whose connections are there: parallel handshakes bunch starts.
 * Such a server forgives a start that is late by one gap, so the gaps are long; and where the machine lets threads stand
 * still for a good part of one, which this thread feels too, nothing follows from a refusal.
 */
async function runSpaced(t: TestContext, server: SimulatorOptions, rate: RateLimit, items: number) {
  const sim = await startSim(t, { serviceTimeMs: [0, 50], ...server });
  const engine = makeEngine(t, { rate, concurrency: 10 });
  await engine.ready();
  await engine.run(requests(sim, 4));
  await sim.reset();
  const stalls = monitorEventLoopDelay({ resolution: 10 });
  stalls.enable();
  const result = await engine.run(requests(sim, items));
  stalls.disable();
  assertAllOk(result, items);
  const stats = await assertSentAsSeen(sim, result);
  const gapMs = rate.windowMs / rate.limit;
  if (stalls.max / 1e6 < gapMs / 5) assert.deepEqual([stats.total, stats.refused], [items, 0]);
  else t.diagnostic(`The machine stood still for ${Math.round(stalls.max / 1e6)} ms, the gap is ${gapMs} ms.`);
}

// They wait most of the time, so they can wait together, the longest first.
describe('limits', { concurrency: 3 }, () => {
  describe('that the server enforces to the last request', { concurrency: 4 }, () => {
    it('is kept for 400 requests at 20 per second', async (t) => {
      const server = { limit: 20, windowMs: 1000, algorithm: 'sliding-log' } as const;
      const { stats } = await runUnder(t, { server, engine: presets.exact(20, 1000), items: 400 });
      assert.ok(stats.maxInWindow <= 20);
    });

    it('is kept under gcra with one request of tolerance, evenly spaced', async (t) => {
      const server: SimulatorOptions = { limit: 10, windowMs: 5000, algorithm: 'gcra', burst: 1 };
      await runSpaced(t, server, { limit: 10, windowMs: 5000, spacing: 'even' }, 30);
    });

    it('is kept under a sliding counter with one token less, evenly spaced', async (t) => {
      const server: SimulatorOptions = {
        limit: 10,
        windowMs: 4000,
        algorithm: 'sliding-counter',
        serviceTimeMs: [400, 800],
      };
      await runSpaced(t, server, { limit: 9, windowMs: 4000, spacing: 'even' }, 30);
    });

    for (const fixedPhaseMs of [0, 70, 140]) {
      it(`is kept under fixed windows that begin at ${fixedPhaseMs} ms`, async (t) => {
        const server = { ...quick, algorithm: 'fixed', fixedPhaseMs } as const;
        await runUnder(t, { server, engine: presets.exact(20, 200), items: 200 });
      });
    }

    it('is kept under an exact sliding window', async (t) => {
      const server = { ...quick, algorithm: 'sliding-log' } as const;
      const { stats } = await runUnder(t, { server, engine: presets.exact(20, 200), items: 400 });
      assert.ok(stats.maxInWindow <= 20);
    });

    it('is kept under a token bucket', async (t) => {
      const server = { ...quick, algorithm: 'token-bucket' } as const;
      await runUnder(t, { server, engine: presets.exact(20, 200), items: 400 });
    });

    it('is kept by eight threads together', async (t) => {
      const server = { ...quick, algorithm: 'sliding-log' } as const;
      const { stats, result } = await runUnder(t, {
        server,
        engine: { ...presets.exact(20, 200), threads: 8 },
        items: 300,
      });
      assert.ok(stats.maxInWindow <= 20);
      assert.equal(new Set(result.outcomes.map(({ threadId }) => threadId)).size, 8);
    });

    it('is kept when the answers take longer than the window', async (t) => {
      const server = { limit: 10, windowMs: 100, algorithm: 'sliding-log', serviceTimeMs: [50, 250] } as const;
      const { stats } = await runUnder(t, { server, engine: presets.exact(10, 100), items: 100 });
      assert.ok(stats.maxInWindow <= 10);
    });
  });

  describe('of several kinds', { concurrency: 2 }, () => {
    it('keeps two limits at once, in whatever order they are given', async (t) => {
      const limits: RateLimit[] = [
        { limit: 20, windowMs: 200 },
        { limit: 50, windowMs: 1000 },
      ];
      for (const rate of [limits, limits.toReversed()]) {
        const { sim, stats } = await runUnder(t, {
          server: { ...quick, algorithm: 'sliding-log', serviceTimeMs: [0, 20] },
          engine: { rate, concurrency: 20 },
          items: 150,
        });
        assert.ok(stats.maxInWindow <= 20);
        assert.ok(mostInWindow(await arrivalTimes(sim), 1e9) <= 50);
      }
    });

    it('leaves the safety margin unused', async (t) => {
      const rate: RateLimit = { limit: 20, windowMs: 200, safetyMargin: 0.8 };
      const { stats } = await runUnder(t, {
        server: { ...quick, algorithm: 'sliding-log' },
        engine: { rate, concurrency: 20 },
        items: 100,
      });
      assert.ok(stats.maxInWindow <= 16, `${stats.maxInWindow} in a window`);
    });

    it('sends nothing in the first window of an engine that starts empty', async (t) => {
      const sim = await startSim(t, { ...quick, algorithm: 'sliding-log' });
      const rate: RateLimit = { limit: 20, windowMs: 400, initial: 'empty' };
      const madeNs = process.hrtime.bigint();
      const engine = makeEngine(t, { rate, concurrency: 20 });
      const result = await engine.run(requests(sim, 30));
      assertAllOk(result, 30);
      const { firstAtNs } = await sim.stats();
      assert.ok(firstAtNs !== undefined && firstAtNs - madeNs >= 400_000_000n);
    });

    it('is shared by all batches of an engine', async (t) => {
      const sim = await startSim(t, { ...quick, algorithm: 'sliding-log', serviceTimeMs: [0, 50] });
      const engine = makeEngine(t, presets.exact(20, 200));
      const results = await Promise.all([60, 40, 1, 0].map((count) => engine.run(requests(sim, count))));
      for (const [position, count] of [60, 40, 1, 0].entries()) {
        const result = results[position];
        assert.ok(result);
        assertAllOk(result, count);
      }
      const stats = await assertSentAsSeen(sim, ...results);
      assert.deepEqual([stats.total, stats.refused], [101, 0]);
    });

    it('holds over batches that follow each other', async (t) => {
      const sim = await startSim(t, { ...quick, algorithm: 'sliding-log', serviceTimeMs: [0, 10] });
      const engine = makeEngine(t, presets.exact(20, 200));
      const results = [];
      for (let batch = 0; batch < 12; batch++) results.push(await engine.run(requests(sim, 7)));
      const stats = await assertSentAsSeen(sim, ...results);
      assert.deepEqual([stats.total, stats.refused], [84, 0]);
    });
  });

  describe('that assume how long requests travel', { concurrency: 1 }, () => {
    /** Longest that a request was on its way, from the thread that wrote it to the server's count. */
    async function longestTravelNs(sim: Simulator, log: WireLog): Promise<number> {
      const arrivals = await sim.arrivals();
      const arrivedNs = new Map<string | undefined, bigint[]>();
      for (const { key, atNs } of arrivals) arrivedNs.set(key, [...(arrivedNs.get(key) ?? []), atNs]);
      // Of several requests for one item the first that was sent is the first that arrived.
      const travels = log.of('sent').map(({ item, atNs }) => Number((arrivedNs.get(item)?.shift() ?? atNs) - atNs));
      return Math.max(...travels);
    }

    /** Connections are there, code is loaded: from now on requests are quick. */
    async function warmUp(t: TestContext, server: SimulatorOptions, options: EngineOptions) {
      const log = new WireLog();
      const sim = await startSim(t, server);
      const engine = makeEngine(t, { ...options, handler: HANDLER, handlerData: { log: log.buffer } });
      await engine.ready();
      assertAllOk(await engine.run(requests(sim, 6)), 6);
      await sim.reset();
      log.clear();
      return { sim, engine, log };
    }

    it('is kept while that is true, and waits for no answer', async (t) => {
      const server: SimulatorOptions = { limit: 10, windowMs: 500, algorithm: 'sliding-log' };
      const rate: RateLimit = { limit: 10, windowMs: 500, arrivalWithinMs: 250 };
      const { sim, engine, log } = await warmUp(t, server, { rate, concurrency: 40 });
      await sim.setFaults([{ kind: 'hang' }]);
      const abort = new AbortController();
      const running = engine.run(requests(sim, 40), { signal: abort.signal });
      // With the tokens settled by answers, which never come, only the first ten would get this far.
      const stats = await statsWhen(sim, ({ total }) => total >= 40);
      assert.ok(stats.total >= 40, `${stats.total} requests sent`);
      if ((await longestTravelNs(sim, log)) <= 250e6) {
        assert.deepEqual([stats.total, stats.refused], [40, 0]);
        assert.ok(stats.maxInWindow <= 10);
      } else t.diagnostic('A request travelled for longer than is assumed: nothing follows from that.');
      abort.abort();
      const { outcomes } = await running;
      for (const outcome of outcomes)
        assert.deepEqual([outcome.ok, outcome.ok || outcome.error.code], [false, 'ABORTED']);
    });

    it('keeps the conservative preset under 12 in any second, 69 ms apart, 3 in flight', async (t) => {
      const server: SimulatorOptions = { limit: 20, algorithm: 'sliding-log', serviceTimeMs: [5, 30] };
      const { sim, engine, log } = await warmUp(t, server, presets.conservative);
      const result = await engine.run(requests(sim, 40));
      assertAllOk(result, 40);
      const stats = await assertSentAsSeen(sim, result);
      assert.deepEqual([stats.total, stats.refused], [40, 0]);
      assert.ok(stats.connections <= 3);
      if ((await longestTravelNs(sim, log)) <= 50e6)
        assert.ok(stats.maxInWindow <= 12, `${stats.maxInWindow} in a second`);
      else t.diagnostic('A request travelled for longer than is assumed: nothing follows from that.');
      // k gaps lie between a start and the k-th after it; only the first of the two can have been late.
      const spanNs = Number((log.of('sent').at(-1)?.atNs ?? 0n) - (log.of('sent')[0]?.atNs ?? 0n));
      assert.ok(spanNs >= 3 * 1e9, `40 requests at 12 per second were sent within ${spanNs / 1e6} ms`);
    });
  });
});
