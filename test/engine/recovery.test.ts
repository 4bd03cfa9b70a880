import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { EngineOptions, RateLimit } from '../../lib/index.ts';
import type { Fault, Simulator } from '../../lib/simulator/index.ts';
import {
  arrivalsByItem,
  assertAllOk,
  assertSentAsSeen,
  EventLog,
  makeEngine,
  nextEvent,
  QUICK_RETRY,
  requests,
  startSim,
} from '../support/engine-bench.ts';
import { HeldServer } from '../support/held-server.ts';
import { WireLog } from '../support/wire-log.ts';

const HANDLER = new URL('./fixtures/rec-http.js', import.meta.url);

/** Like `presets.conservative`, ten times as fast. */
const conservative = {
  rate: { limit: 15, windowMs: 100, safetyMargin: 0.8, spacing: 6.9, arrivalWithinMs: 50 } satisfies RateLimit,
  concurrency: 3,
} satisfies EngineOptions;

/**
 * Between the barrier and the end of the backoff nothing is sent, no thread sends anything between hearing of an event
 * and that moment, and the server sees all requests of a round before the first of the next one.
 */
async function assertRoundsApart(log: WireLog, events: EventLog, sim: Simulator): Promise<void> {
  const paused = events.of('paused');
  const entries = log.entries();
  for (const { atNs, delayMs, generation } of paused) {
    const openNs = atNs + BigInt(Math.floor(delayMs * 1e6));
    const inBetween = entries.filter((entry) => entry.kind === 'sent' && entry.atNs > atNs && entry.atNs < openNs);
    assert.deepEqual(inBetween, [], `sent between barrier ${generation} and going on`);
    const stopped = entries.filter((entry) => entry.kind === 'stopped' && entry.atNs < atNs);
    for (const { threadId, atNs: stoppedNs } of stopped) {
      const next = entries.find(
        (entry) => entry.kind === 'sent' && entry.threadId === threadId && entry.atNs > stoppedNs,
      );
      const roundOf = (ns: bigint) => paused.filter((event) => event.atNs < ns).length;
      assert.ok(
        next === undefined || roundOf(next.atNs) > roundOf(stoppedNs),
        'sent after the thread saw the closed gate',
      );
    }
  }
  const arrivals = await sim.arrivals();
  const sentByItem = new Map<string | undefined, bigint[]>();
  for (const { item, atNs } of log.of('sent')) sentByItem.set(item, [...(sentByItem.get(item) ?? []), atNs]);
  let round = 0;
  for (const { key, n } of arrivals) {
    const sentNs = sentByItem.get(key)?.shift();
    assert.ok(sentNs !== undefined, `request ${n} was sent`);
    const sentInRound = paused.filter((event) => event.atNs < sentNs).length;
    assert.ok(sentInRound >= round, `request ${n} of round ${sentInRound} came after one of round ${round}`);
    round = sentInRound;
  }
}

describe('one refused request', { concurrency: 3 }, () => {
  it('makes the unfinished items run again, and no others', async (t) => {
    const sim = await startSim(t, { serviceTimeMs: [5, 30], faults: [{ kind: '429', at: 50 }] });
    const log = new WireLog();
    const retry = { ...QUICK_RETRY, initialMs: 200, maxAttempts: 1 };
    const engine = makeEngine(t, { ...conservative, retry, handler: HANDLER, handlerData: { log: log.buffer } });
    const events = new EventLog(engine);
    const result = await engine.run(requests(sim, 100));
    assertAllOk(result, 100);
    const { summary } = result;
    const stats = await assertSentAsSeen(sim, result);
    assert.deepEqual([summary.refused, summary.rateLimitEvents, summary.rounds, summary.retried], [1, 1, 2, 0]);
    assert.ok(summary.cancelled <= 2, `${summary.cancelled} cancelled of 3 in flight`);
    assert.equal(stats.total, 101 + summary.cancelled);
    assert.ok(result.outcomes.every(({ attempts }) => attempts === 1));
    assert.deepEqual(events.order('rateLimited', 'paused', 'resumed', 'workerExit'), [
      'rateLimited',
      'paused',
      'resumed',
    ]);
    assert.deepEqual([events.of('paused')[0]?.delayMs, events.of('paused')[0]?.eventsInRow], [200, 1]);
    await assertRoundsApart(log, events, sim);
  });

  it('makes the whole batch run again with scope "batch"', async (t) => {
    const sim = await startSim(t, { serviceTimeMs: [5, 30], faults: [{ kind: '429', at: 50 }] });
    const log = new WireLog();
    const retry = { ...QUICK_RETRY, initialMs: 200, scope: 'batch' } as const;
    const engine = makeEngine(t, { ...conservative, retry, handler: HANDLER, handlerData: { log: log.buffer } });
    const events = new EventLog(engine);
    const result = await engine.run(requests(sim, 100));
    assertAllOk(result, 100);
    const { summary } = result;
    assert.deepEqual([summary.refused, summary.rateLimitEvents, summary.rounds], [1, 1, 2]);
    const stats = await assertSentAsSeen(sim, result);
    assert.ok(stats.total >= 150, `${stats.total} sent`);
    const twice = [...(await arrivalsByItem(sim)).values()].filter((count) => count === 2).length;
    assert.equal(twice, stats.total - 100, 'all of the first round came again');
    await assertRoundsApart(log, events, sim);
  });

  it('and the next two as well: every item succeeds', async (t) => {
    for (const scope of ['unfinished', 'batch'] as const) {
      const sim = await startSim(t, { serviceTimeMs: [5, 30], faults: [{ kind: '429', at: [50, 51, 52] }] });
      const log = new WireLog();
      const retry = { ...QUICK_RETRY, scope, maxAttempts: 4 };
      const engine = makeEngine(t, { ...conservative, retry, handler: HANDLER, handlerData: { log: log.buffer } });
      const events = new EventLog(engine);
      const result = await engine.run(requests(sim, 100));
      assertAllOk(result, 100);
      const stats = await assertSentAsSeen(sim, result);
      assert.equal(stats.faults['429'], 3);
      const { rateLimitEvents, rounds } = result.summary;
      // Two or three of them may have been in flight together, and are one event then.
      assert.ok(rateLimitEvents >= 1 && rateLimitEvents <= 3);
      assert.deepEqual([rounds, events.of('resumed').length], [rateLimitEvents + 1, rateLimitEvents]);
      await assertRoundsApart(log, events, sim);
    }
  });

  it('of 3 in 100, at random: all of 1000 succeed', async (t) => {
    const faults: Fault[] = [{ kind: '429', probability: 0.03 }];
    const sim = await startSim(t, { windowMs: 50, serviceTimeMs: [0, 5], faults });
    const log = new WireLog();
    const rate: RateLimit = { limit: 30, windowMs: 50 };
    const retry = { ...QUICK_RETRY, initialMs: 5, maxRefusals: 8 };
    const engine = makeEngine(t, { rate, concurrency: 3, retry, handler: HANDLER, handlerData: { log: log.buffer } });
    const events = new EventLog(engine);
    const result = await engine.run(requests(sim, 1000));
    assertAllOk(result, 1000);
    const stats = await assertSentAsSeen(sim, result);
    const { summary } = result;
    assert.ok(summary.rateLimitEvents > 10, `${summary.rateLimitEvents} events`);
    assert.ok(stats.maxInWindow <= 30);
    assert.equal(summary.rounds, summary.rateLimitEvents + 1);
    assert.equal(stats.total, 1000 + summary.refused + summary.cancelled);
    // A refusal that was on its way when its request was cancelled is not heard of.
    assert.ok(summary.refused <= (stats.faults['429'] ?? 0));
    assert.equal(events.of('rateLimited').length, summary.rateLimitEvents);
    await assertRoundsApart(log, events, sim);
  });

  it('does not stop what must not be cancelled: the barrier waits for it', async (t) => {
    const server = await HeldServer.start(t);
    const engine = makeEngine(t, { concurrency: 8, cancelGraceMs: 50, retry: { ...QUICK_RETRY, maxAttempts: 1 } });
    const events = new EventLog(engine);
    const items = requests(server, 24).map((item, index) =>
      index % 2 === 0 ? item : { ...item, method: 'POST', body: { index } },
    );
    const running = engine.run(items);
    const first = await server.waitFor(8);
    assert.equal(first.filter(({ method }) => method === 'POST').length, 4);
    first.find(({ method }) => method === 'GET')?.answer(429);
    await server.until(() => server.aborted === 3);
    // A thread with a request in flight that must not be cancelled is not ended either, however long it takes: five
    // looks of the watchdog come after the grace.
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.deepEqual(events.order('rateLimited', 'paused', 'resumed', 'workerExit'), ['rateLimited']);
    server.release();
    assertAllOk(await running, 24);
    assert.deepEqual(server.aborted, 3);
    for (const index of items.keys()) {
      if (index % 2 === 1) assert.equal(server.arrived.filter((item) => item === String(index)).length, 1);
    }
  });

  it('among POSTs: none is sent twice, none is in doubt', async (t) => {
    const faults: Fault[] = [6, 18, 39].map((item) => ({ kind: '429', path: `/item/${item}`, times: 1 }));
    const sim = await startSim(t, { serviceTimeMs: [20, 60], faults });
    const engine = makeEngine(t, { concurrency: 8, retry: { ...QUICK_RETRY, maxAttempts: 1 } });
    const items = requests(sim, 60).map((item, index) =>
      index % 3 === 0 ? item : { ...item, method: 'POST', body: { index } },
    );
    const result = await engine.run(items);
    assertAllOk(result, 60);
    const stats = await assertSentAsSeen(sim, result);
    assert.equal(stats.faults['429'], 3);
    const counts = await arrivalsByItem(sim);
    for (const index of items.keys()) if (index % 3 !== 0) assert.equal(counts.get(String(index)), 1, `POST ${index}`);
    const aborted = (await sim.arrivals()).filter(({ outcome }) => outcome === 'aborted');
    assert.ok(aborted.every(({ method }) => method === 'GET'));
  });

  it('of a POST is sent again: a refusal means that it was not executed', async (t) => {
    const sim = await startSim(t, { serviceTimeMs: [5, 15], faults: [{ kind: '429', at: [7, 12] }] });
    const engine = makeEngine(t, { concurrency: 4 });
    const result = await engine.run(requests(sim, 30, { method: 'POST', body: { order: 1 } }));
    assertAllOk(result, 30);
    const stats = await assertSentAsSeen(sim, result);
    assert.deepEqual([stats.total, stats.ok, stats.aborted, result.summary.cancelled], [32, 30, 0, 0]);
  });

  it('lets everything in flight finish with onRateLimit "drain"', async (t) => {
    const sim = await startSim(t, { serviceTimeMs: [5, 40], faults: [{ kind: '429', at: [20, 50] }] });
    const log = new WireLog();
    const engine = makeEngine(t, {
      concurrency: 8,
      onRateLimit: 'drain',
      handler: HANDLER,
      handlerData: { log: log.buffer },
    });
    const events = new EventLog(engine);
    const result = await engine.run(requests(sim, 100));
    assertAllOk(result, 100);
    const stats = await assertSentAsSeen(sim, result);
    assert.deepEqual([stats.total, stats.aborted, result.summary.cancelled], [102, 0, 0]);
    await assertRoundsApart(log, events, sim);
    // Whatever arrived before the engine went on had its answer by then.
    const arrivals = await sim.arrivals();
    for (const { atNs: pausedNs } of events.of('paused')) {
      const open = arrivals.filter(({ atNs, answeredAtNs }) => atNs < pausedNs && (answeredAtNs ?? atNs) > pausedNs);
      assert.deepEqual(open, []);
    }
  });

  it('really aborts the other requests in flight, and that costs them no attempt', async (t) => {
    const server = await HeldServer.start(t);
    const engine = makeEngine(t, { concurrency: 8, retry: { ...QUICK_RETRY, maxAttempts: 1 } });
    const running = engine.run(requests(server, 20));
    const [first] = await server.waitFor(8);
    first?.answer(429);
    await server.until(() => server.aborted === 7);
    server.release();
    const result = await running;
    assertAllOk(result, 20);
    assert.equal(server.arrived.length, 28);
    const { summary } = result;
    assert.deepEqual([summary.cancelled, summary.refused, summary.requestsSent, summary.retried], [7, 1, 28, 0]);
    assert.ok(result.outcomes.every(({ attempts }) => attempts === 1));
  });
});

describe('one event, one step', { concurrency: 3 }, () => {
  it('however many refusals arrive together, and for all batches', async (t) => {
    const server = await HeldServer.start(t);
    const engine = makeEngine(t, { concurrency: 20, threads: 4 });
    const events = new EventLog(engine);
    const running = [engine.run(requests(server, 15)), engine.run(requests(server, 15))];
    for (const request of await server.waitFor(20)) request.answer(429);
    await nextEvent(engine, 'paused');
    server.release();
    const results = await Promise.all(running);
    for (const result of results) {
      assertAllOk(result, 15);
      assert.deepEqual([result.summary.rateLimitEvents, result.summary.rounds], [1, 2]);
    }
    assert.deepEqual(events.order('rateLimited', 'paused', 'resumed'), ['rateLimited', 'paused', 'resumed']);
    assert.deepEqual([events.of('paused')[0]?.eventsInRow, engine.stats().rateLimitEvents], [1, 1]);
    const [first, second] = results;
    assert.ok(first !== undefined && second !== undefined);
    assert.equal(
      first.summary.refused + first.summary.cancelled + second.summary.refused + second.summary.cancelled,
      20,
    );
  });

  it('and the steps grow only while no item is answered in between', async (t) => {
    const server = await HeldServer.start(t);
    const engine = makeEngine(t, { concurrency: 4, retry: { ...QUICK_RETRY, factor: 3, adaptive: false } });
    const events = new EventLog(engine);
    const running = engine.run(requests(server, 12));
    const refuseAll = async () => {
      const resumed = nextEvent(engine, 'resumed');
      for (const request of await server.waitFor(4)) request.answer(429);
      await resumed;
    };
    await refuseAll();
    await refuseAll();
    await refuseAll();
    const [answered] = await server.waitFor(4);
    answered?.answer(200);
    // Only now is the answer certain to have been heard before the refusals.
    await refuseAll();
    await refuseAll();
    server.release();
    const result = await running;
    assertAllOk(result, 12);
    assert.deepEqual(
      events.of('paused').map(({ eventsInRow, delayMs }) => [eventsInRow, delayMs]),
      [
        [1, 20],
        [2, 60],
        [3, 180],
        [1, 20],
        [2, 60],
      ],
    );
    assert.deepEqual(
      events.of('rateLimited').map(({ generation }) => generation),
      [1, 2, 3, 4, 5],
    );
  });
});
