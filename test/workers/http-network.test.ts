import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ItemError } from '../../lib/errors.ts';
import { classify } from '../../workers/http.ts';
import { toItemError } from '../../workers/http-errors.ts';
import { call, FakeContext, freePort, serve, serveBytes, serveRaw, useHttp } from './http-fixtures.ts';

const SECRET = 's3cret';

/** The error of an item, checked to be one and to keep secrets. */
async function errorOf(item: { url: string; [key: string]: unknown }, context = new FakeContext()): Promise<ItemError> {
  try {
    await call({ ...item, url: `${item.url}/path?token=${SECRET}`, headers: { authorization: SECRET } }, context);
  } catch (error) {
    assert.ok(error instanceof ItemError, String(error));
    assert.doesNotMatch(error.message, new RegExp(SECRET));
    assert.doesNotMatch(String((error.cause as Error | undefined)?.message), new RegExp(SECRET));
    return error;
  }
  assert.fail('The item should have failed.');
}

function verdictOf(error: unknown) {
  return classify({ ok: false, error, item: { url: '' }, attempt: 1 });
}

describe('a connection that fails', () => {
  it('is NETWORK, not sent, with the code of the system', async (t) => {
    useHttp(t);
    const origin = `http://127.0.0.1:${await freePort()}`;
    const context = new FakeContext();
    const error = await errorOf({ url: origin }, context);
    assert.equal(error.code, 'NETWORK');
    assert.equal(error.notSent, true);
    assert.equal(error.message, `GET ${origin}: no connection (ECONNREFUSED).`);
    assert.equal((error.cause as { code?: string }).code, 'ECONNREFUSED');
    assert.deepEqual(context.log, []);
    assert.equal(verdictOf(error), 'retry');
  });

  it('leaves the pool usable, however often it fails', async (t) => {
    useHttp(t, {}, undefined, 2);
    const port = await freePort();
    const errors = await Promise.all(Array.from({ length: 9 }, () => errorOf({ url: `http://127.0.0.1:${port}` })));
    assert.deepEqual(new Set(errors.map((error) => error.code)), new Set(['NETWORK']));
    const server = await serve(t, (_request, response) => response.end('back'), '127.0.0.1', port);
    assert.equal((await call({ url: server.origin })).body, 'back');
  });

  it('is NETWORK for a name that does not exist', async (t) => {
    useHttp(t);
    const error = await errorOf({ url: 'http://does-not-exist.invalid' });
    assert.equal(error.code, 'NETWORK');
    assert.equal(error.notSent, true);
    assert.match(error.message, /no connection \(E\w+\)/);
  });

  it('is NETWORK for a server that does not speak TLS', async (t) => {
    useHttp(t);
    const server = await serveBytes(t, 'HTTP/1.1 400 Bad Request\r\n\r\n', 'end');
    const error = await errorOf({ url: `https://127.0.0.1:${server.port}` });
    assert.equal(error.code, 'NETWORK');
    assert.equal(error.notSent, true);
  });

  it('is NETWORK for a handshake that takes too long', async (t) => {
    useHttp(t, { connectTimeoutMs: 50 });
    const server = await serveRaw(t, () => {});
    const error = await errorOf({ url: `https://127.0.0.1:${server.port}` });
    assert.equal(error.code, 'NETWORK');
    assert.equal(error.notSent, true);
    assert.match(error.message, /UND_ERR_CONNECT_TIMEOUT/);
  });

  it('says something even if the error is an AggregateError with an empty message', () => {
    const inner = Object.assign(new Error('connect ECONNREFUSED ::1:80'), { code: 'ECONNREFUSED' });
    const empty = { message: '', code: 'ECONNREFUSED' };
    const both = Object.assign(new AggregateError([inner], 'both addresses'), empty);
    const error = toItemError(both, 'GET http://x', false, 0);
    assert.equal(error.message, 'GET http://x: no connection (ECONNREFUSED).');
    assert.equal(error.cause, inner);
    assert.equal(
      toItemError(new AggregateError([], 'none'), 'GET http://x', false, 0).message,
      'GET http://x: no connection.',
    );
  });
});

describe('an answer that does not come', () => {
  for (const end of ['end', 'reset'] as const) {
    it(`is NETWORK, possibly sent, if the connection ends (${end})`, async (t) => {
      useHttp(t);
      const server = await serveBytes(t, '', end);
      for (const body of [undefined, { a: 1 }]) {
        const context = new FakeContext();
        const error = await errorOf({ url: server.origin, method: 'POST', body }, context);
        assert.equal(error.code, 'NETWORK');
        assert.equal(error.notSent, false);
        assert.equal(error.status, undefined);
        assert.match(error.message, /no answer \((UND_ERR_SOCKET|ECONNRESET)\)/);
        assert.deepEqual(context.log, ['sent']);
        assert.equal(verdictOf(error), 'retry');
      }
    });
  }

  it('is INVALID_RESPONSE if it is not HTTP', async (t) => {
    useHttp(t);
    const server = await serveBytes(t, `SSH-2.0-${SECRET}\r\n`);
    const error = await errorOf({ url: server.origin });
    assert.equal(error.code, 'INVALID_RESPONSE');
    assert.equal(error.notSent, false);
    assert.equal(verdictOf(error), 'retry');
  });

  it('is INVALID_RESPONSE and final if its headers never end', async (t) => {
    useHttp(t);
    const server = await serveBytes(t, `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}`);
    const error = await errorOf({ url: server.origin });
    assert.equal(error.code, 'INVALID_RESPONSE');
    assert.equal(verdictOf(error), 'fatal');
  });
});

describe('an answer that is cut short', () => {
  const cut: Record<string, string> = {
    'before its content-length': 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf',
    'in a chunk': 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\nhalf',
    'between chunks': 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n',
    'on a connection that is to close': 'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 100\r\n\r\nhalf',
    'in a chunk on a connection that is to close':
      'HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n64\r\nhalf',
  };
  for (const [name, bytes] of Object.entries(cut)) {
    for (const end of ['end', 'reset'] as const) {
      it(`is NETWORK, answered, with its status (${name}, ${end})`, async (t) => {
        useHttp(t);
        const server = await serveBytes(t, bytes, end);
        const context = new FakeContext();
        const error = await errorOf({ url: server.origin }, context);
        assert.equal(error.code, 'NETWORK');
        assert.equal(error.notSent, false);
        assert.equal(error.status, 200);
        assert.match(error.message, /the answer was cut short/);
        assert.deepEqual(context.log, ['sent', 'answered']);
        assert.equal(verdictOf(error), 'retry');
      });
    }
  }

  it('keeps its status if that is an error', async (t) => {
    useHttp(t);
    const server = await serveBytes(
      t,
      'HTTP/1.1 429 Slow\r\nretry-after: 3\r\ncontent-length: 100\r\n\r\nhalf',
      'reset',
    );
    const value = await call({ url: server.origin });
    assert.deepEqual(value, { status: 429, headers: { 'retry-after': '3', 'content-length': '100' }, body: null });
  });
});
