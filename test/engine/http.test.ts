import assert from 'node:assert/strict';
import http, { type IncomingMessage } from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import type { HttpItem, HttpValue, Outcome } from '../../lib/index.ts';
import {
  assertAllOk,
  assertComplete,
  assertSentAsSeen,
  EventLog,
  makeEngine,
  QUICK_RETRY,
  requests,
  startSim,
  statsWhen,
} from '../support/engine-bench.ts';
import { readBody, sendJson, serve, serveTls, TEST_CERT } from '../workers/http-fixtures.ts';

interface Echo {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

async function echo(request: IncomingMessage, response: http.ServerResponse): Promise<void> {
  const { method = '', url = '', headers } = request;
  const body = (await readBody(request)).toString();
  sendJson(response, { method, url, headers, body } satisfies Echo);
}

const onEcho: http.RequestListener = (request, response) => void echo(request, response);

function echoOf(outcome: Outcome<HttpValue> | undefined): Echo {
  assert.ok(outcome?.ok, JSON.stringify(outcome));
  return outcome.value.body as Echo;
}

/** A proxy that opens tunnels, and remembers what it was asked. */
async function startProxy(t: TestContext) {
  const asked: { readonly target: string; readonly authorization: string | undefined }[] = [];
  const sockets = new Set<net.Socket>();
  const keep = (socket: net.Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  };
  const proxy = http.createServer();
  proxy.on('connection', keep);
  proxy.on('connect', (request: IncomingMessage, client: net.Socket) => {
    const target = request.url ?? '';
    asked.push({ target, authorization: request.headers['proxy-authorization'] });
    const { hostname, port } = new URL(`http://${target}`);
    const upstream = net.connect(Number(port), hostname, () => {
      client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      upstream.pipe(client).pipe(upstream);
    });
    keep(upstream);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.after(async () => {
    const closed = new Promise((resolve) => proxy.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  return { port: (proxy.address() as AddressInfo).port, asked };
}

describe('the built-in HTTP handler in an engine', { concurrency: 3 }, () => {
  it('sends what options and items say', async (t) => {
    const server = await serve(t, onEcho);
    const engine = makeEngine(t, {
      concurrency: 2,
      http: { baseUrl: `${server.origin}/v1/`, headers: { authorization: 'Bearer one', 'x-all': 'yes' } },
    });
    const items: HttpItem[] = [
      { url: 'prices', query: { symbol: '005930', tags: ['a', 'b'], none: undefined, page: 2 } },
      { url: '/orders?x=1', method: 'post', body: { count: 3, name: '가' }, headers: { 'X-All': 'own' } },
      { url: `${server.origin}/raw`, method: 'PUT', body: 'text', headers: { 'content-type': 'text/plain' } },
      { url: 'bytes', method: 'PATCH', body: new TextEncoder().encode('raw') },
    ];
    const result = await engine.run(items);
    assertAllOk(result, 4);
    const [get, post, put, patch] = result.outcomes.map(echoOf);
    assert.ok(get && post && put && patch);
    assert.deepEqual([get.method, get.url], ['GET', '/v1/prices?symbol=005930&tags=a&tags=b&page=2']);
    assert.deepEqual([get.headers.authorization, get.headers['x-all']], ['Bearer one', 'yes']);
    assert.deepEqual([post.method, post.url, post.headers['x-all']], ['POST', '/orders?x=1', 'own']);
    assert.deepEqual(JSON.parse(post.body), { count: 3, name: '가' });
    assert.equal(post.headers['content-type'], 'application/json');
    assert.deepEqual([put.method, put.body, put.headers['content-type']], ['PUT', 'text', 'text/plain']);
    assert.deepEqual([patch.method, patch.body], ['PATCH', 'raw']);
    assert.equal(result.summary.requestsSent, 4);
  });

  it('gives status, headers and body as plain data', async (t) => {
    const server = await serve(t, (request, response) => {
      response.setHeader('set-cookie', ['a=1', 'b=2']);
      if (request.url === '/empty') response.writeHead(204).end();
      else if (request.url === '/text') response.writeHead(200, { 'content-type': 'text/plain' }).end('plain 가');
      else sendJson(response, { big: 'x'.repeat(100_000) }, 201);
    });
    const engine = makeEngine(t, { concurrency: 3 });
    const result = await engine.run(['/json', '/text', '/empty'].map((path) => ({ url: server.origin + path })));
    assertAllOk(result, 3);
    const [json, text, empty] = result.outcomes.map((outcome) => (outcome.ok ? outcome.value : undefined));
    assert.equal(json?.status, 201);
    assert.deepEqual(json?.headers['set-cookie'], ['a=1', 'b=2']);
    assert.deepEqual(json?.body, { big: 'x'.repeat(100_000) });
    assert.deepEqual([text?.status, text?.body], [200, 'plain 가']);
    assert.deepEqual([empty?.status, empty?.body], [204, '']);
  });

  it('speaks TLS with a certificate of its own authority, and refuses a stranger', async (t) => {
    const server = await serveTls(t, onEcho);
    const trusting = makeEngine(t, { concurrency: 2, http: { tls: { ca: TEST_CERT } } });
    const ok = await trusting.run(requests({ url: server.origin }, 10));
    assertAllOk(ok, 10);
    assert.equal(ok.summary.requestsSent, 10);
    const retry = { ...QUICK_RETRY, maxAttempts: 2 };
    const doubting = makeEngine(t, { concurrency: 2, retry });
    const refused = await doubting.run(requests({ url: server.origin }, 2));
    assertComplete(refused, 2);
    assert.deepEqual([refused.summary.errors, refused.summary.requestsSent], [{ NETWORK: 2 }, 0]);
    for (const outcome of refused.outcomes) assert.ok(!outcome.ok && !outcome.error.possiblyExecuted);
  });

  it('goes through a proxy, with its credentials and TLS to the far end', async (t) => {
    const plain = await serve(t, onEcho);
    const secure = await serveTls(t, onEcho);
    const proxy = await startProxy(t);
    const engine = makeEngine(t, {
      concurrency: 4,
      http: { proxy: `http://us%65r:s3cret@127.0.0.1:${proxy.port}`, tls: { ca: TEST_CERT } },
    });
    const items = [...requests({ url: plain.origin }, 6), ...requests({ url: secure.origin }, 6)];
    const result = await engine.run(items);
    assertAllOk(result, 12);
    assert.deepEqual(
      new Set(proxy.asked.map(({ target }) => target)),
      new Set([new URL(plain.origin).host, new URL(secure.origin).host]),
    );
    const authorization = `Basic ${Buffer.from('user:s3cret').toString('base64')}`;
    assert.ok(proxy.asked.every((asked) => asked.authorization === authorization));
    for (const outcome of result.outcomes) assert.equal(echoOf(outcome).headers['proxy-authorization'], undefined);
  });

  it('uses a dispatcher of the user, and keeps the limit with it', async (t) => {
    const server = await serve(t, onEcho);
    const engine = makeEngine(t, {
      rate: { limit: 10, windowMs: 100 },
      http: { dispatcher: new URL('./fixtures/rec-dispatcher.js', import.meta.url).href, connections: 2 },
    });
    const result = await engine.run(requests({ url: server.origin }, 30));
    assertAllOk(result, 30);
    for (const outcome of result.outcomes) assert.equal(echoOf(outcome).headers['x-dispatcher'], 'own');
    assert.ok(server.connections <= 4, `${server.connections} connections`);
    assert.equal(result.summary.requestsSent, 30);
  });

  it('keeps what the engine knows of it when a module exports it again beside a classify of its own', async (t) => {
    const faults = [
      { kind: 'status', status: 200, body: { error: 'BUSY' }, path: '/item/2', times: 1 },
      { kind: 'status', status: 200, body: { error: 'FLAKY' }, path: '/item/4', times: 1 },
      { kind: 'status', status: 200, body: { error: 'CLOSED' }, path: '/item/6' },
      { kind: 'status', status: 500, body: { error: 'HARMLESS' }, path: '/item/8' },
      { kind: 'status', status: 500, body: { error: 'ELSE' }, path: '/item/9' },
      { kind: 'reset', path: '/item/10', methods: ['POST'] },
    ] as const;
    const sim = await startSim(t, { faults });
    // Without cancelling, so that each fault is met by a request that hears its answer.
    const handler = new URL('./fixtures/rec-classify.js', import.meta.url);
    const engine = makeEngine(t, { concurrency: 4, handler, onRateLimit: 'drain' });
    const events = new EventLog(engine);
    const items = requests(sim, 12).map((item, index) => (index === 10 ? { ...item, method: 'POST' } : item));
    const result = await engine.run(items);
    assertComplete(result, 12);
    await assertSentAsSeen(sim, result);
    const ends = result.outcomes.map((outcome) => (outcome.ok ? outcome.attempts : outcome.error.code));
    assert.deepEqual(ends, [1, 1, 1, 1, 2, 1, 'HANDLER', 1, 1, 'HTTP_STATUS', 'IN_DOUBT', 1]);
    assert.equal(events.of('rateLimited').length, 1);
    const closed = result.outcomes[6];
    assert.ok(closed !== undefined && !closed.ok);
    assert.equal(closed.error.message, 'The shop is closed.');
  });

  it('takes a token for every redirect that it follows', async (t) => {
    const sim = await startSim(t, { limit: 6, windowMs: 200, algorithm: 'sliding-log', serviceTimeMs: [0, 20] });
    const engine = makeEngine(t, {
      rate: { limit: 6, windowMs: 200 },
      concurrency: 3,
      http: { maxRedirects: 2 },
    });
    const items = Array.from({ length: 15 }, (_, index) => ({ url: `${sim.url}/redirect?to=/end/${index}` }));
    const result = await engine.run(items);
    assertAllOk(result, 15);
    for (const [index, outcome] of result.outcomes.entries()) {
      assert.ok(outcome.ok);
      assert.equal((outcome.value.body as { path: string }).path, `/end/${index}`);
    }
    const stats = await assertSentAsSeen(sim, result);
    assert.deepEqual([stats.total, stats.refused], [30, 0]);
    assert.ok(stats.maxInWindow <= 6);
  });

  it('keeps its connections: never more than items in work', async (t) => {
    const sim = await startSim(t, { serviceTimeMs: [0, 3] });
    const engine = makeEngine(t, { concurrency: 6, threads: 3 });
    const results = [];
    for (let round = 0; round < 3; round++) results.push(await engine.run(requests(sim, 200)));
    const stats = await assertSentAsSeen(sim, ...results);
    assert.deepEqual([stats.total, stats.ok], [600, 600]);
    assert.ok(stats.connections <= 6, `${stats.connections} connections`);
    await engine.close();
    const { openSockets } = await statsWhen(sim, (later) => later.openSockets === 0);
    assert.equal(openSockets, 0, 'a closed engine leaves no socket');
  });

  it('refuses an item that is no request, without a word of its secrets', async (t) => {
    const sim = await startSim(t);
    const engine = makeEngine(t, { concurrency: 2 });
    const items = [
      ...requests(sim, 2),
      { url: 'relative' },
      { url: `${sim.url}/?key=s3cret`, method: 'CONNECT' },
      { url: `${sim.url}/`, headers: { authorization: 's3cret\n' } },
      { url: 's3cret://host/' },
      { url: 5 as unknown as string },
    ];
    const result = await engine.run(items);
    assertComplete(result, items.length);
    assert.deepEqual([result.summary.errors, result.summary.requestsSent], [{ HANDLER: 5 }, 2]);
    for (const outcome of result.outcomes.slice(2)) {
      assert.ok(!outcome.ok);
      assert.deepEqual([outcome.attempts, outcome.error.possiblyExecuted], [1, false]);
    }
    await assertSentAsSeen(sim, result);
    const secrets = result.outcomes.slice(3, 5).map((outcome) => JSON.stringify(outcome));
    assert.ok(secrets.every((text) => !text.includes('s3cret')));
  });
});
