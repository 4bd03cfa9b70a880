import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { describe, it, type TestContext } from 'node:test';

import { HandlerLoadError, ItemError, StopError } from '../../lib/errors.ts';
import { setup } from '../../workers/http.ts';
import {
  call,
  deferred,
  FakeContext,
  freePort,
  readBody,
  sendJson,
  serve,
  serveRaw,
  serveTls,
  TEST_CERT,
  useHttp,
} from './http-fixtures.ts';

describe('TLS', () => {
  it('checks the server by the given authority', async (t) => {
    const server = await serveTls(t, (_request, response) => sendJson(response, { secure: true }));
    useHttp(t, { tls: { ca: TEST_CERT } });
    assert.deepEqual((await call({ url: server.origin })).body, { secure: true });
    useHttp(t, { tls: { ca: [Uint8Array.from(Buffer.from(TEST_CERT))] } });
    assert.deepEqual((await call({ url: server.origin })).body, { secure: true });
    useHttp(t, { tls: { rejectUnauthorized: false } });
    assert.deepEqual((await call({ url: server.origin })).body, { secure: true });
  });

  it('refuses a server that it cannot check, before anything is sent', async (t) => {
    const server = await serveTls(t, (_request, response) => sendJson(response, {}));
    for (const tls of [{}, { ca: TEST_CERT, servername: 'other.example' }]) {
      useHttp(t, { tls });
      const context = new FakeContext();
      await assert.rejects(call({ url: server.origin }, context), (error) => {
        assert.ok(error instanceof ItemError);
        assert.equal(error.code, 'NETWORK');
        assert.equal(error.notSent, true);
        return true;
      });
      assert.deepEqual(context.log, []);
    }
  });
});

interface TestProxy {
  readonly url: string;
  readonly tunnels: string[];
  readonly authorizations: (string | undefined)[];
}

/** A proxy that opens tunnels. */
async function proxy(t: TestContext): Promise<TestProxy> {
  const tunnels: string[] = [];
  const authorizations: (string | undefined)[] = [];
  const server = http.createServer((_request, response) => response.writeHead(405).end());
  const sockets = new Set<net.Socket>();
  const keep = (socket: net.Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  };
  server.on('connect', (request, client: net.Socket) => {
    keep(client);
    tunnels.push(request.url ?? '');
    authorizations.push(request.headers['proxy-authorization']);
    const [host, port] = (request.url ?? '').split(':');
    const upstream = net.connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      client.pipe(upstream).pipe(client);
    });
    keep(upstream);
    upstream.on('error', () => client.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return { url: `127.0.0.1:${(server.address() as net.AddressInfo).port}`, tunnels, authorizations };
}

describe('a proxy', () => {
  it('tunnels http and https, with its credentials kept away from the server', async (t) => {
    const through = await proxy(t);
    const seen: http.IncomingHttpHeaders[] = [];
    const listener: http.RequestListener = async (request, response) => {
      seen.push(request.headers);
      sendJson(response, (await readBody(request)).toString());
    };
    const plain = await serve(t, listener);
    const secure = await serveTls(t, listener);
    useHttp(t, {
      proxy: `http://user:p%40ss@${through.url}`,
      tls: { ca: TEST_CERT },
      headers: { 'x-list': ['a', 'b'] },
    });
    for (const server of [plain, secure]) {
      for (let i = 0; i < 3; i++) {
        const context = new FakeContext();
        const value = await call({ url: `${server.origin}/x`, method: 'POST', body: { n: i } }, context);
        assert.deepEqual(value.body, `{"n":${i}}`);
        assert.deepEqual(context.log, ['sent', 'answered']);
      }
    }
    assert.deepEqual(new Set(through.tunnels), new Set([`127.0.0.1:${plain.port}`, `127.0.0.1:${secure.port}`]));
    const basic = `Basic ${Buffer.from('user:p@ss').toString('base64')}`;
    assert.deepEqual(new Set(through.authorizations), new Set([basic]));
    assert.equal(seen.length, 6);
    for (const [index, headers] of seen.entries()) {
      assert.equal(headers['proxy-authorization'], undefined);
      assert.equal(headers['x-list'], 'a, b');
      assert.equal(headers.host, `127.0.0.1:${(index < 3 ? plain : secure).port}`);
    }
  });

  it('keeps the last look and the abort', async (t) => {
    const through = await proxy(t);
    let requests = 0;
    const server = await serve(t, (_request, response) => {
      requests++;
      sendJson(response, {});
    });
    useHttp(t, { proxy: `http://${through.url}` }, undefined, 1);
    await call({ url: server.origin });
    const context = new FakeContext();
    context.stopError = new StopError('CANCELLED', 'stop');
    await assert.rejects(call({ url: server.origin }, context), (error) => error === context.stopError);
    await call({ url: server.origin });
    assert.equal(requests, 2);
    assert.equal(through.tunnels.length, 1);
  });

  /** The item fails as not sent, and its error keeps the secret of the proxy. */
  async function assertNoConnection(origin: string): Promise<void> {
    const context = new FakeContext();
    await assert.rejects(call({ url: origin }, context), (error) => {
      assert.ok(error instanceof ItemError);
      assert.equal(error.code, 'NETWORK');
      assert.equal(error.notSent, true);
      for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
        assert.doesNotMatch(String(cause.stack), /s3cret|czNjcmV0/);
      }
      return true;
    });
    assert.deepEqual(context.log, []);
  }

  it('that is not there, refuses, or does not reach the server means: not sent', async (t) => {
    useHttp(t, { proxy: `http://u:s3cret@127.0.0.1:${await freePort()}` });
    await assertNoConnection('http://127.0.0.1:1');
    const refusing = await serveRaw(t, (socket) => {
      socket.once('data', () => socket.end('HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n'));
    });
    useHttp(t, { proxy: `http://u:s3cret@127.0.0.1:${refusing.port}` });
    for (let i = 0; i < 6; i++) await assertNoConnection('http://127.0.0.1:1');
    const through = await proxy(t);
    useHttp(t, { proxy: `http://u:s3cret@${through.url}` });
    await assertNoConnection(`http://127.0.0.1:${await freePort()}`);
    await assertNoConnection(`https://127.0.0.1:${await freePort()}`);
  });

  for (const end of ['end', 'resetAndDestroy'] as const) {
    it(`that hangs up is not called again and again (${end})`, async (t) => {
      const hangingUp = await serveRaw(t, (socket) => socket.once('data', () => socket[end]()));
      useHttp(t, { proxy: `http://u:s3cret@127.0.0.1:${hangingUp.port}` });
      for (let i = 0; i < 6; i++) await assertNoConnection('http://127.0.0.1:1');
      assert.equal(hangingUp.connections, 6);
    });
  }

  it('that never answers is given up after the connect timeout', async (t) => {
    const silent = await serveRaw(t, () => {});
    useHttp(t, { proxy: `http://127.0.0.1:${silent.port}`, connectTimeoutMs: 50 });
    await assertNoConnection('http://127.0.0.1:1');
  });

  it('that never answers does not hold up an abort', async (t) => {
    const asked = deferred();
    const silent = await serveRaw(t, (socket) => socket.once('data', () => asked.resolve()));
    useHttp(t, { proxy: `http://127.0.0.1:${silent.port}` });
    const context = new FakeContext();
    const stop = new StopError('CANCELLED', 'stop');
    const done = call({ url: 'http://127.0.0.1:1' }, context);
    await asked.promise;
    context.controller.abort(stop);
    await assert.rejects(done, (error) => error === stop);
  });

  it('is refused if its address is no use, without showing it', async (t) => {
    for (const address of ['u:s3cret@proxy', 'http://u:%zz@s3cret/', 'socks5://u:s3cret@127.0.0.1:1', '']) {
      useHttp(t, { proxy: address });
      await assert.rejects(setup(), (error) => {
        assert.ok(error instanceof HandlerLoadError);
        assert.match(error.message, /"http\.proxy"/);
        assert.doesNotMatch(error.message, /s3cret/);
        assert.equal(error.cause, undefined);
        return true;
      });
    }
  });
});

function moduleUrl(source: string): string {
  return `data:text/javascript,${encodeURIComponent(source)}`;
}

const UNDICI = import.meta.resolve('undici');

describe('a dispatcher of the user', () => {
  it('is called with the options, once, and used for every request', async (t) => {
    const server = await serve(t, (request, response) => sendJson(response, request.headers['x-made']));
    const source = `
      import { Agent } from ${JSON.stringify(UNDICI)};
      globalThis.made ??= [];
      export default async (options) => {
        globalThis.made.push(options);
        return new Agent().compose((dispatch) => (request, handler) =>
          dispatch({ ...request, headers: [...request.headers, 'x-made', 'yes'] }, handler));
      };`;
    useHttp(t, { baseUrl: server.origin, maxBodyBytes: 5000 }, moduleUrl(source));
    const values = await Promise.all(
      [1, 2, 3].map(async (n) => {
        const context = new FakeContext();
        const { body } = await call({ url: '/', method: 'POST', body: { n } }, context);
        assert.deepEqual(context.log, ['sent', 'answered']);
        return body;
      }),
    );
    assert.deepEqual(values, ['yes', 'yes', 'yes']);
    const { made } = globalThis as unknown as { made: unknown[] };
    assert.deepEqual(made, [{ baseUrl: server.origin, maxBodyBytes: 5000 }]);
  });

  it('may be a MockAgent', async (t) => {
    const source = `
      import { MockAgent } from ${JSON.stringify(UNDICI)};
      export default () => {
        const agent = new MockAgent();
        agent.disableNetConnect();
        const pool = agent.get('https://api.example.com');
        pool.intercept({ path: '/a?b=1' }).reply(200, { mocked: true }, { headers: { 'content-type': 'application/json' } });
        pool.intercept({ path: '/bad' }).replyWithError(Object.assign(new Error('boom'), { code: 'ECONNRESET' }));
        return agent;
      };`;
    useHttp(t, {}, moduleUrl(source));
    const context = new FakeContext();
    assert.deepEqual((await call({ url: 'https://api.example.com/a?b=1' }, context)).body, { mocked: true });
    assert.deepEqual(context.log, ['sent', 'answered']);
    await assert.rejects(call({ url: 'https://api.example.com/bad' }), (error) => {
      return error instanceof ItemError && error.code === 'NETWORK';
    });
  });

  it('must not send a request twice for one token', async (t) => {
    const server = await serveRaw(t, (socket) => socket.on('data', () => socket.end()));
    const source = `
      import { Agent } from ${JSON.stringify(UNDICI)};
      export default () => new Agent().compose((dispatch) => (request, handler) => {
        let tries = 0;
        const send = () => dispatch(request, {
          onRequestStart: (...args) => handler.onRequestStart(...args),
          onResponseStart: (...args) => handler.onResponseStart(...args),
          onResponseData: (...args) => handler.onResponseData(...args),
          onResponseEnd: (...args) => handler.onResponseEnd(...args),
          onResponseError: (controller, error) => (++tries < 3 ? send() : handler.onResponseError(controller, error)),
        });
        return send();
      });`;
    useHttp(t, {}, moduleUrl(source));
    const context = new FakeContext();
    await assert.rejects(call({ url: server.origin }, context), (error) => {
      return (
        error instanceof ItemError &&
        error.code === 'HANDLER' &&
        !error.notSent &&
        /again without a token/.test(error.message)
      );
    });
    assert.deepEqual(context.log, ['sent']);
  });

  it('is a HandlerLoadError if it does not work, at setup and for every item', async (t) => {
    for (const [url, pattern] of [
      ['file:///does/not/exist.js', /cannot be imported/],
      [moduleUrl('syntax error'), /cannot be imported/],
      [moduleUrl('export const x = 1;'), /must export a function/],
      [moduleUrl('export default () => { throw new Error("no"); };'), /failed/],
      [moduleUrl('export default () => {};'), /must return an undici Dispatcher/],
      [moduleUrl('export default () => ({ dispatch: 1 });'), /must return an undici Dispatcher/],
    ] as const) {
      useHttp(t, {}, url);
      const isLoadError = (error: unknown) => error instanceof HandlerLoadError && pattern.test(error.message);
      await assert.rejects(setup(), isLoadError);
      await assert.rejects(call({ url: 'http://127.0.0.1:1/' }), isLoadError);
      await assert.rejects(call({ url: 'http://127.0.0.1:1/' }), isLoadError);
    }
  });

  it('that throws or has been destroyed fails the item', async (t) => {
    useHttp(t, {}, moduleUrl('export default () => ({ dispatch() { throw new TypeError("broken"); } });'));
    await assert.rejects(call({ url: 'http://127.0.0.1:1/' }), (error) => error instanceof ItemError && error.notSent);
    const source = `import { Agent } from ${JSON.stringify(UNDICI)};
      export default () => { const agent = new Agent(); agent.destroy(); return agent; };`;
    useHttp(t, {}, moduleUrl(source));
    await assert.rejects(call({ url: 'http://127.0.0.1:1/' }), (error) => error instanceof ItemError && error.notSent);
  });
});

describe('default headers and the base URL', () => {
  it('are checked when the client is made', async (t) => {
    for (const [options, pattern] of [
      [{ headers: { 'x-a': 's3cret\r\n' } }, /"http\.headers"/],
      [{ headers: { upgrade: 's3cret' } }, /"http\.headers"/],
      [{ baseUrl: 's3cret' }, /"http\.baseUrl"/],
    ] as const) {
      useHttp(t, options);
      await assert.rejects(setup(), (error) => {
        assert.ok(error instanceof HandlerLoadError);
        assert.match(error.message, pattern);
        assert.doesNotMatch(error.message + String((error.cause as Error | undefined)?.message), /s3cret/);
        return true;
      });
    }
  });
});
