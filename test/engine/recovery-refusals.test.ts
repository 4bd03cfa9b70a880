import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Refusal } from '../../lib/simulator/index.ts';
import {
  arrivalsByItem,
  assertAllOk,
  assertComplete,
  assertSentAsSeen,
  EventLog,
  makeEngine,
  nextEvent,
  QUICK_RETRY,
  requests,
  startSim,
} from '../support/engine-bench.ts';
import { HeldServer } from '../support/held-server.ts';

const KIS = new URL('../../workers/kis.js', import.meta.url);

describe('how a refusal is told', { concurrency: 3 }, () => {
  const variants = ['egw-500', 'egw-200', 'egw-message', 'egw-message-only', 'egw-text'] satisfies Refusal[];
  for (const variant of variants) {
    it(`by KIS: ${variant}`, async (t) => {
      const sim = await startSim(t, { serviceTimeMs: [1, 5], faults: [{ kind: 'refuse', variant, at: 15 }] });
      const engine = makeEngine(t, { handler: KIS, concurrency: 4, onRateLimit: 'drain' });
      const result = await engine.run(requests(sim, 30));
      assertAllOk(result, 30);
      const stats = await assertSentAsSeen(sim, result);
      assert.deepEqual([stats.total, result.summary.refused, result.summary.rateLimitEvents], [31, 1, 1]);
    });
  }

  const hints = [
    ['429 with seconds', '429'],
    ['503 with seconds', '503'],
    ['429 with a date', '429'],
    ['503 with a date', '503'],
  ] as const;
  for (const [name, kind] of hints) {
    it(`by ${name}: nothing is sent before`, async (t) => {
      const sim = await startSim(t, { serviceTimeMs: [1, 5] });
      const engine = makeEngine(t, { concurrency: 4 });
      assertAllOk(await engine.run(requests(sim, 8)), 8);
      await sim.reset();
      const isDate = name.endsWith('date');
      // Dates have whole seconds. Far enough ahead that it cannot pass before it is read.
      const dateMs = Math.ceil(Date.now() / 1e3) * 1e3 + 3e3;
      const retryAfter = isDate ? new Date(dateMs).toUTCString() : 1;
      await sim.setFaults([{ kind, at: 10, retryAfter }]);
      const events = new EventLog(engine);
      const result = await engine.run(requests(sim, 30));
      const hrtimeAtZeroMs = process.hrtime.bigint() - BigInt(Date.now()) * 1_000_000n;
      assertAllOk(result, 30);
      assert.deepEqual([result.summary.refused, result.summary.rateLimitEvents], [1, 1]);
      const arrivals = await sim.arrivals();
      const refused = arrivals.find(({ outcome }) => outcome === 'injected');
      const [event] = events.of('rateLimited');
      assert.ok(refused?.answeredAtNs !== undefined && event !== undefined);
      const again = arrivals.find(({ key, n }) => key === refused.key && n !== refused.n);
      assert.ok(again);
      const notBeforeNs = isDate ? BigInt(dateMs) * 1_000_000n + hrtimeAtZeroMs : refused.answeredAtNs + 1_000_000_000n;
      // Date.now() has a grain of a millisecond.
      const earlyMs = Number(notBeforeNs - again.atNs) / 1e6;
      assert.ok(earlyMs < (isDate ? 2 : 0), `sent again ${earlyMs} ms too early`);
      const late = arrivals.filter(({ atNs }) => atNs > event.atNs && Number(notBeforeNs - atNs) / 1e6 > 2);
      // What was written before the gate closed may be counted a moment after we heard of it, but it is one per lane.
      assert.ok(late.length <= 3, `${late.length} requests during the pause`);
    });
  }

  it('but 503 without Retry-After is an error of this request only', async (t) => {
    const sim = await startSim(t, { serviceTimeMs: [1, 5], faults: [{ kind: 'status', status: 503, at: 10 }] });
    const engine = makeEngine(t, { concurrency: 4 });
    const result = await engine.run(requests(sim, 30));
    assertAllOk(result, 30);
    const { summary } = result;
    assert.deepEqual([summary.rateLimitEvents, summary.refused, summary.retried, summary.requestsSent], [0, 0, 1, 31]);
  });
});

describe('refused for good', { concurrency: 3 }, () => {
  it('ends every item after maxRefusals events in a row', async (t) => {
    const sim = await startSim(t, { faults: [{ kind: '429' }] });
    const engine = makeEngine(t, { concurrency: 4, retry: { ...QUICK_RETRY, maxRefusals: 3 } });
    const events = new EventLog(engine);
    const result = await engine.run(requests(sim, 20));
    assertComplete(result, 20);
    const { summary } = result;
    assert.deepEqual(summary.errors, { RATE_LIMITED: 20 });
    assert.deepEqual([summary.rateLimitEvents, summary.rounds], [3, 3]);
    assert.deepEqual(
      events.of('paused').map(({ eventsInRow, delayMs }) => [eventsInRow, delayMs]),
      [
        [1, 20],
        [2, 40],
        [3, 80],
      ],
    );
    for (const outcome of result.outcomes) {
      assert.ok(!outcome.ok);
      assert.deepEqual([outcome.error.possiblyExecuted, outcome.attempts], [false, 0]);
      assert.match(outcome.error.message, /rate limit/);
    }
    const stats = await assertSentAsSeen(sim, result);
    assert.ok(stats.total <= 3 * 4, `${stats.total} sent`);
  });

  it('is said of a batch only after events of its own', async (t) => {
    const sim = await startSim(t, { faults: [{ kind: '429' }] });
    const engine = makeEngine(t, { concurrency: 4, retry: { ...QUICK_RETRY, maxRefusals: 3 } });
    const first = await engine.run(requests(sim, 10));
    assert.deepEqual(first.summary.errors, { RATE_LIMITED: 10 });
    // Cancelled requests may still be on their way, and must not meet the fault that is meant for the next.
    await assertSentAsSeen(sim, first);
    // One more event in a row for the engine, whose backoff goes on growing, but the first for this batch.
    await sim.setFaults([{ kind: '429', times: 1 }]);
    const events = new EventLog(engine);
    const second = await engine.run(requests(sim, 1));
    assertAllOk(second, 1);
    assert.deepEqual([second.summary.refused, second.summary.rateLimitEvents], [1, 1]);
    assert.deepEqual(
      events.of('paused').map(({ eventsInRow, delayMs }) => [eventsInRow, delayMs]),
      [[4, 160]],
    );
    await assertSentAsSeen(sim, first, second);
  });

  it('ends one item that is refused again and again, and no other', async (t) => {
    const sim = await startSim(t, { serviceTimeMs: [1, 5], faults: [{ kind: '429', path: '/item/3' }] });
    const engine = makeEngine(t, { concurrency: 4, retry: { ...QUICK_RETRY, maxRefusals: 3 } });
    const result = await engine.run(requests(sim, 60));
    assertComplete(result, 60);
    assert.deepEqual(result.summary.errors, { RATE_LIMITED: 1 });
    const refused = result.outcomes[3];
    assert.ok(refused !== undefined && !refused.ok);
    assert.deepEqual([refused.error.status, refused.error.possiblyExecuted], [429, false]);
    assert.match(refused.error.message, /refused 3 times/);
    assert.equal((await arrivalsByItem(sim)).get('3'), 3);
    await assertSentAsSeen(sim, result);
  });

  it('with scope "batch" gives up after maxAttempts rounds, and keeps what succeeded', async (t) => {
    const server = await HeldServer.start(t);
    const retry = { ...QUICK_RETRY, scope: 'batch', maxAttempts: 3 } as const;
    const engine = makeEngine(t, { concurrency: 2, retry });
    const events = new EventLog(engine);
    const running = engine.run(requests(server, 10));
    await server.waitFor(2);
    server.held.find(({ item }) => item === '0')?.answer(200);
    await server.until(() => server.held.length === 2 && server.arrived.length === 3);
    for (let round = 1; round <= 3; round++) {
      const [refused] = await server.waitFor(2);
      const paused = nextEvent(engine, 'paused');
      refused?.answer(429);
      await paused;
      await server.until(() => server.aborted === round);
    }
    const result = await running;
    assertComplete(result, 10);
    const { summary } = result;
    assert.deepEqual(summary.errors, { RATE_LIMITED: 9 });
    assert.deepEqual([summary.rounds, summary.rateLimitEvents, events.of('paused').length], [3, 3, 3]);
    assert.equal(result.outcomes[0]?.ok, true, 'the success of the first round is kept');
    for (const outcome of result.outcomes.slice(1)) {
      assert.ok(!outcome.ok);
      assert.match(outcome.error.message, /3 rounds/);
    }
    // Every round began with the first items, although one had succeeded.
    assert.deepEqual(new Set(server.arrived.slice(3)), new Set(['0', '1']));
    assert.deepEqual([server.arrived.length, summary.requestsSent], [7, 7]);
  });

  it('with scope "batch" does not repeat a POST that was executed', async (t) => {
    const sim = await startSim(t, { serviceTimeMs: [1, 5], faults: [{ kind: '429', at: [10, 25] }] });
    const retry = { ...QUICK_RETRY, scope: 'batch' } as const;
    const engine = makeEngine(t, { concurrency: 4, retry });
    const result = await engine.run(requests(sim, 40, { method: 'POST', body: {} }));
    assertAllOk(result, 40);
    const stats = await assertSentAsSeen(sim, result);
    assert.deepEqual([stats.total, stats.ok, stats.aborted], [42, 40, 0]);
  });

  it('ends at once when the server asks for more patience than maxRetryAfterMs', async (t) => {
    const sim = await startSim(t, { serviceTimeMs: [1, 5], faults: [{ kind: '429', at: 10, retryAfter: 3600 }] });
    const engine = makeEngine(t, { concurrency: 4, retry: { ...QUICK_RETRY, maxRetryAfterMs: 30_000 } });
    const paused = nextEvent(engine, 'paused');
    const result = await engine.run(requests(sim, 40));
    assertComplete(result, 40);
    assert.ok(result.summary.failed > 0);
    assert.deepEqual(result.summary.errors, { RATE_LIMITED: result.summary.failed });
    for (const outcome of result.outcomes) {
      if (outcome.ok) continue;
      assert.ok((outcome.error.retryAfterMs ?? 0) > 3_500_000);
      assert.match(outcome.error.message, /maxRetryAfterMs/);
    }
    assert.ok((await paused).delayMs > 3_500_000);
    await assertSentAsSeen(sim, result);

    assert.equal(engine.stats().isPaused, true);
    assert.ok(engine.stats().pauseLeftMs > 3_500_000);
    const meanwhile = await engine.run(requests(sim, 5));
    assertComplete(meanwhile, 5);
    assert.deepEqual([meanwhile.summary.errors, meanwhile.summary.requestsSent], [{ RATE_LIMITED: 5 }, 0]);
    await engine.close();
  });
});
