import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';

import { ItemError } from '../../lib/errors.ts';
import type { HttpOptions } from '../../lib/types.ts';
import { classify } from '../../workers/http.ts';
import { call, deferred, serve, serveBytes, serveRaw, useHttp } from './http-fixtures.ts';

interface Planned {
  readonly status?: number;
  readonly type?: string;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string | Uint8Array;
  readonly method?: string;
}

/** A function that lets a server give the planned answer and returns what the handler makes of it. */
async function answering(t: TestContext, options: HttpOptions = {}) {
  useHttp(t, options);
  let plan: Planned = {};
  const server = await serve(t, (_request, response) => {
    const type = plan.type === undefined ? {} : { 'content-type': plan.type };
    response.writeHead(plan.status ?? 200, { ...type, ...plan.headers }).end(plan.body);
  });
  return (planned: Planned) => {
    plan = planned;
    return call({ url: server.origin, method: planned.method });
  };
}

async function assertInvalid(done: Promise<unknown>, pattern: RegExp, verdict: 'retry' | 'fatal', status = 200) {
  await assert.rejects(done, (error) => {
    assert.ok(error instanceof ItemError, String(error));
    assert.equal(error.code, 'INVALID_RESPONSE');
    assert.equal(error.status, status);
    assert.equal(error.notSent, false);
    assert.equal(error.name, 'ItemError');
    assert.match(error.message, pattern);
    assert.doesNotMatch(error.message + String((error.cause as Error | undefined)?.message), /s3cret/);
    assert.equal(classify({ ok: false, error, item: { url: '' }, attempt: 1 }), verdict);
    return true;
  });
}

describe('the body of an answer', () => {
  it('is parsed if it is JSON, and text otherwise', async (t) => {
    const ask = await answering(t);
    const body = '{"a":"é"}';
    for (const type of [
      'application/json',
      'Application/JSON; charset=utf-8',
      'application/problem+json',
      'text/json ; x=y',
    ]) {
      assert.deepEqual((await ask({ type, body })).body, { a: 'é' }, type);
    }
    for (const type of [
      'text/plain',
      'text/html; a=application/json',
      'application/jsonl',
      'application/json5',
      undefined,
    ]) {
      assert.equal((await ask(type === undefined ? { body } : { type, body })).body, body, type);
    }
  });

  it('has the form that responseType says', async (t) => {
    const body = '{"a":1}';
    const type = 'application/json';
    assert.deepEqual((await (await answering(t, { responseType: 'json' }))({ type: 'text/html', body })).body, {
      a: 1,
    });
    const asText = await answering(t, { responseType: 'text' });
    assert.equal((await asText({ type, body })).body, body);
  });

  it('is a Uint8Array of its own memory if bytes are wanted', async (t) => {
    const ask = await answering(t, { responseType: 'bytes' });
    for (const length of [0, 1, 1000, 200_000]) {
      const sent = new Uint8Array(length).map((_, index) => index);
      const { body } = await ask({ type: 'application/json', body: sent });
      assert.ok(body instanceof Uint8Array && !Buffer.isBuffer(body));
      assert.equal(body.buffer.byteLength, length);
      assert.deepEqual(body, sent);
    }
  });

  it('is null for empty JSON and empty text for the rest', async (t) => {
    const ask = await answering(t);
    assert.equal((await ask({ type: 'application/json' })).body, null);
    assert.equal((await ask({ type: 'text/plain' })).body, '');
    assert.equal((await ask({ status: 204 })).body, '');
    assert.equal((await ask({ status: 204, type: 'application/json' })).body, null);
    assert.equal((await ask({ status: 304, type: 'application/json' })).body, null);
    assert.equal((await ask({ method: 'HEAD', type: 'application/json', body: '{"a":1}' })).body, null);
    assert.equal((await ask({ method: 'HEAD', type: 'text/plain', body: 'abc' })).body, '');
  });

  it('may be null, false or a number in JSON', async (t) => {
    const ask = await answering(t);
    for (const value of [null, false, 0, 'x']) {
      assert.equal((await ask({ type: 'application/json', body: JSON.stringify(value) })).body, value);
    }
  });

  it('is read by its charset, as UTF-8 if that is unknown', async (t) => {
    const ask = await answering(t);
    const text = (charset: string, bytes: number[]) =>
      ask({ type: `text/plain; charset=${charset}`, body: Uint8Array.from(bytes) });
    assert.equal((await text('euc-kr', [0xbd, 0xc3, 0xbc, 0xbc])).body, '시세');
    assert.equal((await text('"ISO-8859-1"', [0xe9])).body, 'é');
    assert.equal((await text('UTF-8', [0xc3, 0xa9])).body, 'é');
    assert.equal((await text('no-such-charset', [0xc3, 0xa9])).body, 'é');
    const json = Buffer.from('{"a":"é"}', 'utf16le');
    assert.deepEqual((await ask({ type: 'application/json; charset=utf-16le', body: json })).body, { a: 'é' });
  });

  it('loses its byte order mark', async (t) => {
    const ask = await answering(t);
    assert.deepEqual((await ask({ type: 'application/json', body: '\ufeff{"a":1}' })).body, { a: 1 });
    assert.equal((await ask({ type: 'text/plain', body: '\ufeffabc' })).body, 'abc');
  });

  it('may come in many pieces, cut in the middle of characters', async (t) => {
    useHttp(t);
    const bytes = Buffer.from(JSON.stringify({ text: '시세'.repeat(5000) }));
    const server = await serve(t, (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      for (let i = 0; i < bytes.length; i += 997) response.write(bytes.subarray(i, i + 997));
      response.end();
    });
    assert.deepEqual((await call({ url: server.origin })).body, JSON.parse(bytes.toString()));
  });

  it('with an own property __proto__ survives on its way to another thread', async (t) => {
    const ask = await answering(t);
    const { body } = await ask({ type: 'application/json', body: '{"__proto__":{"polluted":1}}' });
    assert.ok(Object.hasOwn(structuredClone(body) as object, '__proto__'));
    assert.equal(({} as { polluted?: number }).polluted, undefined);
  });

  it('is INVALID_RESPONSE if it is broken JSON, without a piece of it in the message', async (t) => {
    const ask = await answering(t);
    for (const body of ['{"s3cret":', 's3cret', '{"a":1}s3cret', "{'s3cret':1}"]) {
      await assertInvalid(ask({ type: 'application/json', body }), /not valid JSON/, 'retry');
    }
    await assertInvalid(ask({ status: 201, type: 'application/json', body: '<' }), /not valid JSON/, 'retry', 201);
  });

  it('does not hide the status of an error', async (t) => {
    const ask = await answering(t);
    for (const status of [400, 429, 500, 503]) {
      const value = await ask({ status, type: 'application/json', body: '<html>' });
      assert.equal(value.status, status);
      assert.equal(value.body, '<html>');
    }
    const asJson = await answering(t, { responseType: 'json' });
    assert.equal((await asJson({ status: 502, type: 'text/html', body: '<html>' })).body, '<html>');
  });
});

describe('the headers of an answer', () => {
  it('have lower-case names, and lists for what came several times', async (t) => {
    const ask = await answering(t);
    const { headers } = await ask({
      headers: { 'X-One': 'a', 'Set-Cookie': ['a=1', 'b=2'], 'X-Many': ['1', '2', '3'] },
    });
    assert.equal(headers['x-one'], 'a');
    assert.deepEqual(headers['set-cookie'], ['a=1', 'b=2']);
    assert.deepEqual(headers['x-many'], ['1', '2', '3']);
  });

  it('may be called like the properties of every object, and can be cloned', async (t) => {
    useHttp(t);
    const fields = ['__proto__: a', '__proto__: b', 'constructor: c', 'toString: d', 'content-length: 0'];
    const server = await serveBytes(t, `HTTP/1.1 200 OK\r\n${fields.join('\r\n')}\r\n\r\n`);
    const { headers } = structuredClone(await call({ url: server.origin }));
    assert.deepEqual(Object.entries(headers), [
      ['__proto__', ['a', 'b']],
      ['constructor', 'c'],
      ['tostring', 'd'],
      ['content-length', '0'],
    ]);
    assert.equal(Object.getPrototypeOf(headers), Object.prototype);
  });
});

describe('a body that is too large', () => {
  it('is INVALID_RESPONSE and final, found in the content-length before it comes', async (t) => {
    useHttp(t, { maxBodyBytes: 1000 });
    const closed = deferred();
    const server = await serveRaw(t, (socket) => {
      socket.on('close', () => closed.resolve());
      socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n'));
    });
    await assertInvalid(call({ url: server.origin }), /larger than maxBodyBytes \(1000\)/, 'fatal');
    await closed.promise;
  });

  it('is found while it comes, and its connection is closed', async (t) => {
    useHttp(t, { maxBodyBytes: 1000 });
    const closed = deferred();
    const server = await serve(t, (_request, response) => {
      response.on('close', () => closed.resolve());
      const more = () => {
        if (!response.destroyed && response.write('x'.repeat(100))) setImmediate(more);
      };
      response.on('drain', more);
      more();
    });
    await assertInvalid(call({ url: server.origin }), /larger than maxBodyBytes/, 'fatal');
    await closed.promise;
  });

  it('may be as large as the limit', async (t) => {
    const ask = await answering(t, { maxBodyBytes: 1000 });
    assert.equal((await ask({ body: 'x'.repeat(1000) })).body, 'x'.repeat(1000));
    await assertInvalid(ask({ body: 'x'.repeat(1001) }), /maxBodyBytes/, 'fatal');
    assert.equal((await ask({ method: 'HEAD', headers: { 'content-length': '5000' } })).status, 200);
  });

  it('is 10 MiB unless said otherwise', async (t) => {
    useHttp(t);
    const server = await serveBytes(t, `HTTP/1.1 200 OK\r\ncontent-length: ${10 * 1024 * 1024 + 1}\r\n\r\n`);
    await assertInvalid(call({ url: server.origin }), /maxBodyBytes \(10485760\)/, 'fatal');
  });

  it('does not hide the status of an error', async (t) => {
    const ask = await answering(t, { maxBodyBytes: 1000 });
    const value = await ask({ status: 429, headers: { 'retry-after': '2' }, body: 'x'.repeat(5000) });
    assert.equal(value.status, 429);
    assert.equal(value.body, null);
    const said = classify({ ok: true, value, item: { url: '' }, attempt: 1 });
    assert.deepEqual(said, { verdict: 'rate-limit', retryAfterMs: 2000 });
  });

  it('leaves the pool usable', async (t) => {
    useHttp(t, { maxBodyBytes: 1000 }, undefined, 2);
    const server = await serve(t, (request, response) =>
      response.end('x'.repeat(request.url === '/big' ? 100_000 : 10)),
    );
    const big = () => assert.rejects(call({ url: `${server.origin}/big` }), ItemError);
    await Promise.all(Array.from({ length: 9 }, big));
    assert.equal((await call({ url: server.origin })).body, 'x'.repeat(10));
  });
});

describe('a compressed body', () => {
  const text = '{"a":"시세 시세 시세 시세 시세"}';
  const codings: Record<string, Buffer> = {
    gzip: gzipSync(text),
    'x-gzip': gzipSync(text),
    GZIP: gzipSync(text),
    deflate: deflateSync(text),
    br: brotliCompressSync(text),
    identity: Buffer.from(text),
    'deflate, gzip': gzipSync(deflateSync(text)),
  };
  const type = 'application/json';

  it('is unpacked', async (t) => {
    const ask = await answering(t);
    for (const [coding, body] of Object.entries(codings)) {
      assert.deepEqual(
        (await ask({ type, headers: { 'content-encoding': coding }, body })).body,
        JSON.parse(text),
        coding,
      );
    }
    const raw = deflateRawSync(text);
    assert.deepEqual(
      (await ask({ type, headers: { 'content-encoding': 'deflate' }, body: raw })).body,
      JSON.parse(text),
    );
    const twice = gzipSync(gzipSync(text));
    const headers = { 'content-encoding': ['gzip', 'gzip'] };
    assert.deepEqual((await ask({ type, headers, body: twice })).body, JSON.parse(text));
  });

  it('may be absent', async (t) => {
    const ask = await answering(t);
    const headers = { 'content-encoding': 'gzip' };
    assert.equal((await ask({ type, headers, status: 204 })).body, null);
    assert.equal((await ask({ type, headers, method: 'HEAD' })).body, null);
  });

  it('is INVALID_RESPONSE if it is broken', async (t) => {
    const ask = await answering(t);
    for (const coding of ['gzip', 'deflate', 'br']) {
      const whole = codings[coding] ?? Buffer.alloc(0);
      for (const body of [Buffer.from('s3cret'), whole.subarray(0, -10)]) {
        await assertInvalid(ask({ type, headers: { 'content-encoding': coding }, body }), /content coding/, 'retry');
      }
    }
  });

  it('is INVALID_RESPONSE and final if the coding is unknown or there are too many', async (t) => {
    const ask = await answering(t);
    await assertInvalid(
      ask({ headers: { 'content-encoding': 's3cret' }, body: 'x' }),
      /unknown content coding/,
      'fatal',
    );
    const many = Array.from({ length: 6 }, () => 'gzip').join();
    await assertInvalid(ask({ headers: { 'content-encoding': many }, body: 'x' }), /too many content codings/, 'fatal');
  });

  it('is INVALID_RESPONSE and final if it is larger than the limit when unpacked', async (t) => {
    const ask = await answering(t, { maxBodyBytes: 100_000 });
    const bomb = Buffer.alloc(20_000_000);
    for (const [coding, body] of [
      ['gzip', gzipSync(bomb)],
      ['deflate', deflateSync(bomb)],
      ['br', brotliCompressSync(bomb)],
      ['gzip, gzip', gzipSync(gzipSync(bomb))],
    ] as const) {
      assert.ok(body.length < 100_000);
      await assertInvalid(ask({ headers: { 'content-encoding': coding }, body }), /larger than maxBodyBytes/, 'fatal');
    }
  });

  it('does not hide the status of an error', async (t) => {
    const ask = await answering(t);
    for (const coding of ['gzip', 'no-such-coding']) {
      const value = await ask({ status: 500, type, headers: { 'content-encoding': coding }, body: 'broken' });
      assert.equal(value.status, 500);
      assert.equal(value.body, null);
    }
  });
});
