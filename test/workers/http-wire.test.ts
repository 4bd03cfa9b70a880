import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type http from 'node:http';
import { describe, it } from 'node:test';

import { StopError } from '../../lib/errors.ts';
import {
  call,
  deferred,
  FakeContext,
  readBody,
  sendJson,
  serve,
  serveBytes,
  serveRaw,
  useHttp,
} from './http-fixtures.ts';

const CANCELLED = new StopError('CANCELLED', 'stop');

describe('the reports of the handler', () => {
  it('are sent, then answered, once each', async (t) => {
    useHttp(t, {}, undefined, 1);
    const server = await serve(t, (_request, response) => sendJson(response, { ok: 1 }));
    for (let i = 0; i < 3; i++) {
      const context = new FakeContext();
      assert.deepEqual((await call({ url: server.origin }, context)).body, { ok: 1 });
      assert.deepEqual(context.log, ['sent', 'answered']);
    }
    assert.equal(server.connections, 1);
  });

  for (const size of [1, 64 * 1024, 1024 * 1024]) {
    it(`come in the same order for a body of ${size} bytes`, async (t) => {
      useHttp(t);
      const server = await serve(t, async (request, response) => {
        sendJson(response, (await readBody(request)).length);
      });
      for (const body of ['x'.repeat(size), new Uint8Array(size)]) {
        const context = new FakeContext();
        assert.equal((await call({ url: server.origin, method: 'POST', body }, context)).body, size);
        assert.deepEqual(context.log, ['sent', 'answered']);
      }
    });
  }

  it('go to the right one of several bodies in flight', async (t) => {
    useHttp(t);
    const held: (() => void)[] = [];
    const server = await serve(t, (request, response) => {
      if (request.url === '/hold') held.push(() => sendJson(response, 1));
      else sendJson(response, 1);
    });
    const slow = new FakeContext();
    const slowDone = call({ url: `${server.origin}/hold`, method: 'POST', body: { a: 1 } }, slow);
    await slow.wasSent;
    const fast = new FakeContext();
    await call({ url: server.origin, method: 'POST', body: { a: 1 } }, fast);
    assert.deepEqual(fast.log, ['sent', 'answered']);
    assert.deepEqual(slow.log, ['sent']);
    for (const release of held) release();
    await slowDone;
    assert.deepEqual(slow.log, ['sent', 'answered']);
  });

  it('come for an answer that is sent before the body has arrived', async (t) => {
    useHttp(t);
    const server = await serve(t, (_request, response) => sendJson(response, {}, 413));
    const context = new FakeContext();
    const body = new Uint8Array(4 * 1024 * 1024);
    const value = await call({ url: server.origin, method: 'POST', body }, context).catch(() => undefined);
    if (value !== undefined) assert.equal(value.status, 413);
    assert.equal(context.log[0], 'sent');
  });

  it('take no interim answer for one', async (t) => {
    useHttp(t);
    const hinted = deferred<http.ServerResponse>();
    const server = await serve(t, (_request, response) => {
      response.writeEarlyHints({ link: '</x>; rel=preload' }, () => hinted.resolve(response));
    });
    const context = new FakeContext();
    const interim = deferred();
    const onHeaders = () => interim.resolve();
    subscribe('undici:request:headers', onHeaders);
    t.after(() => unsubscribe('undici:request:headers', onHeaders));
    const done = call({ url: server.origin }, context);
    await interim.promise;
    assert.deepEqual(context.log, ['sent']);
    sendJson(await hinted.promise, { ok: 1 });
    const value = await done;
    assert.equal(value.status, 200);
    assert.deepEqual(value.body, { ok: 1 });
    assert.deepEqual(context.log, ['sent', 'answered']);
  });

  it('do not take the word of a gateway for an answer of the upstream', async (t) => {
    useHttp(t);
    const server = await serve(t, (request, response) => sendJson(response, {}, Number(request.url?.slice(1))));
    for (const [status, log] of [
      [500, ['sent', 'answered']],
      [502, ['sent']],
      [503, ['sent', 'answered']],
      [504, ['sent']],
      [429, ['sent', 'answered']],
    ] as const) {
      const context = new FakeContext();
      assert.equal((await call({ url: `${server.origin}/${status}` }, context)).status, status);
      assert.deepEqual(context.log, log);
    }
  });

  it('do not say "answered" for a connection that closes without an answer', async (t) => {
    useHttp(t);
    const server = await serveRaw(t, (socket) => socket.on('data', () => socket.end()));
    const context = new FakeContext();
    await assert.rejects(call({ url: server.origin }, context));
    assert.deepEqual(context.log, ['sent']);
  });
});

describe('the last look before sending', () => {
  for (const lanes of [1, 3]) {
    it(`sends nothing and keeps the connection (pool of ${lanes})`, async (t) => {
      useHttp(t, {}, undefined, lanes);
      const held: http.ServerResponse[] = [];
      const server = await serve(t, (_request, response) => {
        // All connections are opened and stay busy until the last one is there.
        if (held.push(response) % lanes === 0) for (const one of held.slice(-lanes)) sendJson(one, {});
      });
      const ask = () => Promise.all(Array.from({ length: lanes }, () => call({ url: server.origin })));
      await ask();
      for (let i = 0; i < 10; i++) {
        for (const body of [undefined, { a: 1 }]) {
          const context = new FakeContext();
          context.stopError = CANCELLED;
          await assert.rejects(
            call({ url: server.origin, method: 'POST', body }, context),
            (error) => error === CANCELLED,
          );
          assert.deepEqual(context.log, []);
        }
      }
      await ask();
      assert.equal(held.length, 2 * lanes);
      assert.equal(server.connections, lanes);
    });
  }

  it('holds on a connection that is new, too', async (t) => {
    useHttp(t, {}, undefined, 1);
    let requests = 0;
    const server = await serve(t, (_request, response) => {
      requests++;
      sendJson(response, {});
    });
    const context = new FakeContext();
    context.stopError = CANCELLED;
    await assert.rejects(call({ url: server.origin }, context), (error) => error === CANCELLED);
    await call({ url: server.origin });
    assert.equal(requests, 1);
    assert.equal(server.connections, 1);
  });
});

describe('a connection', () => {
  it('carries one request at a time, and there are no more than allowed', async (t) => {
    useHttp(t, { connections: 2 });
    let most = 0;
    const waiting: http.ServerResponse[] = [];
    const server = await serve(t, (_request, response) => {
      most = Math.max(most, waiting.push(response));
      if (waiting.length === 2) {
        setImmediate(() => {
          for (const one of waiting.splice(0)) sendJson(one, {});
        });
      }
    });
    await Promise.all(Array.from({ length: 20 }, () => call({ url: server.origin })));
    assert.equal(most, 2);
    assert.equal(server.connections, 2);
  });

  it('that the server closes after an answer is replaced, and nothing is sent twice', async (t) => {
    useHttp(t, {}, undefined, 1);
    let requests = 0;
    const server = await serveRaw(t, (socket) => {
      socket.on('data', () => {
        requests++;
        socket.end('HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok');
      });
    });
    for (let i = 0; i < 5; i++) assert.equal((await call({ url: server.origin })).body, 'ok');
    assert.equal(requests, 5);
    assert.equal(server.connections, 5);
  });

  it('survives many answers in turn with the same bytes', async (t) => {
    useHttp(t, {}, undefined, 1);
    const server = await serveBytes(t, 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
    for (let i = 0; i < 5; i++) assert.equal((await call({ url: server.origin })).body, 'ok');
    assert.equal(server.connections, 1);
  });
});
