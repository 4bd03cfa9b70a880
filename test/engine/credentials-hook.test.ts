import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RefreshRequest } from '../../lib/index.ts';
import { assertAllOk, assertComplete, nextEvent, QUICK_RETRY, requests } from '../support/engine-bench.ts';
import { HeldServer } from '../support/held-server.ts';
import { admitOnly, bearer, HeldHook, openRefreshing } from './credentials-support.ts';
import { failure, until } from './support.ts';

describe('a hook that fails', { concurrency: 3 }, () => {
  const failures: Readonly<Record<string, readonly [() => unknown, object]>> = {
    'throws at once': [
      () => {
        throw new RangeError('Out of luck.');
      },
      { name: 'RangeError', message: 'Out of luck.' },
    ],
    rejects: [
      async () => Promise.reject(new RangeError('Out of luck.')),
      { name: 'RangeError', message: 'Out of luck.' },
    ],
    'rejects with nothing': [async () => Promise.reject(undefined), {}],
    'returns nothing': [() => undefined, { name: 'TypeError', message: 'onRefreshCredentials returned nothing.' }],
    'resolves to nothing': [async () => {}, { name: 'TypeError', message: 'onRefreshCredentials returned nothing.' }],
    'returns what cannot be cloned': [
      () => ({ token: 'SECRET', sign: () => 'SECRET' }),
      {
        name: 'TypeError',
        message: 'onRefreshCredentials returned something that cannot be cloned to other threads.',
      },
    ],
  };
  for (const [name, [hook, cause]] of Object.entries(failures)) {
    it(`because it ${name}: CREDENTIALS, and why`, async (t) => {
      const server = await HeldServer.start(t);
      const { engine, refreshes } = openRefreshing(t, { onRefreshCredentials: hook });
      const { outcomes, summary } = await engine.run(requests(server, 3));
      assert.deepEqual([summary.errors, server.arrived.length], [{ CREDENTIALS: 3 }, 0]);
      const { error } = failure(outcomes[0]);
      assert.deepEqual({ ...error.cause }, cause);
      assert.ok(!JSON.stringify(outcomes).includes('SECRET'));
      assert.deepEqual(refreshes, [{ reason: 'initial', ok: false }]);
      assert.equal(engine.stats().isPaused, false);
    });
  }

  it('because it never comes back: after credentialsTimeoutMs, and what comes later is too late', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'second');
    const hook = new HeldHook();
    const { engine } = openRefreshing(t, { onRefreshCredentials: hook.ask, credentialsTimeoutMs: 50 });
    const { outcomes, summary } = await engine.run(requests(server, 3));
    assert.deepEqual(summary.errors, { CREDENTIALS: 3 });
    const call = await hook.call(1);
    const why = 'onRefreshCredentials took longer than 50 ms.';
    assert.deepEqual([call.signal.aborted, (call.signal.reason as Error).message], [true, why]);
    assert.deepEqual(failure(outcomes[0]).error.cause, { name: 'Error', message: why });

    const running = engine.run(requests(server, 3));
    const again = await hook.call(2);
    call.resolve(bearer('first'));
    again.resolve(bearer('second'));
    assertAllOk(await running, 3);
    assert.deepEqual([server.arrived.length, engine.stats().credentialRefreshes], [3, 1]);
  });

  it('and rejects after that: nobody is disturbed', async (t) => {
    const server = await HeldServer.start(t);
    let noteEnd: () => void = () => {};
    const hasEnded = new Promise<void>((resolve) => {
      noteEnd = resolve;
    });
    const { engine } = openRefreshing(t, {
      credentialsTimeoutMs: 1,
      onRefreshCredentials: async ({ signal }) => {
        while (!signal.aborted) await sleep(1);
        await sleep(1);
        noteEnd();
        throw new Error('Too late.');
      },
    });
    assert.deepEqual((await engine.run(requests(server, 3))).summary.errors, { CREDENTIALS: 3 });
    await hasEnded;
    // An unhandled rejection would end this process before the next turn of its event loop.
    await new Promise((resolve) => setImmediate(resolve));
  });
});

describe('refreshCredentials()', { concurrency: 3 }, () => {
  it('asks once for all who call it, also while the hook is at work', async (t) => {
    const hook = new HeldHook();
    const { engine, refreshes, pauses } = openRefreshing(t, { onRefreshCredentials: hook.ask, credentials: 1 });
    const first = [engine.refreshCredentials(), engine.refreshCredentials()];
    const call = await hook.call(1);
    assert.equal(call.reason, 'requested');
    const late = engine.refreshCredentials();
    call.resolve(2);
    await Promise.all([...first, late]);
    assert.deepEqual([hook.calls.length, refreshes], [1, [{ reason: 'requested', ok: true }]]);
    assert.deepEqual(
      pauses.map(({ causes }) => causes),
      [['credentials']],
    );
    await until(() => !engine.stats().isPaused);
    const again = engine.refreshCredentials();
    (await hook.call(2)).resolve(3);
    await again;
    assert.equal(engine.stats().credentialRefreshes, 2);
  });

  it('shares what is got because of a refusal', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'new');
    const hook = new HeldHook();
    const { engine } = openRefreshing(t, { onRefreshCredentials: hook.ask, credentials: bearer('old') });
    const running = engine.run(requests(server, 10));
    const call = await hook.call(1);
    assert.equal(call.reason, 'refused');
    const asking = engine.refreshCredentials();
    call.resolve(bearer('new'));
    await asking;
    assertAllOk(await running, 10);
    assert.equal(hook.calls.length, 1);
  });

  it('lets what is in flight finish, and sends nothing before it is done', async (t) => {
    const server = await HeldServer.start(t);
    const hook = new HeldHook();
    const { engine } = openRefreshing(t, { onRefreshCredentials: hook.ask, credentials: bearer('1'), concurrency: 4 });
    const running = engine.run(requests(server, 12));
    const held = await server.waitFor(4);
    const asking = engine.refreshCredentials();
    assert.deepEqual([engine.stats().isPaused, hook.calls.length], [true, 0]);
    for (const request of held) request.answer();
    const call = await hook.call(1);
    assert.deepEqual([engine.stats().inFlight, server.arrived.length, server.aborted], [0, 4, 0]);
    const seen = new Set<string | undefined>();
    server.onRequest = (request) => {
      seen.add(request.headers.authorization);
      request.answer();
    };
    call.resolve(bearer('2'));
    await asking;
    const result = await running;
    assertAllOk(result, 12);
    assert.deepEqual([[...seen], server.arrived.length, result.summary.cancelled], [['Bearer 2'], 12, 0]);
  });

  it('throws what the hook throws, and the engine goes on with what it has', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'old');
    const why = new Error('The vault is shut.');
    const { engine, refreshes } = openRefreshing(t, {
      credentials: bearer('old'),
      onRefreshCredentials: async () => Promise.reject(why),
    });
    const running = engine.run(requests(server, 50));
    await assert.rejects(engine.refreshCredentials(), (error) => error === why);
    assertAllOk(await running, 50);
    assert.deepEqual(refreshes, [{ reason: 'requested', ok: false }]);
  });

  it('is a mistake where there is no hook: nothing stops', async (t) => {
    const { engine, pauses } = openRefreshing(t);
    await assert.rejects(engine.refreshCredentials(), { name: 'TypeError', message: /onRefreshCredentials/ });
    assert.deepEqual([pauses.length, engine.stats().isPaused], [0, false]);
  });

  it('during the pause after a rate-limit error waits for the end of the pause', async (t) => {
    const server = await HeldServer.start(t);
    const hook = new HeldHook();
    const { engine, pauses } = openRefreshing(t, {
      concurrency: 2,
      credentials: bearer('old'),
      onRefreshCredentials: hook.ask,
      retry: { ...QUICK_RETRY, initialMs: 200 },
    });
    const running = engine.run(requests(server, 6));
    const [first] = await server.waitFor(2);
    const asked = new Promise<{ readonly asking: Promise<void>; readonly atMs: number }>((resolve) => {
      engine.once('paused', () => resolve({ asking: engine.refreshCredentials(), atMs: performance.now() }));
    });
    first?.answer(429);
    const { asking, atMs } = await asked;
    const call = await hook.call(1);
    assert.ok(performance.now() - atMs >= 200, 'the upstream wanted quiet');
    assert.equal(call.reason, 'requested');
    assert.equal(server.arrived.length, 2);
    admitOnly(server, 'new');
    call.resolve(bearer('new'));
    await asking;
    assertAllOk(await running, 6);
    assert.deepEqual([hook.calls.length, pauses.length], [1, 1]);
  });

  it('right before close(): it is told, and nobody else', async (t) => {
    const hook = new HeldHook();
    const { engine } = openRefreshing(t, { onRefreshCredentials: hook.ask });
    const asking = assert.rejects(engine.refreshCredentials(), { code: 'ENGINE_CLOSED' });
    const closing = engine.close();
    await assert.rejects(engine.refreshCredentials(), { code: 'ENGINE_CLOSED' });
    await Promise.all([asking, closing]);
    assert.ok(hook.calls.every(({ signal }) => signal.aborted));
  });
});

describe('a hook that uses its own engine', { concurrency: 3 }, () => {
  it('is told at once that refreshCredentials() would wait for itself', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'good');
    const { engine, refreshes } = openRefreshing(t, {
      onRefreshCredentials: async () => {
        await sleep(1);
        await assert.rejects(engine.refreshCredentials(), /onRefreshCredentials called refreshCredentials/);
        return bearer('good');
      },
    });
    assertAllOk(await engine.run(requests(server, 3)), 3);
    assert.deepEqual(refreshes, [{ reason: 'initial', ok: true }]);
  });

  it('is told at once that its items would wait for it', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'good');
    const { engine } = openRefreshing(t, {
      onRefreshCredentials: async () => {
        const why = /onRefreshCredentials used its own engine/;
        await sleep(1);
        await assert.rejects(engine.run(requests(server, 1)), why);
        await assert.rejects(async () => {
          for await (const _ of engine.stream(requests(server, 1))) assert.fail('nothing can have run');
        }, why);
        return bearer('good');
      },
    });
    assertAllOk(await engine.run(requests(server, 3)), 3);
    assert.deepEqual([server.arrived.length, engine.stats().batches], [3, 0]);
  });

  it('may leave something behind that uses it later', async (t) => {
    const server = await HeldServer.start(t);
    admitOnly(server, 'good');
    let later: Promise<unknown> | undefined;
    const { engine, refreshes } = openRefreshing(t, {
      onRefreshCredentials: ({ reason }) => {
        if (reason === 'initial') {
          const resumed = nextEvent(engine, 'resumed');
          later = resumed.then(async () => {
            await engine.refreshCredentials();
            return engine.run(requests(server, 3));
          });
        }
        return bearer('good');
      },
    });
    assertAllOk(await engine.run(requests(server, 3)), 3);
    await later;
    assert.deepEqual(
      refreshes.map(({ reason }) => reason),
      ['initial', 'requested'],
    );
    assert.equal(server.arrived.length, 6);
  });

  it('may call refreshCredentials() of another one', async (t) => {
    const other = openRefreshing(t, { credentials: 1, onRefreshCredentials: () => bearer('good') });
    const server = await HeldServer.start(t);
    admitOnly(server, 'good');
    const { engine } = openRefreshing(t, {
      onRefreshCredentials: async () => {
        await other.engine.refreshCredentials();
        return bearer('good');
      },
    });
    assertAllOk(await engine.run(requests(server, 3)), 3);
    assert.equal(other.engine.stats().credentialRefreshes, 1);
  });

  it('may abort it', async (t) => {
    const server = await HeldServer.start(t);
    let signal: RefreshRequest['signal'] | undefined;
    const { engine } = openRefreshing(t, {
      onRefreshCredentials: async (request) => {
        signal = request.signal;
        await engine.close({ mode: 'abort' });
        throw new Error('The account is locked.');
      },
    });
    const result = await engine.run(requests(server, 3));
    assertComplete(result, 3);
    assert.deepEqual([result.summary.errors, server.arrived.length], [{ ABORTED: 3 }, 0]);
    await engine.close();
    assert.equal(signal?.aborted, true);
  });

  it('may wait for it to drain, until credentialsTimeoutMs ends that', async (t) => {
    const server = await HeldServer.start(t);
    const { engine } = openRefreshing(t, {
      credentialsTimeoutMs: 50,
      onRefreshCredentials: async () => {
        await engine.close();
        return bearer('late');
      },
    });
    const result = await engine.run(requests(server, 3));
    assert.deepEqual([result.summary.errors, server.arrived.length], [{ CREDENTIALS: 3 }, 0]);
    await engine.close();
  });
});
