import assert from 'node:assert/strict';
import type http from 'node:http';
import { describe, it, type TestContext } from 'node:test';

import { ItemError, StopError } from '../../lib/errors.ts';
import { classify } from '../../workers/http.ts';
import { call, deferred, FakeContext, freePort, readBody, serve, useHttp } from './http-fixtures.ts';

interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** A server that redirects where `to` says and notes every request; what it does not redirect it answers with "end". */
async function redirecting(t: TestContext, to: (url: string) => [number, string] | undefined) {
  const seen: Seen[] = [];
  const server = await serve(t, async (request, response) => {
    const { method, url, headers } = request;
    seen.push({ method, url, headers, body: (await readBody(request)).toString() });
    const target = to(url ?? '');
    if (target === undefined) response.end('end');
    else response.writeHead(target[0], { location: target[1] }).end('moved');
  });
  return Object.assign(server, { seen });
}

const SECRETS = {
  authorization: 's3cret',
  cookie: 's3cret',
  'x-api-key': 's3cret',
  'proxy-x': 's3cret',
  host: 'a.example',
};

describe('a redirect', () => {
  it('is an answer like any other unless it is to be followed', async (t) => {
    useHttp(t);
    const server = await redirecting(t, () => [302, '/other']);
    const context = new FakeContext();
    const value = await call({ url: server.origin }, context);
    assert.equal(value.status, 302);
    assert.equal(value.headers.location, '/other');
    assert.equal(value.body, 'moved');
    assert.equal(server.seen.length, 1);
    assert.deepEqual(context.log, ['sent', 'answered']);
  });

  it('takes a token of its own for each hop, and reports on that', async (t) => {
    useHttp(t, { maxRedirects: 3 }, undefined, 1);
    const server = await redirecting(t, (url) =>
      url === '/' ? [301, '/a?x=1'] : url === '/a?x=1' ? [302, 'b'] : undefined,
    );
    const context = new FakeContext();
    const value = await call({ url: server.origin }, context);
    assert.deepEqual([value.status, value.body], [200, 'end']);
    assert.deepEqual(
      server.seen.map((one) => one.url),
      ['/', '/a?x=1', '/b'],
    );
    const hops = ['acquire', 'sent2', 'answered2', 'acquire', 'sent3', 'answered3'];
    assert.deepEqual(context.log, ['sent', 'answered', ...hops]);
    assert.equal(server.connections, 1);
  });

  for (const [status, method, after] of [
    [301, 'POST', 'GET'],
    [302, 'POST', 'GET'],
    [303, 'POST', 'GET'],
    [307, 'POST', 'POST'],
    [308, 'POST', 'POST'],
    [301, 'PUT', 'PUT'],
    [302, 'DELETE', 'DELETE'],
    [303, 'PUT', 'GET'],
    [303, 'HEAD', 'HEAD'],
  ] as const) {
    it(`${status} of ${method} goes on with ${after}`, async (t) => {
      useHttp(t, { maxRedirects: 1 });
      const server = await redirecting(t, (url) => (url === '/' ? [status, '/next'] : undefined));
      const body = method === 'HEAD' ? undefined : { a: 1 };
      const context = new FakeContext();
      await call({ url: server.origin, method, headers: { 'x-own': '1', 'content-language': 'ko' }, body }, context);
      const [, next] = server.seen;
      assert.equal(next?.method, after);
      assert.equal(next.headers['x-own'], '1');
      const keeps = method === after && body !== undefined;
      assert.equal(next.body, keeps ? '{"a":1}' : '');
      assert.equal(next.headers['content-type'], keeps ? 'application/json' : undefined);
      if (after === 'GET') assert.equal(next.headers['content-language'], undefined);
      assert.deepEqual(context.log, ['sent', 'answered', 'acquire', 'sent2', 'answered2']);
    });
  }

  it('carries nothing but harmless headers to another origin, and never brings them back', async (t) => {
    const other = await redirecting(t, () => [307, `${home.origin}/back`]);
    const home = await redirecting(t, (url) => (url === '/' ? [307, `${other.origin}/there`] : undefined));
    useHttp(t, { maxRedirects: 5, headers: { 'x-default': 's3cret', accept: 'a/b' } });
    const headers = { ...SECRETS, 'accept-language': 'ko' };
    const value = await call({ url: home.origin, method: 'POST', headers, body: { a: 1 } });
    assert.equal(value.body, 'end');
    assert.equal(home.seen[0]?.headers.authorization, 's3cret');
    assert.equal(home.seen[0].headers['x-default'], 's3cret');
    for (const [hop, port] of [
      [other.seen[0], other.port],
      [home.seen[1], home.port],
    ] as const) {
      assert.deepEqual(hop?.headers, {
        host: `127.0.0.1:${port}`,
        connection: 'keep-alive',
        accept: 'a/b',
        'user-agent': 'sluicegate',
        'accept-language': 'ko',
        'content-type': 'application/json',
        'content-length': '7',
      });
      assert.equal(hop.body, '{"a":1}');
    }
  });

  it('keeps all headers on the same origin', async (t) => {
    useHttp(t, { maxRedirects: 1 });
    const server = await redirecting(t, (url) => (url === '/' ? [302, '/next'] : undefined));
    await call({ url: server.origin, headers: SECRETS });
    for (const [name, value] of Object.entries(SECRETS)) assert.equal(server.seen[1]?.headers[name], value, name);
  });

  it('drops user and password of its address', async (t) => {
    useHttp(t, { maxRedirects: 1 });
    const server = await redirecting(t, (url) =>
      url === '/' ? [302, `http://u:s3cret@127.0.0.1:${server.port}/next`] : undefined,
    );
    await call({ url: server.origin });
    assert.equal(server.seen[1]?.url, '/next');
    assert.equal(server.seen[1].headers.authorization, undefined);
  });

  it('may have characters beyond ASCII in its address', async (t) => {
    useHttp(t, { maxRedirects: 1 });
    const utf8 = Buffer.from('/시세').toString('latin1');
    const server = await redirecting(t, (url) => (url === '/' ? [302, utf8] : undefined));
    await call({ url: server.origin });
    assert.equal(server.seen[1]?.url, encodeURI('/시세'));
  });

  it('without an address is an answer', async (t) => {
    useHttp(t, { maxRedirects: 1 });
    const server = await serve(t, (request, response) => {
      response.writeHead(request.url === '/304' ? 304 : 302, request.url === '/304' ? { location: '/x' } : {}).end();
    });
    assert.equal((await call({ url: server.origin })).status, 302);
    assert.equal((await call({ url: `${server.origin}/304` })).status, 304);
  });

  it('is INVALID_RESPONSE and final if there are too many, or it leads out of HTTP', async (t) => {
    useHttp(t, { maxRedirects: 2 });
    const targets: Record<string, string> = {
      '/loop': '/loop?s3cret',
      '/file': 'file:///s3cret',
      '/script': 'javascript:s3cret',
      '/broken': 'http://[s3cret',
    };
    const server = await redirecting(t, (url) => [302, targets[url.split('?')[0] ?? ''] ?? '/']);
    for (const [path, pattern, requests] of [
      ['/loop', /more than 2 redirects/, 3],
      ['/file', /not http or https/, 1],
      ['/script', /not http or https/, 1],
      ['/broken', /not a URL/, 1],
    ] as const) {
      server.seen.length = 0;
      await assert.rejects(call({ url: `${server.origin}${path}` }), (error) => {
        assert.ok(error instanceof ItemError);
        assert.equal(error.code, 'INVALID_RESPONSE');
        assert.equal(error.status, 302);
        assert.match(error.message, pattern);
        assert.doesNotMatch(error.message, /s3cret/);
        assert.equal(classify({ ok: false, error, item: { url: '' }, attempt: 1 }), 'fatal');
        return true;
      });
      assert.equal(server.seen.length, requests);
    }
  });

  it('to where nobody listens is not "not sent": the first request was', async (t) => {
    useHttp(t, { maxRedirects: 1 });
    const port = await freePort();
    const server = await redirecting(t, () => [307, `http://127.0.0.1:${port}/`]);
    const context = new FakeContext();
    await assert.rejects(call({ url: server.origin, method: 'POST', body: 'x' }, context), (error) => {
      assert.ok(error instanceof ItemError);
      assert.equal(error.code, 'NETWORK');
      assert.equal(error.notSent, false);
      assert.equal((error.cause as { code?: string }).code, 'ECONNREFUSED');
      return true;
    });
    assert.deepEqual(context.log, ['sent', 'answered', 'acquire']);
  });

  it('can be stopped while it waits for its token', async (t) => {
    useHttp(t, { maxRedirects: 1 });
    const server = await redirecting(t, () => [302, '/next']);
    const stop = new StopError('CANCELLED', 'stop');
    const asked = deferred();
    const context = new FakeContext();
    context.acquire = () => {
      asked.resolve();
      return new Promise((_resolve, reject) => {
        context.signal.addEventListener('abort', () => reject(context.signal.reason as Error), { once: true });
      });
    };
    const done = call({ url: server.origin }, context);
    await asked.promise;
    context.controller.abort(stop);
    await assert.rejects(done, (error) => error === stop);
    assert.equal(server.seen.length, 1);
  });

  it('is not sent if the gate has closed in between', async (t) => {
    useHttp(t, { maxRedirects: 1 });
    const stop = new StopError('CANCELLED', 'stop');
    const context = new FakeContext();
    const server = await redirecting(t, () => {
      context.stopError = stop;
      return [302, '/next'];
    });
    await assert.rejects(call({ url: server.origin }, context), (error) => error === stop);
    assert.equal(server.seen.length, 1);
    assert.deepEqual(context.log, ['sent', 'answered', 'acquire']);
  });
});
