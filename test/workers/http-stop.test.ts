import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import type http from 'node:http';
import { describe, it } from 'node:test';

import { StopError } from '../../lib/errors.ts';
import { type HookedContext, STOP_HOOK, type StopListener } from '../../workers/stop-hook.ts';
import {
  call,
  deferred,
  FakeContext,
  freePort,
  HookedFakeContext,
  sendJson,
  serve,
  serveRaw,
  useHttp,
} from './http-fixtures.ts';

const CANCELLED = new StopError('CANCELLED', 'stop');

/** How many listeners a signal still has. */
function listenersOf(signal: AbortSignal): number {
  return getEventListeners(signal, 'abort').length;
}

describe('an abort', () => {
  it('before the start sends nothing and does not even connect', async (t) => {
    useHttp(t);
    const server = await serve(t, (_request, response) => sendJson(response, {}));
    const context = new FakeContext();
    context.controller.abort(CANCELLED);
    await assert.rejects(call({ url: server.origin }, context), (error) => error === CANCELLED);
    assert.deepEqual(context.log, []);
    await call({ url: server.origin });
    assert.equal(server.connections, 1);
    assert.equal(listenersOf(context.signal), 0);
  });

  it('in flight rejects with its reason at once and closes the connection', async (t) => {
    useHttp(t);
    const server = await serve(t, () => {});
    const closed = new Promise<void>((resolve) => {
      server.onSocket = (socket) => socket.once('close', () => resolve());
    });
    const context = new FakeContext();
    const done = call({ url: server.origin }, context);
    await context.wasSent;
    context.controller.abort(CANCELLED);
    await assert.rejects(done, (error) => error === CANCELLED);
    assert.deepEqual(context.log, ['sent']);
    assert.equal(listenersOf(context.signal), 0);
    await closed;
  });

  it('in the middle of a body does the same', async (t) => {
    useHttp(t);
    const server = await serve(t, (_request, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('half');
    });
    const context = new FakeContext();
    const done = call({ url: server.origin }, context);
    await context.wasAnswered;
    context.controller.abort(CANCELLED);
    await assert.rejects(done, (error) => error === CANCELLED);
    assert.deepEqual(context.log, ['sent', 'answered']);
  });

  it('while connecting rejects at once, and nothing is sent later', async (t) => {
    useHttp(t, { connectTimeoutMs: 60_000, tls: { rejectUnauthorized: false } }, undefined, 1);
    // It accepts the connection and never answers the handshake.
    const hello = deferred();
    const server = await serveRaw(t, (socket) => socket.once('data', () => hello.resolve()));
    const context = new FakeContext();
    const done = call({ url: `https://127.0.0.1:${server.port}/` }, context);
    await hello.promise;
    context.controller.abort(CANCELLED);
    await assert.rejects(done, (error) => error === CANCELLED);
    assert.deepEqual(context.log, []);
    assert.equal(listenersOf(context.signal), 0);
  });

  it('while it waits for a connection is never sent when that is free', async (t) => {
    useHttp(t, {}, undefined, 1);
    const seen: string[] = [];
    const held = deferred<http.ServerResponse>();
    const server = await serve(t, (request, response) => {
      seen.push(request.url ?? '');
      if (request.url === '/first') held.resolve(response);
      else sendJson(response, {});
    });
    const first = call({ url: `${server.origin}/first` });
    const response = await held.promise;
    const waiting = new FakeContext();
    const second = call({ url: `${server.origin}/second`, method: 'POST', body: { a: 1 } }, waiting);
    waiting.controller.abort(CANCELLED);
    await assert.rejects(second, (error) => error === CANCELLED);
    const third = call({ url: `${server.origin}/third` });
    sendJson(response, {});
    await Promise.all([first, third]);
    assert.deepEqual(seen, ['/first', '/third']);
    assert.deepEqual(waiting.log, []);
    assert.equal(server.connections, 1);
  });

  it('after the end does nothing', async (t) => {
    useHttp(t, {}, undefined, 1);
    const server = await serve(t, (_request, response) => sendJson(response, {}));
    const context = new FakeContext();
    await call({ url: server.origin }, context);
    assert.equal(listenersOf(context.signal), 0);
    context.controller.abort(CANCELLED);
    await call({ url: server.origin });
    assert.equal(server.connections, 1);
  });

  it('of one of many leaves the others alone', async (t) => {
    useHttp(t, {}, undefined, 8);
    const all = deferred();
    const waiting: http.ServerResponse[] = [];
    const server = await serve(t, (_request, response) => {
      waiting.push(response);
      if (waiting.length === 8) all.resolve();
    });
    const contexts = Array.from({ length: 8 }, () => new FakeContext());
    const done = contexts.map((context) => call({ url: server.origin }, context));
    const results = Promise.allSettled(done);
    await all.promise;
    contexts[3]?.controller.abort(CANCELLED);
    for (const response of waiting) sendJson(response, {});
    assert.deepEqual(
      (await results).map((result) => result.status),
      ['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'fulfilled', 'fulfilled', 'fulfilled', 'fulfilled'],
    );
  });
});

describe('the hook of the engine', () => {
  it('replaces the signal, and is free again afterwards', async (t) => {
    useHttp(t);
    const server = await serve(t, (_request, response) => sendJson(response, {}));
    const context = new HookedFakeContext();
    for (let i = 0; i < 3; i++) {
      await call({ url: server.origin }, context);
      assert.equal(context[STOP_HOOK], undefined);
    }
    await assert.rejects(call({ url: `http://127.0.0.1:${await freePort()}` }, context), { code: 'NETWORK' });
    assert.equal(context[STOP_HOOK], undefined);
  });

  it('stops before the start, in flight, while connecting, and never after the end', async (t) => {
    useHttp(t, {}, undefined, 1);
    const gone = deferred();
    const hello = deferred();
    const silent = await serve(t, (request) => request.socket.once('close', () => gone.resolve()));
    const connecting = await serveRaw(t, (socket) => socket.once('data', () => hello.resolve()));

    const early = new HookedFakeContext();
    early.stop(CANCELLED);
    await assert.rejects(call({ url: silent.origin }, early), (error) => error === CANCELLED);
    assert.equal(silent.connections, 0);

    const inFlight = new HookedFakeContext();
    const done = call({ url: silent.origin }, inFlight);
    await inFlight.wasSent;
    inFlight.stop(CANCELLED);
    await assert.rejects(done, (error) => error === CANCELLED);
    await gone.promise;
    inFlight.stop(CANCELLED);

    const handshake = new HookedFakeContext();
    const never = call({ url: `https://127.0.0.1:${connecting.port}/` }, handshake);
    await hello.promise;
    handshake.stop(CANCELLED);
    await assert.rejects(never, (error) => error === CANCELLED);
    assert.deepEqual([early.log, inFlight.log, handshake.log], [[], ['sent'], []]);
  });

  it('may be what the last look itself sets off', async (t) => {
    useHttp(t, {}, undefined, 1);
    let requests = 0;
    const server = await serve(t, (_request, response) => {
      requests++;
      sendJson(response, {});
    });
    await call({ url: server.origin });
    const context = new HookedFakeContext();
    let looks = 0;
    context.throwIfStopped = () => {
      // The gate is open when the call begins, and closed when the connection is there.
      if (++looks < 2) return;
      context.stop(CANCELLED);
      throw new StopError('CANCELLED', 'another object');
    };
    await assert.rejects(call({ url: server.origin }, context), (error) => error === CANCELLED);
    await call({ url: server.origin });
    assert.equal(looks, 2);
    assert.equal(requests, 2);
    assert.equal(server.connections, 1);
  });

  it('serves one call; a second one at the same time uses the signal', async (t) => {
    useHttp(t);
    const server = await serve(t, () => {});
    class Both extends FakeContext implements HookedContext {
      [STOP_HOOK]: StopListener | undefined = undefined;
    }
    const context = new Both();
    const two = [call({ url: server.origin }, context), call({ url: server.origin }, context)];
    const settled = Promise.allSettled(two);
    await context.wasSent;
    assert.equal(listenersOf(context.signal), 1);
    context[STOP_HOOK]?.onStop(CANCELLED);
    context.controller.abort(CANCELLED);
    for (const result of await settled) assert.equal(result.status === 'rejected' && result.reason, CANCELLED);
    assert.equal(context[STOP_HOOK], undefined);
    assert.equal(listenersOf(context.signal), 0);
  });

  it('is not used behind the back of somebody who put a signal of their own on top', async (t) => {
    useHttp(t);
    const server = await serve(t, () => {});
    const inner = new HookedFakeContext();
    const own = new AbortController();
    const sent = deferred();
    const outer = Object.create(inner, {
      signal: { value: own.signal },
      sent: { value: () => sent.resolve() },
    }) as FakeContext;
    const done = call({ url: server.origin }, outer);
    await sent.promise;
    assert.equal(inner[STOP_HOOK], undefined);
    own.abort(CANCELLED);
    await assert.rejects(done, (error) => error === CANCELLED);
  });
});
