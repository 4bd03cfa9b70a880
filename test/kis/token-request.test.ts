import assert from 'node:assert/strict';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { postToken, type TokenEndpoint, wasNotSent } from '../../lib/kis/token-request.ts';
import {
  deferred,
  freePort,
  readBody,
  sendJson,
  serve,
  serveRaw,
  serveTls,
  TEST_CERT,
} from '../workers/http-fixtures.ts';
import { APP_KEY, APP_SECRET } from './support.ts';

function ask(origin: string, more: Partial<TokenEndpoint> = {}, signal?: AbortSignal) {
  const keys = { appKey: APP_KEY, appSecret: APP_SECRET };
  return postToken({ baseUrl: `${origin}/`, http: {}, timeoutMs: 10_000, ...keys, ...more }, signal);
}

/** A proxy that opens tunnels. Returns its address and what it was asked. */
async function serveProxy(t: TestContext) {
  const asked: { target: string; authorization: string | undefined }[] = [];
  const server = http.createServer();
  const sockets = new Set<net.Socket>();
  server.on('connect', (request, client: net.Socket) => {
    asked.push({ target: request.url ?? '', authorization: request.headers['proxy-authorization'] });
    const [host = '', port = ''] = (request.url ?? '').split(':');
    const upstream = net.connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.pipe(client).pipe(upstream);
    });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

describe('a request for a token', () => {
  it('is as KIS wants it', async (t) => {
    const seen: unknown[] = [];
    const server = await serve(t as TestContext, async (request, response) => {
      const body = JSON.parse((await readBody(request)).toString()) as unknown;
      seen.push(request.method, request.url, request.headers['content-type'], body);
      sendJson(response, { access_token: 'x' }, 201);
    });
    assert.deepEqual(await ask(server.origin), { status: 201, text: '{"access_token":"x"}' });
    assert.deepEqual(seen, [
      'POST',
      '/oauth2/tokenP',
      'application/json; charset=utf-8',
      { grant_type: 'client_credentials', appkey: APP_KEY, appsecret: APP_SECRET },
    ]);
    // A connection of its own, which is gone.
    await ask(server.origin);
    assert.equal(server.connections, 2);
  });

  it('goes over TLS with the certificates of the options, and to nobody else', async (t) => {
    const server = await serveTls(t as TestContext, (_request, response) => sendJson(response, { a: 1 }));
    assert.equal((await ask(server.origin, { http: { tls: { ca: TEST_CERT } } })).text, '{"a":1}');
    await assert.rejects(ask(server.origin), /certificate/);
  });

  it('goes through a proxy, with the password of the proxy', async (t) => {
    const { address, asked } = await serveProxy(t as TestContext);
    const server = await serveTls(t as TestContext, (_request, response) => sendJson(response, { a: 1 }));
    const tls = { ca: TEST_CERT };
    assert.equal((await ask(server.origin, { http: { proxy: `http://${address}`, tls } })).status, 200);
    const proxy = `http://us%20er:pa%3Ass@${address}`;
    assert.equal((await ask(server.origin, { http: { proxy, tls } })).status, 200);
    const target = `127.0.0.1:${server.port}`;
    const authorization = `Basic ${Buffer.from('us er:pa:ss').toString('base64')}`;
    assert.deepEqual(asked, [
      { target, authorization: undefined },
      { target, authorization },
    ]);
  });

  it('follows nobody who sends it elsewhere', async (t) => {
    const other = await serve(t as TestContext, (_request, response) => sendJson(response, { access_token: 'x' }));
    const server = await serve(t as TestContext, (_request, response) => {
      response.writeHead(307, { location: `${other.origin}/oauth2/tokenP` }).end();
    });
    assert.equal((await ask(server.origin)).status, 307);
    assert.equal(other.connections, 0);
  });

  it('ends with its signal, before and in between', async (t) => {
    const arrived = deferred();
    const server = await serve(t as TestContext, () => arrived.resolve());
    const reason = new Error('no more');
    await assert.rejects(ask(server.origin, {}, AbortSignal.abort(reason)), reason);
    assert.equal(server.connections, 0);
    const stop = new AbortController();
    const asking = ask(server.origin, {}, stop.signal);
    await arrived.promise;
    stop.abort(reason);
    await assert.rejects(asking, reason);
  });

  it('does not wait for ever', async (t) => {
    const silent = await serveRaw(t as TestContext, () => {});
    await assert.rejects(ask(silent.origin, { timeoutMs: 50 }), { name: 'TimeoutError' });
    // Byte after byte, never too long without one.
    const dripping = await serve(t as TestContext, (_request, response) => {
      const timer = setInterval(() => response.write(' '), 5);
      response.on('close', () => clearInterval(timer));
    });
    await assert.rejects(ask(dripping.origin, { timeoutMs: 100 }), { name: 'TimeoutError' });
  });

  it('takes no more than an answer can be', async (t) => {
    const server = await serve(t as TestContext, (_request, response) => {
      response.end('x'.repeat(100_000));
    });
    await assert.rejects(ask(server.origin), { code: 'UND_ERR_RES_EXCEEDED_MAX_SIZE' });
  });

  it('tells if nobody can have heard it', async (t) => {
    const errorOf = async (origin: string) => {
      try {
        await ask(origin);
      } catch (error) {
        return error;
      }
      return assert.fail('no error');
    };
    assert.equal(wasNotSent(await errorOf(`http://127.0.0.1:${await freePort()}`)), true);
    const rude = await serveRaw(t as TestContext, (socket) => socket.on('data', () => socket.resetAndDestroy()));
    assert.equal(wasNotSent(await errorOf(rude.origin)), false);
    for (const odd of [undefined, null, 'ECONNREFUSED', {}]) assert.equal(wasNotSent(odd), false);
  });
});
