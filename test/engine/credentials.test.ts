import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createEngine, type HttpItem } from '../../lib/index.ts';
import { assertAllOk, assertComplete, makeEngine, requests } from '../support/engine-bench.ts';
import { HeldServer } from '../support/held-server.ts';
import { admitOnly, bearer, HeldHook, openRefreshing } from './credentials-support.ts';
import type { Seen, Visit } from './fixtures/credentials.ts';
import { count, failure, fixture, openEngine, success, until } from './support.ts';

describe('the first credentials', { concurrency: 3 }, () => {
  it('are there before the first request, for all batches', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'first');
    const hook = new HeldHook();
    const { engine, refreshes, pauses } = openRefreshing(t, { onRefreshCredentials: hook.ask, concurrency: 8 });
    await engine.ready();
    const running = [engine.run(requests(server, 20)), engine.run(requests(server, 20))];
    const call = await hook.call(1);
    assert.equal(call.reason, 'initial');
    assert.equal(call.signal.aborted, false);
    // One that comes while the hook is at work does not ask again.
    running.push(engine.run(requests(server, 5)));
    const { isPaused, inFlight, requestsSent } = engine.stats();
    assert.deepEqual({ isPaused, inFlight, requestsSent }, { isPaused: true, inFlight: 0, requestsSent: 0 });
    call.resolve(bearer('first'));
    const results = await Promise.all(running);
    for (const [index, result] of results.entries()) assertAllOk(result, [20, 20, 5][index] ?? 0);
    assert.ok(results.flatMap(({ outcomes }) => outcomes).every(({ attempts }) => attempts === 1));
    assert.deepEqual([server.arrived.length, hook.calls.length, engine.stats().credentialRefreshes], [45, 1, 1]);
    assert.deepEqual(refreshes, [{ reason: 'initial', ok: true }]);
    assert.deepEqual(
      pauses.map(({ causes, delayMs, eventsInRow }) => ({ causes, delayMs, eventsInRow })),
      [{ causes: ['credentials'], delayMs: 0, eventsInRow: 0 }],
    );
  });

  it('are not asked for before there is something to send', async (t) => {
    const server = await HeldServer.start(t);
    const hook = new HeldHook();
    const { engine } = openRefreshing(t, { onRefreshCredentials: hook.ask });
    await engine.ready();
    assertComplete(await engine.run([]), 0);
    const aborted = await engine.run(requests(server, 3), { signal: AbortSignal.abort() });
    assert.deepEqual(aborted.summary.errors, { ABORTED: 3 });
    for await (const _ of engine.stream([])) assert.fail('there is no item');
    assert.deepEqual([hook.calls.length, engine.stats().isPaused], [0, false]);
  });

  it('come with the option "credentials", and then nobody is asked', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'given');
    const hook = new HeldHook();
    const { engine, pauses } = openRefreshing(t, { onRefreshCredentials: hook.ask, credentials: bearer('given') });
    assertAllOk(await engine.run(requests(server, 20)), 20);
    assert.deepEqual([hook.calls.length, pauses.length, engine.stats().credentialRefreshes], [0, 0, 0]);
  });

  it('are asked for by a stream with its first item, and by each batch after a failure', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'third time');
    const hook = new HeldHook();
    const { engine, refreshes } = openRefreshing(t, { onRefreshCredentials: hook.ask });
    const first = engine.run(requests(server, 10));
    (await hook.call(1)).reject(new Error('The vault is shut.'));
    const { summary, outcomes } = await first;
    assert.deepEqual([summary.errors, summary.requestsSent, server.arrived.length], [{ CREDENTIALS: 10 }, 0, 0]);
    const { error, attempts, threadId } = failure(outcomes[9]);
    const { name, type, severity, actions, possiblyExecuted, cause } = error;
    assert.deepEqual(
      { name, type, severity, actions, possiblyExecuted, cause, attempts, threadId },
      {
        name: 'CredentialsError',
        type: 'CredentialsError',
        severity: 'critical',
        actions: ['notify', 'fail-fast'],
        possiblyExecuted: false,
        cause: { name: 'Error', message: 'The vault is shut.' },
        attempts: 0,
        threadId: -1,
      },
    );
    assert.equal(engine.stats().isPaused, false);

    const second = engine.run(requests(server, 10));
    (await hook.call(2)).reject('not yet');
    assert.deepEqual((await second).summary.errors, { CREDENTIALS: 10 });

    const reading = (async () => {
      for await (const outcome of engine.stream(requests(server, 10))) success(outcome);
    })();
    (await hook.call(3)).resolve(bearer('third time'));
    await reading;
    assert.deepEqual(
      refreshes.map(({ reason, ok }) => `${reason} ${ok}`),
      ['initial false', 'initial false', 'initial true'],
    );
    assert.equal(server.arrived.length, 10);
  });

  it('are asked for again for a batch that begins in the moment in which another one fails', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'second time');
    const hook = new HeldHook();
    const { engine } = openRefreshing(t, { onRefreshCredentials: hook.ask });
    let next: ReturnType<typeof engine.run> | undefined;
    const first = engine.run(requests(server, 3), {
      onProgress: ({ done }) => {
        if (done === 3) next ??= engine.run(requests(server, 3));
      },
    });
    (await hook.call(1)).reject(new Error('Not yet.'));
    assert.deepEqual((await first).summary.errors, { CREDENTIALS: 3 });
    (await hook.call(2)).resolve(bearer('second time'));
    assert.ok(next !== undefined);
    assertAllOk(await next, 3);
    assert.equal(server.arrived.length, 3);
  });

  it('are asked for again by a stream that goes on without: no item ever runs without them', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'late');
    let calls = 0;
    const { engine } = openRefreshing(t, {
      concurrency: 2,
      onRefreshCredentials: () => {
        calls++;
        if (calls < 3) throw new Error('Not yet.');
        return bearer('late');
      },
    });
    const words: string[] = [];
    for await (const outcome of engine.stream(requests(server, 60))) {
      words.push(outcome.ok ? 'ok' : outcome.error.code);
    }
    assert.equal(words.length, 60);
    assert.equal(calls, 3);
    const failed = words.filter((word) => word === 'CREDENTIALS').length;
    assert.ok(failed > 0 && failed < 60, `${failed} failed`);
    assert.equal(words.filter((word) => word === 'ok').length, 60 - failed);
    assert.equal(server.arrived.length, 60 - failed);
  });
});

describe('context.credentials', { concurrency: 3 }, () => {
  it('is undefined in an engine without any', async (t) => {
    const engine = openEngine<Visit, Seen>(t, fixture('credentials'));
    const { outcomes } = await engine.run([{}]);
    assert.equal(success(outcomes[0]).value.credentials, undefined);
  });

  it('is a copy of what the engine was given', async (t) => {
    const credentials = { token: 'before', parts: new Map([['key', new Uint8Array([1, 2])]]) };
    const engine = openEngine<Visit, Seen>(t, fixture('credentials'), { credentials });
    credentials.token = 'after';
    credentials.parts.clear();
    const { outcomes } = await engine.run(count(20).map(() => ({})));
    for (const outcome of outcomes) {
      assert.deepEqual(success(outcome).value.credentials, {
        token: 'before',
        parts: new Map([['key', new Uint8Array([1, 2])]]),
      });
    }
  });

  it('is the new one after a refresh, in the same threads', async (t) => {
    let token = 0;
    const engine = openEngine<Visit, Seen>(t, fixture('credentials'), {
      concurrency: 8,
      onRefreshCredentials: () => ({ token: ++token }),
    });
    await engine.ready();
    const threads: Set<number>[] = [];
    for (const expected of [1, 2, 3]) {
      if (expected > 1) await engine.refreshCredentials();
      const { outcomes } = await engine.run(count(200).map(() => ({})));
      const seen = outcomes.map((outcome) => success(outcome).value);
      assert.deepEqual(
        new Set(seen.map(({ credentials }) => JSON.stringify(credentials))),
        new Set([`{"token":${expected}}`]),
      );
      threads.push(new Set(seen.map(({ threadId }) => threadId)));
    }
    assert.equal(new Set(threads.flatMap((ids) => [...ids])).size, 2);
    assert.equal(engine.stats().workerExits, 0);
  });

  it('lets a handler fail with a status of its own, and run again with new ones', async (t) => {
    const engine = openEngine<Visit, Seen>(t, fixture('credentials'), {
      recovery: [
        {
          type: 'Expired',
          when: { code: 'HANDLER', status: 401 },
          severity: 'low',
          actions: ['refresh-credentials', 'retry'],
          message: { en: 'Expired.', ko: '만료' },
        },
      ],
      threads: 1,
      concurrency: 1,
      credentials: { token: 'old' },
      onRefreshCredentials: () => ({ token: 'new' }),
    });
    const { outcomes, summary } = await engine.run([{}, { wants: 'new' }, { wants: 'new' }, {}]);
    assert.deepEqual(
      outcomes.map((outcome) => [success(outcome).value.attempt, success(outcome).attempts]),
      [1, 2, 1, 1].map((attempt) => [attempt, attempt]),
    );
    assert.deepEqual([summary.retried, engine.stats().credentialRefreshes], [1, 1]);
  });
});

describe('the HTTP handler', { concurrency: 3 }, () => {
  it('sends the headers of an item, then those of the credentials, then those of the engine', async (t) => {
    const server = await HeldServer.start(t);
    const headers: unknown[] = [];
    server.onRequest = (request) => {
      const { a, b, c, d, e } = request.headers;
      headers.push({ a, b, c, d, e });
      request.answer();
    };
    const engine = makeEngine(t, {
      credentials: {
        headers: { B: 'credentials', C: 'credentials', D: 'credentials', E: ['1', '2'] },
        other: 'ignored',
      },
      http: { headers: { a: 'engine', b: 'engine', c: 'engine' } },
    });
    const item: HttpItem = { url: server.url, headers: { c: 'item', D: 'item' } };
    assertAllOk(await engine.run([item]), 1);
    assert.deepEqual(headers, [{ a: 'engine', b: 'credentials', c: 'item', d: 'item', e: '1, 2' }]);
  });

  it('sends nothing of credentials without "headers"', async (t) => {
    const server = await HeldServer.start(t);
    const seen: string[] = [];
    server.onRequest = (request) => {
      seen.push(JSON.stringify(request.headers));
      request.answer();
    };
    for (const credentials of ['SECRET', 7n, null, [], { token: 'SECRET' }, { headers: undefined }, { headers: {} }]) {
      const engine = makeEngine(t, { credentials, threads: 1 });
      assertAllOk(await engine.run([{ url: server.url }]), 1);
      await engine.close();
    }
    assert.equal(seen.length, 7);
    assert.ok(seen.every((headers) => !headers.includes('SECRET')));
  });

  it('never sends them to another origin', async (t) => {
    const elsewhere = await HeldServer.start(t);
    const server = await HeldServer.start(t);
    const seen: (readonly unknown[])[] = [];
    const targets: Readonly<Record<number, string>> = { 1: `${elsewhere.url}/`, 3: '/same-origin' };
    server.onRequest = (request) => {
      seen.push([request.headers.authorization, request.headers['x-key']]);
      const target = targets[seen.length];
      request.answer(target === undefined ? 200 : 307, target === undefined ? {} : { location: target });
    };
    const leaked: unknown[] = [];
    elsewhere.onRequest = (request) => {
      leaked.push(request.headers.authorization, request.headers['x-key'], request.headers['x-item']);
      // And back again: what was dropped on the way does not come back.
      request.answer(307, { location: `${server.url}/back` });
    };
    const engine = makeEngine(t, {
      credentials: { headers: { authorization: 'Bearer SECRET', 'x-key': 'SECRET' } },
      http: { maxRedirects: 2 },
      threads: 1,
      concurrency: 1,
    });
    assertAllOk(await engine.run(requests(server, 2)), 2);
    assert.deepEqual(leaked, [undefined, undefined, undefined]);
    assert.deepEqual(seen, [
      // The first item, and its way back from elsewhere.
      ['Bearer SECRET', 'SECRET'],
      [undefined, undefined],
      // The second, and its redirect within the origin.
      ['Bearer SECRET', 'SECRET'],
      ['Bearer SECRET', 'SECRET'],
    ]);
  });

  const invalid: Readonly<Record<string, unknown>> = {
    'a line break': { authorization: 'Bearer SECRET\r\nx-injected: 1' },
    'a name that is none': { 'SECRET name': 'x' },
    'a value that is none': { authorization: { token: 'SECRET' } },
    'a field of the client': { 'transfer-encoding': 'SECRET' },
    text: 'Bearer SECRET',
    'a list': ['SECRET'],
  };
  for (const [name, headers] of Object.entries(invalid)) {
    it(`refuses ${name}, without a word of it`, async (t) => {
      const server = await HeldServer.start(t);
      const engine = makeEngine(t, { credentials: { headers } });
      const { outcomes, summary } = await engine.run(requests(server, 2));
      assert.deepEqual([summary.errors, summary.requestsSent, server.arrived.length], [{ HANDLER: 2 }, 0, 0]);
      const { error } = failure(outcomes[0]);
      assert.match(error.message, /"headers" of the engine's credentials are not valid/);
      assert.equal(error.possiblyExecuted, false);
      assert.ok(!JSON.stringify(outcomes).includes('SECRET'));
    });
  }
});

describe('the options', () => {
  it('are checked, and never shown', () => {
    const refused: readonly [object, RegExp][] = [
      [
        { credentials: () => 'SECRET' },
        /"credentials": got a function \(not shown\); allowed: a value that can be cloned/,
      ],
      [{ credentials: { token: Symbol('SECRET') } }, /"credentials": got an object \(not shown\)/],
      [{ onRefreshCredentials: { token: 'SECRET' } }, /"onRefreshCredentials".*allowed: a function/],
      [{ credentialsTimeoutMs: 0 }, /"credentialsTimeoutMs": got 0; allowed: a number of milliseconds more than 0/],
      [{ credentialsTimeoutMs: 2 ** 31 }, /"credentialsTimeoutMs"/],
    ];
    for (const [options, message] of refused) {
      assert.throws(
        () => createEngine(options),
        (error: Error) => {
          assert.match(error.message, message);
          assert.equal(error.name, 'InvalidOptionError');
          assert.ok(!error.message.includes('SECRET'));
          return true;
        },
      );
    }
  });

  it('leave nothing behind that keeps a thread from ending', async () => {
    const hook = new HeldHook();
    const engine = createEngine<Visit, Seen>({
      onRefreshCredentials: hook.ask,
      handler: fixture('credentials'),
      threads: 1,
    });
    const running = engine.run([{}]);
    const call = await hook.call(1);
    await engine.close({ mode: 'abort' });
    assert.deepEqual((await running).summary.errors, { ABORTED: 1 });
    assert.equal(call.signal.aborted, true);
    assert.equal((call.signal.reason as Error).name, 'EngineClosedError');
    // Too late: nobody waits for it any more.
    call.resolve({ token: 'late' });
    await until(() => !engine.stats().isPaused || engine.stats().threadsReady === 0);
    assert.equal(engine.stats().credentialRefreshes, 0);
  });
});
