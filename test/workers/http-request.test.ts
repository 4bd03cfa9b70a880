import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { describe, it, type TestContext } from 'node:test';

import { ItemError } from '../../lib/errors.ts';
import type { HttpOptions } from '../../lib/types.ts';
import { call, FakeContext, readBody, sendJson, serve, useHttp } from './http-fixtures.ts';

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly raw: string[];
  readonly body: string;
}

/** A server that tells what it saw. */
async function mirror(t: TestContext, options: HttpOptions = {}, host?: string) {
  useHttp(t, options);
  const server = await serve(
    t,
    async (request, response) => {
      const body = (await readBody(request)).toString('latin1');
      sendJson(response, {
        method: request.method,
        url: request.url,
        headers: request.headers,
        raw: request.rawHeaders,
        body,
      });
    },
    host,
  );
  const ask = async (item: object) => (await call(item)).body as Seen;
  return { ...server, ask };
}

/** The item is refused before anything is sent, and its message does not tell the secret. */
async function assertRefused(item: unknown, pattern: RegExp, secret = 's3cret'): Promise<void> {
  const context = new FakeContext();
  await assert.rejects(call(item, context), (error) => {
    assert.ok(error instanceof ItemError);
    assert.equal(error.code, 'HANDLER');
    assert.equal(error.notSent, true);
    assert.match(error.message, pattern);
    assert.doesNotMatch(error.message, new RegExp(secret));
    return true;
  });
  assert.deepEqual(context.log, []);
}

describe('the URL of an item', () => {
  it('is used as it is, without its fragment', async (t) => {
    const { origin, ask } = await mirror(t);
    assert.equal((await ask({ url: `${origin}/a/../b?x=1&y=%20#part` })).url, '/b?x=1&y=%20');
    assert.equal((await ask({ url: origin })).url, '/');
  });

  it('may be relative to baseUrl, by the rules of the URL standard', async (t) => {
    const server = await serve(t, (request, response) => sendJson(response, request.url));
    useHttp(t, { baseUrl: `${server.origin}/v1/` });
    assert.equal((await call({ url: 'users?x=1' })).body, '/v1/users?x=1');
    assert.equal((await call({ url: '/users' })).body, '/users');
    assert.equal((await call({ url: `${server.origin}/x` })).body, '/x');
  });

  it('may hold any characters', async (t) => {
    const { origin, ask } = await mirror(t);
    assert.equal((await ask({ url: `${origin}/시세/é?q=삼성 전자` })).url, encodeURI('/시세/é?q=삼성 전자'));
  });

  it('may name an IPv6 address', async (t) => {
    let server: Awaited<ReturnType<typeof mirror>>;
    try {
      server = await mirror(t, {}, '::1');
    } catch {
      t.skip('no IPv6 on this machine');
      return;
    }
    const seen = await server.ask({ url: `${server.origin}/six` });
    assert.equal(seen.url, '/six');
    assert.equal(seen.headers.host, `[::1]:${server.port}`);
  });

  it('is refused if it is none', async (t) => {
    useHttp(t);
    await assertRefused({ url: '/s3cret?a' }, /not a valid URL.*baseUrl/);
    await assertRefused({ url: 'http://' }, /not a valid URL/);
    await assertRefused({ url: 'http://[::s3cret]/' }, /not a valid URL/);
    await assertRefused({ url: '' }, /not a valid URL/);
    await assertRefused({ url: 'ftp://s3cret.example/' }, /must begin with http: or https:, not ftp:/);
    await assertRefused({ url: 'javascript:s3cret' }, /http: or https:/);
    await assertRefused({ url: 'file:///s3cret' }, /http: or https:/);
    await assertRefused({ url: 'http://user:s3cret@127.0.0.1/' }, /user name or password/);
    await assertRefused({ url: 'http://s3cret@127.0.0.1/' }, /user name or password/);
  });

  it('is refused if the item does not have one', async (t) => {
    useHttp(t);
    for (const item of [undefined, null, 5, 's3cret', [], {}, { url: 5 }, { url: null }]) {
      await assertRefused(item, /object with a string "url"/);
    }
  });
});

describe('the query of an item', () => {
  it('is added to what the URL has', async (t) => {
    const { origin, ask } = await mirror(t);
    const query = {
      s: 'a b&c=d',
      n: 1.5,
      yes: true,
      none: null,
      left: undefined,
      many: ['x', 2, false],
      empty: [],
      이름: '값',
    };
    const added = `s=a%20b%26c%3Dd&n=1.5&yes=true&none=&many=x&many=2&many=false&${encodeURIComponent('이름')}=${encodeURIComponent('값')}`;
    assert.equal((await ask({ url: `${origin}/p`, query })).url, `/p?${added}`);
    assert.equal((await ask({ url: `${origin}/p?z=1#f`, query: { a: '1' } })).url, '/p?z=1&a=1');
    assert.equal((await ask({ url: `${origin}/p?z=1`, query: {} })).url, '/p?z=1');
  });

  it('may have any name', async (t) => {
    const { origin, ask } = await mirror(t);
    const query = JSON.parse('{"__proto__":"p","constructor":"c","a=b":"x"}') as object;
    assert.equal((await ask({ url: origin, query })).url, '/?__proto__=p&constructor=c&a%3Db=x');
  });

  it('is refused if it cannot be written', async (t) => {
    useHttp(t);
    const url = 'http://127.0.0.1:1/';
    for (const query of ['s3cret', ['s3cret'], 5])
      await assertRefused({ url, query }, /"query" of an item must be an object/);
    for (const value of [{ s3cret: 1 }, () => 's3cret', Symbol('s3cret'), [['s3cret']]]) {
      await assertRefused({ url, query: { s3cret: value } }, /"query" of an item may hold/);
    }
    await assertRefused({ url, query: { s3cret: '\ud800' } }, /surrogate/);
  });
});

describe('the method of an item', () => {
  it('is GET unless given, and known ones in any case', async (t) => {
    const { origin, ask } = await mirror(t);
    assert.equal((await ask({ url: origin })).method, 'GET');
    for (const method of ['post', 'Put', 'PATCH', 'delete', 'OPTIONS', 'PROPFIND']) {
      assert.equal((await ask({ url: origin, method })).method, method.toUpperCase());
    }
  });

  it('is refused if it is no token, or CONNECT', async (t) => {
    useHttp(t);
    const url = 'http://127.0.0.1:1/';
    for (const method of ['', 'G T', 'GET\r\nx: s3cret', 'GÉT', 5, null, {}]) {
      await assertRefused({ url, method }, /"method" of the item is not valid/);
    }
    await assertRefused({ url, method: 'connect' }, /CONNECT is not supported/);
  });
});

describe('the headers of an item', () => {
  it('go on top of the defaults', async (t) => {
    const { origin, ask } = await mirror(t, {
      headers: { Authorization: 'one', 'X-App': ['a', 'b'], Accept: 'text/x' },
    });
    const { headers, raw } = await ask({ url: origin, headers: { authorization: 'two', 'x-n': 5, gone: undefined } });
    assert.equal(headers.authorization, 'two');
    assert.equal(headers['x-n'], '5');
    assert.equal(headers.accept, 'text/x');
    assert.equal(headers['user-agent'], 'sluicegate');
    assert.equal(headers.gone, undefined);
    assert.equal(headers['x-app'], 'a, b');
    assert.equal(raw.filter((name) => name === 'x-app').length, 2);
  });

  it('are few by default', async (t) => {
    const { origin, port, ask } = await mirror(t);
    assert.deepEqual((await ask({ url: origin })).headers, {
      host: `127.0.0.1:${port}`,
      connection: 'keep-alive',
      accept: '*/*',
      'user-agent': 'sluicegate',
    });
  });

  it('do not leak from one item into the next', async (t) => {
    const { origin, ask } = await mirror(t, { headers: { 'x-app': 'a' } });
    await ask({ url: origin, method: 'POST', headers: { 'x-own': '1' }, body: { a: 1 } });
    const { headers } = await ask({ url: origin });
    assert.equal(headers['x-own'], undefined);
    assert.equal(headers['content-type'], undefined);
  });

  it('may be called __proto__', async (t) => {
    const { origin, ask } = await mirror(t);
    const headers = JSON.parse('{"__proto__":"own","constructor":"c"}') as object;
    const { raw } = await ask({ url: origin, headers });
    assert.equal(raw[raw.indexOf('__proto__') + 1], 'own');
    assert.equal(raw[raw.indexOf('constructor') + 1], 'c');
  });

  it('are refused if they would break the request', async (t) => {
    useHttp(t);
    const url = 'http://127.0.0.1:1/';
    for (const bad of ['s3cret\r\nx: y', 's3cret\n', 's3cret\0', '시세 s3cret', '\u0100']) {
      await assertRefused({ url, headers: { 'x-a': bad } }, /header "x-a" of the item holds a character/);
      await assertRefused({ url, headers: { 'x-a': ['fine', bad] } }, /header "x-a" of the item holds a character/);
    }
    for (const name of ['', 'a b', 'a\r\nb', 'a:b', 'é', 's3cret:']) {
      await assertRefused({ url, headers: { [name]: 'x' } }, /name that is not valid/);
    }
    for (const value of [{}, () => 1, Symbol('s3cret'), [['x']], [undefined]]) {
      await assertRefused({ url, headers: { 'x-a': value } }, /header "x-a" of the item must be a string/);
    }
    for (const headers of ['s3cret', [['x-a', 's3cret']], 5]) {
      await assertRefused({ url, headers }, /"headers" of an item must be an object/);
    }
  });

  it('are refused if they belong to the client', async (t) => {
    const { origin, ask } = await mirror(t);
    for (const name of ['transfer-encoding', 'Upgrade', 'expect', 'keep-alive']) {
      await assertRefused({ url: origin, headers: { [name]: 's3cret' } }, /is set by the client itself/);
    }
    for (const headers of [
      { host: ['s3cret', 'b'] },
      { connection: 's3cret é' },
      { connection: ['close', 's3cret'] },
    ]) {
      await assertRefused({ url: origin, headers }, /header "(host|connection)" of the item is not valid/);
    }
    assert.equal(
      (await ask({ url: origin, headers: { host: 'other.example', connection: 'close' } })).headers.host,
      'other.example',
    );
  });

  it('may tell the length of the body, if it is right', async (t) => {
    const { origin, ask } = await mirror(t);
    const post = { url: origin, method: 'POST', body: 'abc' };
    assert.equal((await ask({ ...post, headers: { 'content-length': 3 } })).headers['content-length'], '3');
    assert.equal((await ask({ url: origin, headers: { 'content-length': '0' } })).headers['content-length'], undefined);
    for (const length of ['99', 's3cret', '03', ['3', '3']]) {
      await assertRefused({ ...post, headers: { 'content-length': length } }, /does not fit its body/);
    }
  });
});

describe('the body of an item', () => {
  it('is sent as it is if it is text or bytes', async (t) => {
    const { origin, ask } = await mirror(t);
    const post = (body: unknown, headers?: object) => ask({ url: origin, method: 'POST', body, headers });
    const bytes = Uint8Array.from([0, 1, 254, 255]);
    const latin1 = '\x00\x01\xfe\xff';
    assert.equal((await post('plain é')).body, 'plain \xc3\xa9');
    assert.equal((await post(bytes)).body, latin1);
    assert.equal((await post(bytes.buffer)).body, latin1);
    assert.equal((await post(new Uint8Array(new Uint8Array([9, 0, 1, 254, 255, 9]).buffer, 1, 4))).body, latin1);
    assert.equal((await post(new DataView(bytes.buffer, 1, 2))).body, '\x01\xfe');
    assert.equal((await post('x')).headers['content-type'], undefined);
    assert.equal(
      (await post('{}', { 'content-type': 'application/json' })).headers['content-type'],
      'application/json',
    );
  });

  it('is sent as JSON if it is anything else', async (t) => {
    const { origin, ask } = await mirror(t);
    const post = (body: unknown, headers?: object) => ask({ url: origin, method: 'POST', body, headers });
    for (const body of [{ a: [1, 'é'] }, [], 5, true, false, 0]) {
      const seen = await post(body);
      assert.equal(Buffer.from(seen.body, 'latin1').toString(), JSON.stringify(body));
      assert.equal(seen.headers['content-type'], 'application/json');
    }
    assert.equal((await post({}, { 'Content-Type': 'application/x' })).headers['content-type'], 'application/x');
  });

  it('is none if it is undefined, null or empty', async (t) => {
    const { origin, ask } = await mirror(t);
    for (const body of [undefined, null, '', new Uint8Array(0)]) {
      const seen = await ask({ url: origin, method: 'POST', body });
      assert.equal(seen.body, '');
      assert.equal(seen.headers['content-length'], '0');
    }
  });

  it('is refused if JSON cannot say it', async (t) => {
    useHttp(t);
    const url = 'http://127.0.0.1:1/';
    const cyclic: Record<string, unknown> = { s3cret: 's3cret' };
    cyclic.self = cyclic;
    const throwing = {
      toJSON() {
        throw new Error('s3cret');
      },
    };
    for (const body of [cyclic, throwing, 5n, { a: 5n }, () => 1, Symbol('s3cret'), { toJSON: () => undefined }]) {
      await assertRefused({ url, method: 'POST', body }, /"body" of the item cannot be written as JSON/);
    }
  });
});
