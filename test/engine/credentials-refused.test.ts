import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { EngineEvents, RecoveryRule } from '../../lib/index.ts';
import {
  assertAllOk,
  assertComplete,
  makeCustomEngine,
  nextEvent,
  QUICK_RETRY,
  requests,
} from '../support/engine-bench.ts';
import { HeldServer } from '../support/held-server.ts';
import { WireLog } from '../support/wire-log.ts';
import { admitOnly, bearer, EXPIRED, HeldHook, openRefreshing } from './credentials-support.ts';
import { ORDER, type OrdersData } from './fixtures/rec-orders.ts';
import { failure, fixture, tally, until } from './support.ts';

const LOGGED = { handler: fixture('rec-http') } as const;

describe('credentials that the upstream refuses', { concurrency: 3 }, () => {
  it('are refreshed once for all threads; nothing is sent meanwhile, and nothing twice that need not be', async (t) => {
    const server = await HeldServer.start(t);
    const log = new WireLog();
    const asked: { readonly fromNs: bigint; readonly toNs: bigint; readonly inFlight: number }[] = [];
    const { engine, refreshes, pauses } = openRefreshing(t, {
      ...LOGGED,
      handlerData: { log: log.buffer },
      threads: 4,
      concurrency: 16,
      credentials: bearer('old'),
      onRefreshCredentials: async ({ reason }) => {
        assert.equal(reason, 'refused');
        const fromNs = process.hrtime.bigint();
        const { inFlight } = engine.stats();
        // As real hooks do. Threads that sent anything now would have all the time that they need.
        for (let i = 0; i < 20; i++) await (await fetch(`${server.url}/token`)).text();
        asked.push({ fromNs, toNs: process.hrtime.bigint(), inFlight });
        return bearer('new');
      },
    });
    const running = engine.run(requests(server, 60));
    const done = (await server.waitFor(16)).slice(0, 8).map((request) => {
      request.answer(200);
      return request.item;
    });
    const refused = (await server.waitFor(16)).map((request) => request.item);
    for (const request of [...server.held]) request.answer(401);
    // The answers of the last are on their way: from now on the token decides.
    admitOnly(server, 'new');
    const hookRequest = server.onRequest;
    server.onRequest = (request) => (request.item === 'undefined' ? request.answer() : hookRequest?.(request));
    const result = await running;
    assertAllOk(result, 60);
    assert.deepEqual(refreshes, [{ reason: 'refused', ok: true }]);
    assert.deepEqual(
      pauses.map(({ causes, delayMs }) => ({ causes, delayMs })),
      [{ causes: ['credentials'], delayMs: 0 }],
    );
    const arrivals = tally(server.arrived.filter((item) => item !== 'undefined'));
    for (const item of done) assert.equal(arrivals[item], 1, `item ${item} had succeeded`);
    for (const item of refused) assert.equal(arrivals[item], 2, `item ${item} was refused once`);
    assert.equal(new Set(refused).size, 16);
    for (const { index, attempts } of result.outcomes) assert.equal(attempts, arrivals[index]);
    const { cancelled, rateLimitEvents, requestsSent, retried, rounds } = result.summary;
    assert.deepEqual(
      { cancelled, rateLimitEvents, rounds, retried, requestsSent, refused: result.summary.refused },
      { cancelled: 0, rateLimitEvents: 0, rounds: 1, retried: 16, requestsSent: 76, refused: 0 },
    );
    const [hook] = asked;
    assert.ok(hook !== undefined && asked.length === 1);
    assert.equal(hook.inFlight, 0);
    const meanwhile = log.of('sent').filter(({ atNs }) => atNs > hook.fromNs && atNs < hook.toNs);
    assert.deepEqual(meanwhile, []);
    assert.equal(new Set(log.of('sent').map(({ threadId }) => threadId)).size, 4);
  });

  it('do not cancel what is in flight', async (t) => {
    const server = await HeldServer.start(t);
    const hook = new HeldHook();
    const { engine } = openRefreshing(t, {
      concurrency: 6,
      credentials: bearer('old'),
      onRefreshCredentials: hook.ask,
    });
    const running = engine.run(requests(server, 12));
    const [first, ...others] = await server.waitFor(6);
    first?.answer(401);
    await until(() => engine.stats().isPaused);
    assert.deepEqual([hook.calls.length, server.held.length, server.aborted], [0, 5, 0]);
    admitOnly(server, 'new');
    for (const request of others) request.answer(200);
    (await hook.call(1)).resolve(bearer('new'));
    const result = await running;
    assertAllOk(result, 12);
    assert.deepEqual([server.aborted, result.summary.cancelled, server.arrived.length], [0, 0, 13]);
    assert.deepEqual(result.outcomes.map(({ attempts }) => attempts).sort(), [
      ...Array.from({ length: 11 }, () => 1),
      2,
    ]);
  });

  it('end what is left with CREDENTIALS if there are no new ones; a later batch asks again', async (t) => {
    const server = await HeldServer.start(t);
    const hook = new HeldHook();
    const notified: EngineEvents['notify'][] = [];
    const { engine, refreshes } = openRefreshing(t, {
      concurrency: 4,
      credentials: bearer('old'),
      onRefreshCredentials: hook.ask,
      locale: 'ko',
    });
    engine.on('notify', (event) => notified.push(event));
    const running = engine.run(requests(server, 20));
    const [refused, ...others] = await server.waitFor(4);
    refused?.answer(401);
    await until(() => engine.stats().isPaused);
    for (const request of others) request.answer(200);
    (await hook.call(1)).reject(Object.assign(new Error('Locked out.'), { code: 'E_VAULT', upstreamCode: 'EGW00103' }));
    const result = await running;
    assertComplete(result, 20);
    assert.deepEqual([result.summary.succeeded, result.summary.errors], [3, { CREDENTIALS: 17 }]);
    const { error, attempts } = failure(result.outcomes[Number(refused?.item)]);
    assert.deepEqual([attempts, error.possiblyExecuted, error.upstreamCode], [1, false, 'EGW00103']);
    assert.deepEqual(error.cause, { name: 'Error', message: 'Locked out.', code: 'E_VAULT' });
    assert.match(error.userMessage, /인증 정보/);
    assert.deepEqual([notified.length, notified[0]?.error.code, server.arrived.length], [17, 'CREDENTIALS', 4]);

    admitOnly(server, 'new');
    const again = engine.run(requests(server, 20));
    (await hook.call(2)).resolve(bearer('new'));
    assertAllOk(await again, 20);
    assert.deepEqual(
      refreshes.map(({ reason, ok }) => `${reason} ${ok}`),
      ['refused false', 'refused true'],
    );
    assert.equal(engine.stats().credentialRefreshes, 1);
  });

  it('of a POST: it is sent again if it was not executed, and otherwise not', async (t) => {
    const server = await HeldServer.start(t);
    const anyExpiry: RecoveryRule = { ...EXPIRED, when: { status: [401, 500] } };
    const { engine, refreshes } = openRefreshing(t, {
      concurrency: 2,
      credentials: bearer('old'),
      onRefreshCredentials: () => bearer('new'),
      recovery: [anyExpiry],
    });
    const running = engine.run(requests(server, 8, { method: 'POST', body: {} }));
    const [refused, broken] = await server.waitFor(2);
    assert.ok(refused !== undefined && broken !== undefined);
    refused.answer(401);
    await until(() => engine.stats().isPaused);
    admitOnly(server, 'new');
    broken.answer(500);
    const { outcomes, summary } = await running;
    assert.deepEqual([summary.succeeded, summary.errors, refreshes.length], [7, { HTTP_STATUS: 1 }, 1]);
    const { error, attempts } = failure(outcomes[Number(broken.item)]);
    assert.deepEqual([error.status, error.possiblyExecuted, attempts, error.type], [500, true, 1, EXPIRED.type]);
    const arrivals = tally(server.arrived);
    assert.deepEqual([arrivals[refused.item], arrivals[broken.item], server.arrived.length], [2, 1, 9]);
  });

  it('again and again: the item fails after maxAttempts, and no other does', async (t) => {
    for (const [retry, rule, expected] of [
      [{ ...QUICK_RETRY, maxAttempts: 3 }, EXPIRED, 3],
      [{ ...QUICK_RETRY, maxAttempts: 9 }, { ...EXPIRED, maxAttempts: 2 }, 2],
      [{ ...QUICK_RETRY, maxAttempts: 1 }, EXPIRED, 1],
    ] as const) {
      const server = await HeldServer.start(t);
      server.onRequest = (request) => request.answer(request.item === '3' ? 401 : 200);
      const { engine } = openRefreshing(t, { recovery: [rule], retry, onRefreshCredentials: () => bearer('any') });
      const result = await engine.run(requests(server, 10));
      assertComplete(result, 10);
      assert.deepEqual(result.summary.errors, { HTTP_STATUS: 1 });
      const { error, attempts } = failure(result.outcomes[3]);
      assert.deepEqual([error.status, attempts, error.attempts], [401, expected, expected]);
      assert.deepEqual([tally(server.arrived)[3], result.summary.retried], [expected, expected - 1]);
      // The first ones, and new ones for each further attempt: none after the last.
      assert.equal(engine.stats().credentialRefreshes, expected);
      await engine.close();
    }
  });

  it('fail at once where nobody can refresh them', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'new');
    const { engine, pauses } = openRefreshing(t, { credentials: bearer('old') });
    const result = await engine.run(requests(server, 5));
    assert.deepEqual([result.summary.errors, server.arrived.length, pauses.length], [{ HTTP_STATUS: 5 }, 5, 0]);
    const { error, attempts } = failure(result.outcomes[0]);
    assert.deepEqual(
      [error.status, error.type, error.userMessage, attempts],
      [401, EXPIRED.type, EXPIRED.message.en, 1],
    );
  });

  it('in a stream: it goes on with the new ones', async (t) => {
    const server = await HeldServer.start(t);
    let valid = 1;
    let answered = 0;
    server.onRequest = (request) => {
      // Every token is good for ten answers.
      const isValid = request.headers.authorization === `Bearer ${valid}` && answered < 10;
      if (isValid) answered++;
      request.answer(isValid ? 200 : 401);
    };
    const { engine, refreshes } = openRefreshing(t, {
      concurrency: 3,
      retry: { ...QUICK_RETRY, maxAttempts: 5 },
      credentials: bearer('1'),
      onRefreshCredentials: () => {
        valid++;
        answered = 0;
        return bearer(String(valid));
      },
    });
    const words: string[] = [];
    for await (const outcome of engine.stream(requests(server, 45))) words.push(outcome.ok ? 'ok' : outcome.error.code);
    assert.deepEqual(tally(words), { ok: 45 });
    assert.deepEqual(tally(refreshes.map(({ reason, ok }) => `${reason} ${ok}`)), { 'refused true': 4 });
  });

  it('and a refused rate limit in one go: one pause, one refresh, one backoff', async (t) => {
    const server = await HeldServer.start(t);
    const { engine, pauses, refreshes } = openRefreshing(t, {
      concurrency: 2,
      credentials: bearer('old'),
      onRefreshCredentials: () => bearer('new'),
    });
    const running = engine.run(requests(server, 10));
    const [first, second] = await server.waitFor(2);
    first?.answer(401);
    await until(() => engine.stats().isPaused);
    admitOnly(server, 'new');
    second?.answer(429);
    const result = await running;
    assertAllOk(result, 10);
    assert.deepEqual(
      pauses.map(({ causes, delayMs, eventsInRow }) => ({ causes, delayMs, eventsInRow })),
      [{ causes: ['refused', 'credentials'], delayMs: 20, eventsInRow: 1 }],
    );
    const { rateLimitEvents, refused, retried } = result.summary;
    assert.deepEqual([rateLimitEvents, refused, retried, refreshes.length], [1, 1, 1, 1]);
  });
});

describe('while new credentials are got', { concurrency: 3 }, () => {
  it('a thread that dies is replaced, and everything goes on', async (t) => {
    const server = await HeldServer.start(t);
    const orders = new Int32Array(new SharedArrayBuffer(16));
    const hook = new HeldHook();
    const engine = makeCustomEngine(t, {
      handler: fixture('rec-orders'),
      handlerData: { orders: orders.buffer as SharedArrayBuffer, log: new WireLog().buffer } satisfies OrdersData,
      concurrency: 4,
      recovery: [EXPIRED],
      credentials: bearer('old'),
      onRefreshCredentials: hook.ask,
    });
    admitOnly(server, 'new');
    const running = engine.run(requests(server, 20));
    const call = await hook.call(1);
    const died = nextEvent(engine, 'workerExit');
    orders[ORDER.dieNow] = 1;
    await died;
    await engine.ready();
    call.resolve(bearer('new'));
    const result = await running;
    assertAllOk(result, 20);
    assert.deepEqual([hook.calls.length, engine.stats().threadsReady, engine.stats().workerExits], [1, 2, 1]);
    // Nothing was in flight when the thread died, so nothing was lost with it.
    assert.equal(server.arrived.length, 20 + result.summary.retried);
  });

  it('a batch that is aborted ends at once, and the others go on', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'new');
    const hook = new HeldHook();
    const { engine } = openRefreshing(t, { credentials: bearer('old'), onRefreshCredentials: hook.ask });
    const stop = new AbortController();
    const running = [engine.run(requests(server, 10), { signal: stop.signal }), engine.run(requests(server, 10))];
    const call = await hook.call(1);
    stop.abort();
    const aborted = await running[0];
    assert.ok(aborted !== undefined);
    assertComplete(aborted, 10);
    assert.deepEqual(aborted.summary.errors, { ABORTED: 10 });
    assert.equal(call.signal.aborted, false, 'the other batch waits for them');
    call.resolve(bearer('new'));
    const other = await running[1];
    assert.ok(other !== undefined);
    assertAllOk(other, 10);
  });

  it('close({ mode: "drain" }) waits for them, and for the batch', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'new');
    const hook = new HeldHook();
    const { engine } = openRefreshing(t, { credentials: bearer('old'), onRefreshCredentials: hook.ask });
    const running = engine.run(requests(server, 10));
    const call = await hook.call(1);
    const closing = engine.close();
    assert.equal(call.signal.aborted, false);
    call.resolve(bearer('new'));
    assertAllOk(await running, 10);
    await closing;
  });

  it('close({ mode: "abort" }) waits for nothing', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'new');
    const hook = new HeldHook();
    const { engine, refreshes } = openRefreshing(t, { credentials: bearer('old'), onRefreshCredentials: hook.ask });
    const running = engine.run(requests(server, 10));
    const call = await hook.call(1);
    const asking = assert.rejects(engine.refreshCredentials(), { name: 'EngineClosedError', code: 'ENGINE_CLOSED' });
    await engine.close({ mode: 'abort' });
    await asking;
    const result = await running;
    assertComplete(result, 10);
    assert.deepEqual(result.summary.errors, { ABORTED: 10 });
    assert.deepEqual([call.signal.aborted, call.signal.reason.name], [true, 'EngineClosedError']);
    assert.deepEqual(refreshes, [{ reason: 'refused', ok: false }]);
  });
});

describe('secrets', () => {
  it('stand in no outcome, event or statistic', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'SECRET-2');
    const spoken: unknown[] = [];
    let calls = 0;
    const { engine } = openRefreshing(t, {
      credentials: { ...bearer('SECRET-1'), appKey: 'SECRET-0' },
      onRefreshCredentials: () => {
        calls++;
        if (calls === 1) return bearer('SECRET-2');
        // What cannot be cloned is quoted by the error that says so.
        return { ...bearer('SECRET-3'), sign: () => 'SECRET-4' };
      },
    });
    const events = ['progress', 'paused', 'resumed', 'credentials', 'notify', 'retry', 'workerExit'] as const;
    for (const event of events) engine.on(event, (data) => spoken.push(event, data));
    spoken.push(await engine.run(requests(server, 10)));
    admitOnly(server, 'SECRET-5');
    const failed = await engine.run(requests(server, 10));
    assert.deepEqual(failed.summary.errors, { CREDENTIALS: 10 });
    spoken.push(failed, engine.stats());
    const refused = await engine.refreshCredentials().catch((error: Error) => error);
    assert.ok(refused instanceof TypeError);
    assert.match(refused.message, /cannot be cloned/);
    spoken.push(refused.message, refused.stack, String(refused.cause));
    const text = JSON.stringify(spoken);
    assert.ok(text.includes('CredentialsError') && text.includes('"refused"'), 'it has all of it');
    assert.ok(!text.includes('SECRET'), text);
  });
});
