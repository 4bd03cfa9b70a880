import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { DetailedVerdict, EngineEvents, EngineOptions } from '../../lib/index.ts';
import {
  assertAllOk,
  assertComplete,
  EventLog,
  makeEngine,
  nextEvent,
  QUICK_RETRY,
  requests,
} from '../support/engine-bench.ts';
import { HeldServer } from '../support/held-server.ts';
import { failure, fixture, openEngine, until } from './support.ts';

const RATE = { limit: 1000, windowMs: 1000 };

/** Fields that say: nothing is left, and there is more after so many seconds. */
const usedUp = (seconds: number) => ({ 'x-ratelimit-remaining': '0', 'x-ratelimit-reset-after': String(seconds) });

/** An engine, its events, and a server that notes when its requests came. */
async function open(t: TestContext, options: EngineOptions = {}) {
  const server = await HeldServer.start(t);
  const engine = makeEngine(t, { concurrency: 4, ...options });
  return { server, engine, events: new EventLog(engine) };
}

/**
 * Let the first answers be these, and all later ones 200.
 * @returns the time from the first of them to the first request that came after the pause; no machine makes it shorter
 */
async function quietAfter(
  { server, engine }: Awaited<ReturnType<typeof open>>,
  answers: readonly (readonly [status: number, headers: Readonly<Record<string, string>>])[],
): Promise<{ readonly quietMs: number; readonly paused: EngineEvents['paused'] | undefined }> {
  const paused: EngineEvents['paused'][] = [];
  engine.once('paused', (event) => paused.push(event));
  const running = engine.run(requests(server, 12));
  const held = await server.waitFor(4);
  const refused = nextEvent(engine, 'rateLimited');
  const fromMs = performance.now();
  for (const [position, [status, headers]] of answers.entries()) held[position]?.answer(status, headers);
  // Those in flight end only when the gate is closed, so that no lane goes on to its next item.
  if (answers.some(([status]) => status === 429)) await refused;
  else await until(() => engine.stats().isPaused);
  let quietMs: number | undefined;
  server.onRequest = (request) => {
    quietMs ??= performance.now() - fromMs;
    request.answer();
  };
  for (const request of [...server.held]) request.answer();
  assertAllOk(await running, 12);
  return { quietMs: quietMs ?? 0, paused: paused[0] };
}

describe('hints of a refusal', { concurrency: 4 }, () => {
  const cases: readonly [string, readonly (readonly [number, Record<string, string>])[], number][] = [
    ['Retry-After', [[429, { 'retry-after': '1' }]], 1000],
    ['X-RateLimit-Reset-After', [[429, usedUp(0.4)]], 400],
    ['RateLimit of the IETF', [[429, { ratelimit: '"hour";r=0;t=1' }]], 1000],
    ['a reset without a word of what is left', [[429, { 'x-ratelimit-reset': '0.4' }]], 400],
    ['Retry-After and a reset that comes earlier', [[429, { 'retry-after': '1', ...usedUp(0.1) }]], 1000],
  ];
  for (const [name, answers, leastMs] of cases) {
    for (const [which, options] of [
      ['without a rate', {}],
      ['with a rate', { rate: RATE }],
    ] as const) {
      it(`${name}, ${which}: nothing is sent before`, async (t) => {
        const bench = await open(t, options);
        const { quietMs, paused } = await quietAfter(bench, answers);
        assert.ok(quietMs >= leastMs, `quiet for ${quietMs} ms only`);
        assert.deepEqual([paused?.causes, paused?.eventsInRow], [['refused'], 1]);
        assert.deepEqual([bench.engine.stats().rateLimitEvents, bench.engine.stats().hintsIgnored], [1, 0]);
      });
    }
  }

  it('Retry-After goes before a reset that comes later', async (t) => {
    const bench = await open(t);
    const { quietMs, paused } = await quietAfter(bench, [[429, { 'retry-after': '1', ...usedUp(60) }]]);
    assert.ok(quietMs >= 1000, `quiet for ${quietMs} ms only`);
    assert.ok(paused !== undefined && paused.delayMs <= 1000, `it waited for ${paused?.delayMs} ms`);
  });

  it('of which there are several: the longest counts', async (t) => {
    // Otherwise the first of them would cancel the others.
    const bench = await open(t, { onRateLimit: 'drain' });
    const { quietMs } = await quietAfter(bench, [
      [429, usedUp(0.1)],
      [429, usedUp(0.6)],
      [429, usedUp(0.2)],
    ]);
    assert.ok(quietMs >= 600, `quiet for ${quietMs} ms only`);
    assert.equal(bench.engine.stats().rateLimitEvents, 1);
  });

  it('that are too long are ignored and counted: the usual backoff is left', async (t) => {
    const bench = await open(t, { retry: { ...QUICK_RETRY, maxRetryAfterMs: 10_000 } });
    const { paused } = await quietAfter(bench, [[429, usedUp(10.001)]]);
    assert.equal(paused?.delayMs, 20);
    assert.equal(bench.engine.stats().hintsIgnored, 1);
  });

  it('that are too long do not take the shorter one with them', async (t) => {
    const bench = await open(t, { retry: { ...QUICK_RETRY, maxRetryAfterMs: 10_000 } });
    const { quietMs } = await quietAfter(bench, [[429, { 'retry-after': '1', ...usedUp(3600) }]]);
    assert.ok(quietMs >= 1000, `quiet for ${quietMs} ms only`);
    assert.equal(bench.engine.stats().hintsIgnored, 1);
  });

  it('but a Retry-After that is too long ends the batch, and is believed', async (t) => {
    const { engine, server } = await open(t, { retry: { ...QUICK_RETRY, maxRetryAfterMs: 10_000 } });
    server.onRequest = (request) => request.answer(429, { 'retry-after': '3600', ...usedUp(1) });
    const result = await engine.run(requests(server, 12));
    assertComplete(result, 12);
    assert.deepEqual(result.summary.errors, { RATE_LIMITED: 12 });
    assert.match(failure(result.outcomes[0]).error.message, /maxRetryAfterMs/);
    assert.equal(engine.stats().hintsIgnored, 0);
    assert.ok(engine.stats().pauseLeftMs > 3_500_000);
  });

  it('that are malformed are counted: the usual backoff is left', async (t) => {
    const bench = await open(t);
    const headers = { 'retry-after': 'soon', 'x-ratelimit-remaining': 'none', 'x-ratelimit-reset': 'tomorrow' };
    const { paused } = await quietAfter(bench, [[429, headers]]);
    assert.equal(paused?.delayMs, 20);
    assert.equal(bench.engine.stats().hintsIgnored, 3);
  });
});

describe('a success that says that nothing is left', { concurrency: 4 }, () => {
  it('closes the gate until the reset, in an engine without a rate', async (t) => {
    const bench = await open(t);
    const { quietMs, paused } = await quietAfter(bench, [[200, usedUp(0.4)]]);
    assert.ok(quietMs >= 400, `quiet for ${quietMs} ms only`);
    assert.deepEqual([paused?.causes, paused?.eventsInRow], [['quota'], 0]);
    const { rateLimitEvents, refused, cancelled, hintsIgnored } = bench.engine.stats();
    assert.deepEqual(
      { rateLimitEvents, refused, cancelled, hintsIgnored },
      {
        rateLimitEvents: 0,
        refused: 0,
        cancelled: 0,
        hintsIgnored: 0,
      },
    );
    assert.deepEqual(bench.events.order('rateLimited', 'paused', 'resumed', 'retry'), ['paused', 'resumed']);
    // Nothing that was in flight was cancelled, and nothing was sent twice.
    assert.deepEqual([bench.server.aborted, bench.server.arrived.length], [0, 12]);
  });

  it('the longest reset counts, and an error says it as well', async (t) => {
    const server = await HeldServer.start(t);
    const engine = makeEngine(t, { concurrency: 4, retry: { ...QUICK_RETRY, maxAttempts: 2 } });
    const running = engine.run(requests(server, 8));
    const held = await server.waitFor(4);
    const fromMs = performance.now();
    held[0]?.answer(404, usedUp(0.6));
    await until(() => engine.stats().isPaused);
    held[1]?.answer(500, usedUp(0.2));
    held[2]?.answer(200, usedUp(0.3));
    held[3]?.answer(200);
    let quietMs: number | undefined;
    server.onRequest = (request) => {
      quietMs ??= performance.now() - fromMs;
      request.answer();
    };
    const result = await running;
    assertComplete(result, 8);
    assert.deepEqual([result.summary.errors, result.summary.retried], [{ HTTP_STATUS: 1 }, 1]);
    assert.ok(quietMs !== undefined && quietMs >= 600, `quiet for ${quietMs} ms only`);
  });

  it('is not obeyed in an engine with a rate', async (t) => {
    const { engine, server, events } = await open(t, { rate: RATE });
    server.onRequest = (request) => request.answer(200, usedUp(5));
    assertAllOk(await engine.run(requests(server, 20)), 20);
    assert.deepEqual([events.all, engine.stats().hintsIgnored], [[], 0]);
  });

  it('is obeyed in an engine with a rate and hints "strict"', async (t) => {
    const bench = await open(t, { rate: RATE, hints: 'strict' });
    const { quietMs, paused } = await quietAfter(bench, [[200, usedUp(0.4)]]);
    assert.ok(quietMs >= 400, `quiet for ${quietMs} ms only`);
    assert.deepEqual(paused?.causes, ['quota']);
  });

  const harmless: readonly [string, Record<string, string>, number][] = [
    ['something is left', { 'x-ratelimit-remaining': '1', 'x-ratelimit-reset-after': '60' }, 0],
    ['nobody knows until when', { 'x-ratelimit-remaining': '0' }, 0],
    ['it is whole again', { ...usedUp(0) }, 0],
    ['nobody said what is left', { 'x-ratelimit-reset-after': '60' }, 0],
    ['it is about something else', { 'retry-after': '60' }, 0],
    ['it takes too long', usedUp(121), 1],
    ['it is malformed', { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset-after': 'soon' }, 1],
    ['half of it is malformed', { 'x-ratelimit-remaining': '-1', 'x-ratelimit-reset-after': 'soon' }, 2],
  ];
  for (const [name, headers, ignored] of harmless) {
    it(`stops nobody if ${name}`, async (t) => {
      const { engine, server, events } = await open(t, { hints: 'strict' });
      server.onRequest = (request) => request.answer(200, headers);
      assertAllOk(await engine.run(requests(server, 10)), 10);
      assert.deepEqual([events.all, engine.stats().hintsIgnored], [[], 10 * ignored]);
    });
  }

  it('is no step of the backoff', async (t) => {
    const { engine, server, events } = await open(t, { concurrency: 1, threads: 1 });
    const running = engine.run(requests(server, 4));
    for (const [status, headers] of [
      [429, {}],
      [429, {}],
      [200, usedUp(0.01)],
      [429, {}],
      [200, usedUp(0.01)],
    ] as const) {
      const resumed = nextEvent(engine, 'resumed');
      const [request] = await server.waitFor(1);
      request?.answer(status, headers);
      await resumed;
    }
    server.release();
    assertAllOk(await running, 4);
    const steps = events.of('paused').map(({ causes, eventsInRow, delayMs }) => [causes[0], eventsInRow, delayMs]);
    assert.deepEqual(
      steps.filter(([cause]) => cause === 'refused'),
      [
        ['refused', 1, 20],
        ['refused', 2, 40],
        ['refused', 1, 20],
      ],
    );
    const quota = steps.filter(([cause]) => cause === 'quota').map(([, eventsInRow]) => eventsInRow);
    assert.deepEqual(quota, [2, 1]);
  });

  it('and a refusal before the rest has come back: that one cancels, and counts', async (t) => {
    const { engine, server, events } = await open(t);
    const running = engine.run(requests(server, 12));
    const [first, second] = await server.waitFor(4);
    const fromMs = performance.now();
    first?.answer(200, usedUp(0.5));
    await until(() => engine.stats().isPaused);
    assert.deepEqual([events.all.length, server.aborted, server.held.length], [0, 0, 3]);
    second?.answer(429);
    await server.until(() => server.aborted === 2);
    let quietMs: number | undefined;
    server.onRequest = (request) => {
      quietMs ??= performance.now() - fromMs;
      request.answer();
    };
    const result = await running;
    assertAllOk(result, 12);
    const { rateLimitEvents, rounds, refused, cancelled } = result.summary;
    assert.deepEqual(
      { rateLimitEvents, rounds, refused, cancelled },
      { rateLimitEvents: 1, rounds: 2, refused: 1, cancelled: 2 },
    );
    assert.deepEqual(events.order('rateLimited', 'paused', 'resumed'), ['rateLimited', 'paused', 'resumed']);
    const [paused] = events.of('paused');
    assert.deepEqual([paused?.causes, paused?.eventsInRow], [['refused', 'quota'], 1]);
    assert.ok(quietMs !== undefined && quietMs >= 500, `quiet for ${quietMs} ms only`);
  });

  it('and the user who does not want to wait', async (t) => {
    const { engine, server } = await open(t);
    server.onRequest = (request) => request.answer(200, usedUp(100));
    const stop = new AbortController();
    const paused = nextEvent(engine, 'paused');
    const running = engine.run(requests(server, 50), { signal: stop.signal });
    const { delayMs } = await paused;
    assert.ok(delayMs > 90_000 && delayMs <= 100_000, `${delayMs} ms`);
    assert.ok(engine.stats().isPaused && engine.stats().pauseLeftMs > 90_000);
    stop.abort();
    const { summary, aborted } = await running;
    assert.ok(aborted && (summary.errors.ABORTED ?? 0) > 40);
    await engine.close();
  });
});

describe('hints that a classify gives', () => {
  it('count as those of the built-in handler; nonsense does not', async (t) => {
    const engine = openEngine<object>(t, fixture('hints'), { threads: 1, concurrency: 1, retry: QUICK_RETRY });
    const pauses: EngineEvents['paused'][] = [];
    engine.on('paused', (event) => pauses.push(event));
    const nonsense = [Number.NaN, -1, 0, Number.POSITIVE_INFINITY, '100', {}, 5n, null];
    const items: readonly object[] = [
      { verdict: 'ok', ignoredHints: 3 } satisfies DetailedVerdict,
      { verdict: 'retry', ignoredHints: 2, quotaResetMs: 120_001 } satisfies DetailedVerdict,
      ...nonsense.map((value) => ({ verdict: 'ok', quotaResetMs: value, ignoredHints: value, n: typeof value })),
    ];
    const { summary } = await engine.run(items.map((item) => withoutBigInt(item)));
    assert.equal(summary.succeeded, items.length);
    assert.deepEqual([pauses, engine.stats().hintsIgnored], [[], 6]);

    await engine.run([{ verdict: 'ok', quotaResetMs: 30 }, {}]);
    assert.deepEqual(
      pauses.map(({ causes }) => causes),
      [['quota']],
    );
    assert.ok((pauses[0]?.delayMs ?? 0) <= 30);
  });
});

/** The fixture writes its items as JSON. */
function withoutBigInt(item: object): object {
  return Object.fromEntries(Object.entries(item).map(([key, value]) => [key, typeof value === 'bigint' ? [] : value]));
}
