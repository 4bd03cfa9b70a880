import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { Agent } from 'undici';
import { type Fault, type FaultKind, type Refusal, startSimulator } from '../../lib/simulator/index.ts';
import { FAULT_KINDS, REFUSALS } from '../../lib/simulator/types.ts';
import { codeOf, type Reply, rawRequest, startBench, statsWhen } from './support.ts';

const EGW_TEXT = '초당 거래건수를 초과하였습니다.';
const REFUSAL_ON_THE_WIRE: Readonly<Record<Refusal, readonly [status: number, body: unknown]>> = {
  'egw-500': [500, { rt_cd: '1', msg1: EGW_TEXT, msg_cd: 'EGW00201' }],
  'egw-200': [200, { rt_cd: '1', msg1: EGW_TEXT, msg_cd: 'EGW00201' }],
  'egw-message': [500, { rt_cd: '1', msg1: EGW_TEXT, msg_cd: 'EGW00201', message: 'EGW00201' }],
  'egw-message-only': [500, { message: 'EGW00201' }],
  'egw-text': [500, { rt_cd: '1', msg1: EGW_TEXT }],
  '429': [429, { error: 'Too Many Requests' }],
};

for (const refusal of REFUSALS) {
  test(`refuse, ${refusal}: by the limiter and by a fault, the same on the wire`, async (t) => {
    const faults: Fault[] = [{ at: 2, kind: 'refuse' }];
    const { sim, call } = await startBench(t, { algorithm: 'fixed', limit: 1, windowMs: 3_600_000, refusal, faults });
    const [status, body] = REFUSAL_ON_THE_WIRE[refusal];
    assert.equal((await call('/')).status, 200);
    const byFault = await call('/');
    const byLimiter = await call('/');
    for (const reply of [byFault, byLimiter]) {
      assert.equal(reply.status, status);
      assert.deepEqual(JSON.parse(reply.text), body);
      assert.equal(reply.headers['retry-after'], refusal === '429' ? '3600' : undefined);
    }
    const stats = await sim.stats();
    assert.deepEqual([stats.ok, stats.injected, stats.refused], [1, 1, 1]);
    assert.deepEqual(stats.faults, { refuse: 1 });
  });
}

test('a fault may refuse in another way than the limiter', async (t) => {
  const { call } = await startBench(t, { faults: [{ kind: 'refuse', variant: 'egw-message-only' }] });
  assert.deepEqual(JSON.parse((await call('/')).text), { message: 'EGW00201' });
});

test('429 and 503 carry Retry-After as seconds, date or any text', async (t) => {
  const { call } = await startBench(t, {
    faults: [
      { at: 1, kind: '429', retryAfter: 7 },
      { at: 2, kind: '429', retryAfter: { dateInMs: 120_000 } },
      { at: 3, kind: '429', retryAfter: 'tomorrow, perhaps' },
      { at: 4, kind: '429' },
      { at: 5, kind: '503' },
      { at: 6, kind: '503', retryAfter: 0 },
    ],
  });
  const replies: Reply[] = [];
  for (let n = 1; n <= 6; n++) replies.push(await call('/'));
  assert.deepEqual(
    replies.map((reply) => reply.status),
    [429, 429, 429, 429, 503, 503],
  );
  const hints = replies.map((reply) => reply.headers['retry-after']);
  assert.deepEqual(hints.toSpliced(1, 1), ['7', 'tomorrow, perhaps', undefined, '1', '0']);
  const dateMs = Date.parse(String(hints[1]));
  const sentMs = Date.parse(String(replies[1]?.headers.date));
  assert.ok(Math.abs(dateMs - sentMs - 120_000) <= 1000, `${hints[1]} after ${replies[1]?.headers.date}`);
});

test('status: any status, with the body given or a default one', async (t) => {
  const { call } = await startBench(t, {
    faults: [
      { at: 1, kind: 'status', status: 404 },
      { at: 2, kind: 'status', status: 502, body: { rt_cd: '1' } },
      { at: 3, kind: 'status', status: 204 },
      { at: 4, kind: 'status', status: 599 },
    ],
  });
  assert.deepEqual(JSON.parse((await call('/')).text), { error: 'Not Found' });
  const second = await call('/');
  assert.deepEqual([second.status, second.text], [502, '{"rt_cd":"1"}']);
  const third = await call('/');
  assert.deepEqual([third.status, third.text], [204, '']);
  assert.deepEqual(JSON.parse((await call('/')).text), { error: 'Status 599' });
});

test('reset: the connection is torn down with RST', async (t) => {
  const { sim } = await startBench(t, { faults: [{ kind: 'reset' }] });
  const socket = await rawRequest(t, sim, 'GET /a HTTP/1.1\r\nHost: x\r\n\r\n');
  const [error] = await once(socket, 'error');
  assert.equal(codeOf(error), 'ECONNRESET');
  const [arrival] = await sim.arrivals();
  assert.deepEqual([arrival?.outcome, arrival?.status, arrival?.answeredAtNs], ['injected', 0, undefined]);
});

test('hang: no answer, while others get theirs, until the client gives up', async (t) => {
  const { sim, call } = await startBench(t, { faults: [{ kind: 'hang', path: '/hang' }] });
  const controller = new AbortController();
  const hanging = call('/hang', { signal: controller.signal });
  await statsWhen(sim, (stats) => stats.injected === 1);
  for (let index = 0; index < 20; index++) assert.equal((await call('/')).status, 200);
  const reason = new Error('enough');
  controller.abort(reason);
  await assert.rejects(hanging, reason);
  const stats = await sim.stats();
  assert.deepEqual([stats.injected, stats.aborted, stats.pending, stats.ok], [1, 0, 0, 20]);
});

test('truncated: half of the body, then the end of the connection', async (t) => {
  const { sim, call } = await startBench(t, { faults: [{ kind: 'truncated' }] });
  await assert.rejects(call('/'), (error) => codeOf(error) === 'UND_ERR_SOCKET');
  const socket = await rawRequest(t, sim, 'GET /a HTTP/1.1\r\nHost: x\r\n\r\n');
  const { head, body } = await readRaw(socket);
  const length = Number(/content-length: (\d+)/i.exec(head)?.[1]);
  assert.equal(body.length, length >> 1);
  assert.ok(body.length > 0);
});

test('wrong-length: what Content-Length does not cover stands in the connection as garbage', async (t) => {
  const { sim } = await startBench(t, { faults: [{ at: 1, kind: 'wrong-length' }] });
  const socket = await rawRequest(t, sim, 'GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  const { head, body } = await readRaw(socket);
  const length = Number(/content-length: (\d+)/i.exec(head)?.[1]);
  assert.equal(length, body.length >> 1);
  assert.equal(JSON.parse(body).n, 1);
});

test('malformed-json: complete, says that it is JSON, and is not', async (t) => {
  const { call } = await startBench(t, { faults: [{ kind: 'malformed-json' }] });
  for (const path of ['/', '/?bytes=10', '/uapi/nowhere']) {
    const reply = await call(path);
    assert.equal(reply.status, 200);
    assert.match(String(reply.headers['content-type']), /json/);
    assert.equal(reply.headers['content-length'], String(Buffer.byteLength(reply.text)));
    assert.throws(() => JSON.parse(reply.text), SyntaxError);
  }
});

test('html-500: a page of HTML', async (t) => {
  const { call } = await startBench(t, { faults: [{ kind: 'html-500' }] });
  const reply = await call('/');
  assert.equal(reply.status, 500);
  assert.match(String(reply.headers['content-type']), /html/);
  assert.match(reply.text, /<h1>500/);
});

test('slow-body: the right body, not before its time', async (t) => {
  const { call } = await startBench(t, { faults: [{ kind: 'slow-body', durationMs: 200 }] });
  const startedMs = performance.now();
  const reply = await call('/item/1');
  // Each of the twenty timers may fire up to a millisecond early.
  assert.ok(performance.now() - startedMs >= 180);
  assert.equal(JSON.parse(reply.text).path, '/item/1');
});

test('huge-body: exactly so many bytes of JSON, without saying how many', async (t) => {
  const { call } = await startBench(t, {
    faults: [
      { at: 1, kind: 'huge-body', bytes: 3_000_001 },
      { at: 2, kind: 'huge-body', bytes: 2 },
      { at: 3, kind: 'huge-body', bytes: 65_538 },
    ],
  });
  for (const bytes of [3_000_001, 2, 65_538]) {
    const reply = await call('/');
    assert.equal(reply.text.length, bytes);
    assert.equal(reply.headers['content-length'], undefined);
    assert.equal(JSON.parse(reply.text).length, bytes - 2);
  }
});

test('huge-body: waits for a slow client instead of holding terabytes in memory', async (t) => {
  const { sim } = await startBench(t, { faults: [{ at: 1, kind: 'huge-body', bytes: 2 ** 40 }] });
  const socket = await rawRequest(t, sim, 'GET /a HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(socket, 'data');
  socket.pause();
  const before = process.memoryUsage().rss;
  for (let index = 0; index < 100; index++) await sim.stats();
  assert.ok(process.memoryUsage().rss - before < 2 ** 28);
  socket.destroy();
  await statsWhen(sim, (stats) => stats.openSockets === 0);
});

test('gzip: the right body, compressed; truncated-gzip: complete as HTTP, broken inside', async (t) => {
  const { sim } = await startBench(t, {
    faults: [
      { at: 1, kind: 'gzip' },
      { at: 2, kind: 'truncated-gzip' },
    ],
  });
  const agent = new Agent();
  t.after(() => agent.destroy());
  const bodies: Buffer[] = [];
  for (let n = 1; n <= 2; n++) {
    const { headers, body } = await agent.request({ origin: sim.url, path: '/item/1', method: 'GET' });
    assert.equal(headers['content-encoding'], 'gzip');
    const bytes = Buffer.from(await body.arrayBuffer());
    assert.equal(headers['content-length'], String(bytes.length));
    bodies.push(bytes);
  }
  const [whole, half] = bodies;
  assert.ok(whole && half);
  assert.equal(JSON.parse(gunzipSync(whole).toString()).path, '/item/1');
  assert.throws(() => gunzipSync(half), { code: 'Z_BUF_ERROR' });
});

test('which requests meet a fault: numbers, methods, path, times, first in the list', async (t) => {
  const { sim, call } = await startBench(t, {
    faults: [
      { at: [2, 4], kind: 'status', status: 418 },
      { methods: ['post'], kind: 'status', status: 409 },
      { path: '/exact', kind: 'status', status: 410 },
      { path: '/tree/*', times: 2, kind: 'status', status: 411 },
      { at: 2, kind: 'html-500' },
    ],
  });
  const statuses: number[] = [];
  for (const path of ['/1', '/exact', '/exact?q=1', '/exact', '/exact/no', '/tree/a', '/tree', '/tree/b', '/tree/c']) {
    statuses.push((await call(path)).status);
  }
  assert.deepEqual(statuses, [200, 418, 410, 418, 200, 411, 200, 411, 200]);
  assert.equal((await call('/', { method: 'POST', body: 'x' })).status, 409);
  assert.deepEqual((await sim.stats()).faults, { status: 6 });
});

test('probability: about as often as told, and the same requests for the same seed', async (t) => {
  const faults: Fault[] = [{ probability: 0.25, kind: 'status', status: 418 }];
  const runs: number[][] = [];
  for (const seed of [1, 1, 2]) {
    const { sim, call } = await startBench(t, { faults, seed });
    for (let n = 1; n <= 400; n++) await call('/');
    runs.push((await sim.arrivals()).filter((arrival) => arrival.outcome === 'injected').map((arrival) => arrival.n));
  }
  const [first, again, other] = runs;
  assert.ok(first && first.length > 60 && first.length < 140, `${first?.length} of 400`);
  assert.deepEqual(again, first);
  assert.notDeepEqual(other, first);
});

test('at arrival, a fault uses no quota; after execution it does, and does not hide a refusal', async (t) => {
  const limit = { algorithm: 'fixed', limit: 2, windowMs: 3_600_000 } as const;
  const { sim, call } = await startBench(t, { ...limit, faults: [{ at: [1, 3], kind: '429' }] });
  const statuses: number[] = [];
  for (let n = 1; n <= 5; n++) statuses.push((await call('/')).status);
  assert.deepEqual(statuses, [429, 200, 429, 200, 500]);
  assert.equal((await sim.stats()).maxAcceptedInWindow, 2);

  await sim.setFaults([{ at: [1, 4], kind: 'status', status: 418 }]);
  await sim.reset();
  statuses.length = 0;
  for (let n = 1; n <= 4; n++) statuses.push((await call('/')).status);
  assert.deepEqual(statuses, [418, 200, 500, 500]);
  const stats = await sim.stats();
  assert.deepEqual([stats.injected, stats.refused, stats.maxInWindow, stats.maxAcceptedInWindow], [1, 2, 4, 2]);
});

test('every kind can also strike at arrival, and on a request with a body', async (t) => {
  const further: Readonly<Partial<Record<FaultKind, object>>> = {
    status: { status: 500 },
    kis: { code: 'EGW00300' },
    'huge-body': { bytes: 10 },
  };
  for (const kind of FAULT_KINDS.filter((one) => one !== 'hang')) {
    const fault = { kind, after: 'arrival', ...further[kind] } as Fault;
    const sim = await startSimulator({ faults: [fault], serviceTimeMs: 3_600_000 });
    const agent = new Agent();
    t.after(() => agent.destroy());
    // Whatever comes, it comes without the hour of service time.
    await agent
      .request({ origin: sim.url, path: '/', method: 'POST', body: '{"a":1}' })
      .then(({ body }) => body.text())
      .catch(() => undefined);
    assert.deepEqual((await sim.stats()).faults, { [kind]: 1 });
    await sim.close();
  }
});

async function readRaw(socket: NodeJS.ReadableStream): Promise<{ head: string; body: string }> {
  let text = '';
  for await (const chunk of socket) text += chunk.toString();
  const cut = text.indexOf('\r\n\r\n');
  return { head: text.slice(0, cut), body: text.slice(cut + 4) };
}
