import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CircuitOptions } from '../../lib/index.ts';
import type { Fault } from '../../lib/simulator/index.ts';
import {
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
import { CircuitLog, downUntilOpen, HOUR_MS, THREE_IN_ROW } from './circuit-support.ts';
import { ends, failure, tally, until } from './support.ts';

const PATIENT = { ...QUICK_RETRY, maxAttempts: 1_000 } as const;

describe('when the circuit opens', { concurrency: 2, timeout: 120_000 }, () => {
  it('at most the requests in flight reach the server, and they may finish', async (t) => {
    const server = await HeldServer.start(t);
    const circuit: CircuitOptions = { ...THREE_IN_ROW, failureThreshold: 5, whenOpen: 'fail', openMs: HOUR_MS };
    const engine = makeEngine(t, { threads: 4, concurrency: 8, circuit, retry: { ...QUICK_RETRY, initialMs: 500 } });
    const log = new CircuitLog(engine);
    const events = new EventLog(engine);
    const running = engine.run(requests(server, 60));
    await server.waitFor(8);
    for (let n = 0; n < 4; n++) {
      server.held[0]?.answer(500);
      // Each lane that has failed takes the next item.
      await server.until(() => server.arrived.length === 9 + n);
    }
    assert.deepEqual([engine.stats().circuit, server.held.length], ['closed', 8]);
    const [fifth, ...others] = await server.waitFor(8);
    const opened = log.until(1);
    fifth?.answer(500);
    // Not before the engine has heard it: a success that is heard earlier would end the row.
    await until(() => engine.stats().isPaused);
    for (const [n, request] of others.entries()) request.answer(n % 2 === 0 ? 200 : 404);
    await opened;
    const { outcomes } = await running;
    assert.equal(server.arrived.length, 12);
    assert.equal(server.aborted, 0);
    assert.deepEqual(tally(ends(outcomes)), { ok: 4, HTTP_STATUS: 3, CIRCUIT_OPEN: 53 });
    assert.deepEqual(log.changes, ['closed > open']);
    assert.deepEqual(log.openings, [HOUR_MS]);
    assert.deepEqual(
      events.of('paused').map(({ causes }) => causes),
      [['circuit']],
    );
    assert.deepEqual(events.of('rateLimited'), []);
    const { circuit: state, circuitOpenings, isPaused, cancelled, rateLimitEvents } = engine.stats();
    assert.deepEqual([state, circuitOpenings, isPaused, cancelled, rateLimitEvents], ['open', 1, true, 0, 0]);
  });

  for (const [kind, status] of [
    ['status', 503],
    ['reset', undefined],
    ['hang', undefined],
  ] as const) {
    it(`no more reach it than have failed and are in flight: ${kind}`, async (t) => {
      const fault: Fault = status === undefined ? { kind } : { kind: 'status', status };
      const sim = await startSim(t, { serviceTimeMs: [0, 10], faults: [fault] });
      const circuit: CircuitOptions = { ...THREE_IN_ROW, failureThreshold: 20, whenOpen: 'fail', openMs: HOUR_MS };
      const engine = makeEngine(t, { threads: 4, concurrency: 12, circuit, retry: PATIENT, timeoutMs: 200 });
      const result = await engine.run(requests(sim, 300));
      assertComplete(result, 300);
      assert.deepEqual(tally(ends(result.outcomes)), { CIRCUIT_OPEN: 300 });
      // The last of 20 failures was one of 12 in flight.
      assert.ok(result.summary.requestsSent >= 20 && result.summary.requestsSent <= 20 + 11);
      await assertSentAsSeen(sim, result);
      assert.equal(engine.stats().circuitOpenings, 1);
    });
  }

  it('a share of failures opens it as well, from the least number of calls on', async (t) => {
    const server = await HeldServer.start(t);
    let answers = 0;
    server.onRequest = (request) => request.answer(answers++ % 2 === 0 ? 200 : 500);
    const share = { failureThreshold: 1_000_000, minimumCalls: 10, windowMs: HOUR_MS, openMs: HOUR_MS };
    for (const [failureRate, arrived] of [
      [0.5, 10],
      [0.51, 40],
    ] as const) {
      server.arrived.length = 0;
      answers = 0;
      const circuit: CircuitOptions = { ...THREE_IN_ROW, ...share, failureRate, whenOpen: 'fail' };
      const retry = { ...QUICK_RETRY, maxAttempts: 1 };
      const engine = makeEngine(t, { threads: 1, concurrency: 1, circuit, retry });
      const { outcomes } = await engine.run(requests(server, 40));
      assert.equal(server.arrived.length, arrived);
      const failed = arrived / 2;
      const open = arrived === 40 ? {} : { CIRCUIT_OPEN: 30 };
      assert.deepEqual(tally(ends(outcomes)), { ok: failed, HTTP_STATUS: failed, ...open });
    }
  });

  it('and a refusal comes in the same moment, both are dealt with, and a batch that starts then waits like all', async (t) => {
    const server = await HeldServer.start(t);
    server.onRequest = (request) => request.answer(429);
    const circuit: CircuitOptions = { ...THREE_IN_ROW, failureThreshold: 1, countRateLimits: true, openMs: 60 };
    const engine = makeEngine(t, { circuit, retry: { ...QUICK_RETRY, initialMs: 20 } });
    const log = new CircuitLog(engine);
    const first = engine.run(requests(server, 10));
    // Both waits have begun, the one of the backoff first.
    const { causes, delayMs } = await nextEvent(engine, 'paused');
    assert.deepEqual([causes, delayMs], [['refused', 'circuit'], 20]);
    server.onRequest = (request) => request.answer();
    const second = engine.run(requests(server, 10));
    assertAllOk(await first, 10);
    assertAllOk(await second, 10);
    assert.deepEqual(log.changes, ['closed > open', 'open > half-open', 'half-open > closed']);
  });
});

describe('half-open', { concurrency: 2, timeout: 120_000 }, () => {
  for (const [threads, halfOpenProbes] of [
    [2, 1],
    [3, 2],
    [4, 3],
  ] as const) {
    it(`lets ${halfOpenProbes} probes out, over ${threads} threads together, until enough have succeeded`, async (t) => {
      const server = await HeldServer.start(t);
      const successThreshold = 12;
      const circuit: CircuitOptions = { ...THREE_IN_ROW, halfOpenProbes, successThreshold };
      const concurrency = 3 * threads;
      const engine = makeEngine(t, { threads, concurrency, circuit, retry: PATIENT });
      const log = new CircuitLog(engine);
      downUntilOpen(server, engine);
      const running = engine.run(requests(server, 60));
      await log.until(2);
      for (let succeeded = 0; succeeded < successThreshold; succeeded++) {
        await until(() => !engine.stats().isPaused && engine.stats().succeeded === succeeded);
        // What is not with the main thread any more is under way to the server: wait for all of it, then count there.
        const out = 60 - succeeded - engine.stats().pending;
        await server.waitFor(out);
        const allowed = Math.min(halfOpenProbes, successThreshold - succeeded);
        assert.deepEqual([server.held.length, engine.stats().circuit], [allowed, 'half-open']);
        server.held[succeeded % allowed]?.answer();
      }
      await server.waitFor(concurrency);
      assert.deepEqual(log.changes, ['closed > open', 'open > half-open', 'half-open > closed']);
      server.release();
      assertAllOk(await running, 60);
      assert.deepEqual([engine.stats().circuit, engine.stats().circuitOpenings], ['closed', 1]);
    });
  }

  it('opens again for longer each time; a batch waits once, then ends with the time left', async (t) => {
    const server = await HeldServer.start(t);
    server.onRequest = (request) => request.answer(500);
    const circuit: CircuitOptions = { ...THREE_IN_ROW, openMs: 20, openFactor: 3, maxOpenMs: 100 };
    const engine = makeEngine(t, { circuit, retry: PATIENT });
    const log = new CircuitLog(engine);
    const events = new EventLog(engine);
    const openings: number[] = [];
    for (let n = 0; n < 3; n++) {
      // One opening that it waits for, if that has not begun yet, and the one after it.
      const isOpen = engine.stats().circuit === 'open';
      const { outcomes } = await engine.run(requests(server, 10));
      for (let more = isOpen ? 1 : 2; more > 0; more--) openings.push(Math.min(20 * 3 ** openings.length, 100));
      assert.deepEqual(log.openings, openings);
      assert.deepEqual(tally(ends(outcomes)), { CIRCUIT_OPEN: 10 });
      const { error } = failure(outcomes[9]);
      const { retryAfterMs = 0 } = error;
      assert.ok(retryAfterMs > 0 && retryAfterMs <= (openings.at(-1) ?? 0), `${retryAfterMs} ms of ${openings}`);
      assert.deepEqual([error.name, error.type], ['CircuitOpenError', 'CircuitOpenError']);
      assert.equal(engine.stats().circuitOpenings, openings.length);
    }
    assert.deepEqual(openings.slice(0, 4), [20, 60, 100, 100]);
    server.onRequest = (request) => request.answer();
    assertAllOk(await engine.run(requests(server, 10)), 10);
    assert.equal(log.changes.at(-1), 'half-open > closed');

    // From the beginning: what was before it closed is forgotten.
    server.onRequest = (request) => request.answer(500);
    await engine.run(requests(server, 10));
    assert.deepEqual(log.openings, [...openings, 20, 60]);
    // It was open for as long as it said, each time.
    const resumed = events.of('resumed');
    for (const [n, { generation, atNs }] of events.of('paused').entries()) {
      const next = resumed.find((one) => one.generation === generation);
      if (next !== undefined) assert.ok(Number(next.atNs - atNs) / 1e6 >= (log.openings[n] ?? 0) - 1);
    }
  });

  it('takes no notice of what says nothing of the upstream, and goes on', async (t) => {
    const server = await HeldServer.start(t);
    const engine = makeEngine(t, { circuit: { ...THREE_IN_ROW, successThreshold: 1 }, retry: PATIENT });
    const log = new CircuitLog(engine);
    downUntilOpen(server, engine);
    const running = engine.run(requests(server, 20));
    await log.until(1);
    for (const status of [404, 401, 400]) {
      const [probe] = await server.waitFor(1);
      assert.equal(server.held.length, 1);
      probe?.answer(status);
      await server.until(() => server.held[0] !== undefined && server.held[0] !== probe);
    }
    assert.equal(engine.stats().circuit, 'half-open');
    // Neither does a refusal, but everybody waits.
    const resumed = nextEvent(engine, 'resumed');
    server.held[0]?.answer(429);
    assert.equal((await resumed).generation, 2);
    const [probe] = await server.waitFor(1);
    assert.deepEqual([server.held.length, engine.stats().circuit], [1, 'half-open']);
    server.onRequest = (request) => request.answer();
    probe?.answer();
    const { outcomes } = await running;
    assert.equal(tally(ends(outcomes)).HTTP_STATUS, 3);
    assert.deepEqual(log.changes, ['closed > open', 'open > half-open', 'half-open > closed']);
  });

  it('comes also when there is nothing to do, and nothing keeps it from closing later', async (t) => {
    const server = await HeldServer.start(t);
    server.onRequest = (request) => request.answer(500);
    const engine = makeEngine(t, { circuit: { ...THREE_IN_ROW, whenOpen: 'fail' }, retry: PATIENT });
    const log = new CircuitLog(engine);
    assert.deepEqual(tally(ends((await engine.run(requests(server, 10))).outcomes)), { CIRCUIT_OPEN: 10 });
    await log.until(2);
    assert.deepEqual(log.changes, ['closed > open', 'open > half-open']);
    server.onRequest = (request) => request.answer();
    assertAllOk(await engine.run(requests(server, 1)), 1);
    assert.equal(engine.stats().circuit, 'half-open', 'one success is not enough');
    assertAllOk(await engine.run(requests(server, 1)), 1);
    assert.equal(engine.stats().circuit, 'closed');
  });
});

describe('while it is open', { concurrency: 2, timeout: 120_000 }, () => {
  it('a batch that starts waits for half-open with "wait", and goes on', async (t) => {
    const server = await HeldServer.start(t);
    const engine = makeEngine(t, { circuit: { ...THREE_IN_ROW, openMs: 200 }, retry: PATIENT });
    const log = new CircuitLog(engine);
    downUntilOpen(server, engine);
    const first = engine.run(requests(server, 10));
    await log.until(1);
    const sent = server.arrived.length;
    const second = engine.run(requests(server, 10));
    assert.deepEqual([engine.stats().circuit, engine.stats().batches, engine.stats().isPaused], ['open', 2, true]);
    assert.ok(engine.stats().pauseLeftMs > 0);
    await server.waitFor(1);
    assert.deepEqual([log.changes.at(-1), server.arrived.length], ['open > half-open', sent + 1]);
    server.release();
    assertAllOk(await first, 10);
    assertAllOk(await second, 10);
  });

  it('it ends at once with "fail", or if half-open comes too late for it, with the time left', async (t) => {
    const server = await HeldServer.start(t);
    server.onRequest = (request) => request.answer(500);
    for (const whenOpen of ['fail', 'wait'] as const) {
      const circuit: CircuitOptions = { ...THREE_IN_ROW, whenOpen, openMs: HOUR_MS };
      const engine = makeEngine(t, { circuit, retry: PATIENT, timeoutMs: whenOpen === 'wait' ? 10_000 : HOUR_MS });
      const { outcomes: first } = await engine.run(requests(server, 10));
      assert.deepEqual(tally(ends(first)), { CIRCUIT_OPEN: 10 });
      const sent = server.arrived.length;
      const mostMs = engine.stats().pauseLeftMs;
      const { outcomes, summary } = await engine.run(requests(server, 3));
      const leastMs = engine.stats().pauseLeftMs;
      assert.equal(server.arrived.length, sent);
      for (const outcome of outcomes) {
        const { error, attempts, threadId } = failure(outcome);
        const { retryAfterMs = 0 } = error;
        assert.deepEqual([error.code, error.possiblyExecuted, attempts, threadId], ['CIRCUIT_OPEN', false, 0, -1]);
        assert.ok(retryAfterMs >= leastMs && retryAfterMs <= Math.ceil(mostMs), `${leastMs} ${retryAfterMs} ${mostMs}`);
        assert.match(error.message, /circuit breaker is open for another \d+ ms, and the request was not sent/);
      }
      assert.deepEqual(summary.errors, { CIRCUIT_OPEN: 3 });
    }
  });

  it('a stream ends what it has and what comes, with "fail" or if half-open comes too late', async (t) => {
    const server = await HeldServer.start(t);
    server.onRequest = (request) => request.answer(500);
    for (const whenOpen of ['fail', 'wait'] as const) {
      const circuit: CircuitOptions = { ...THREE_IN_ROW, whenOpen, openMs: HOUR_MS };
      const engine = makeEngine(t, { threads: 1, concurrency: 1, circuit, retry: PATIENT });
      const log = new CircuitLog(engine);
      async function* source() {
        for (const item of requests(server, 100)) {
          // In turns of their own, so that most come when it has long been open.
          await new Promise(setImmediate);
          yield item;
        }
      }
      const words: string[] = [];
      for await (const outcome of engine.stream(source())) words.push(outcome.ok ? 'ok' : outcome.error.code);
      assert.deepEqual(tally(words), { CIRCUIT_OPEN: 100 });
      assert.deepEqual(log.changes, ['closed > open']);
    }
  });

  it('a stream waits with "wait", also with what comes in the meantime', async (t) => {
    const server = await HeldServer.start(t);
    server.onRequest = (request) => request.answer(500);
    const engine = makeEngine(t, { circuit: { ...THREE_IN_ROW, openMs: 100 }, retry: PATIENT });
    const log = new CircuitLog(engine);
    engine.on('circuit', ({ to }) => {
      if (to === 'open') server.onRequest = (request) => request.answer();
    });
    async function* source() {
      for (const [n, item] of requests(server, 30).entries()) {
        if (n === 10) await log.until(1);
        await new Promise(setImmediate);
        yield item;
      }
    }
    const words: string[] = [];
    for await (const { ok } of engine.stream(source())) words.push(String(ok));
    assert.deepEqual(tally(words), { true: 30 });
    assert.deepEqual(log.changes, ['closed > open', 'open > half-open', 'half-open > closed']);
  });
});
