import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { startSimulator } from '../../lib/simulator/index.ts';
import { mostInWindow } from '../../lib/simulator/journal.ts';
import { codeOf, rawRequest, startBench, statsWhen } from './support.ts';

test('a plain path answers what it was asked, with any method', async (t) => {
  const { call } = await startBench(t);
  assert.deepEqual(JSON.parse((await call('/')).text), { path: '/', method: 'GET', n: 1 });
  assert.deepEqual(JSON.parse((await call('/item/17?x=y', { method: 'DELETE' })).text), {
    path: '/item/17?x=y',
    method: 'DELETE',
    n: 2,
  });
  const echoes = ['{"a":[1]}', 'just text'];
  for (const body of echoes) {
    const { echo, bodyBytes } = JSON.parse((await call('/', { method: 'PUT', body })).text);
    assert.deepEqual(echo, body.startsWith('{') ? JSON.parse(body) : body);
    assert.equal(bodyBytes, body.length);
  }
  assert.equal((await call('/', { method: 'HEAD' })).text, '');
});

test('a long body is read to its end, and echoed only in part', async (t) => {
  const { call } = await startBench(t);
  const { echo, bodyBytes } = JSON.parse((await call('/', { method: 'POST', body: 'z'.repeat(300_000) })).text);
  assert.equal(bodyBytes, 300_000);
  assert.equal(echo.length, 65_536);
});

test('?bytes and /redirect', async (t) => {
  const { call } = await startBench(t);
  assert.equal((await call('/any?bytes=12345')).text.length, 12_345);
  assert.equal((await call('/any?bytes=0')).text, '');
  assert.equal((await call('/any?bytes=-1')).status, 400);
  assert.equal((await call('/any?bytes=99999999999')).status, 400);
  const redirect = await call(`/redirect?status=307&to=${encodeURIComponent('http://other.test/a?b=c')}`);
  assert.deepEqual([redirect.status, redirect.headers.location], [307, 'http://other.test/a?b=c']);
  const relative = await call('/redirect?to=/next%20one');
  assert.deepEqual([relative.status, relative.headers.location], [302, '/next%20one']);
  for (const path of ['/redirect', '/redirect?to=/x&status=200', '/redirect?to=http%3A%2F%2F', '/redirect?to=%25%25']) {
    assert.equal((await call(path)).status, 400, path);
  }
  assert.equal((await call('/redirect?to=/a%0d%0ax:y')).headers.x, undefined);
});

test('the limiter decides by the very times that it reports, under concurrent load', async (t) => {
  const [limit, windowMs] = [30, 50];
  const { sim, call } = await startBench(t, { algorithm: 'sliding-log', limit, windowMs });
  const total = 3000;
  let next = 0;
  const lane = async () => {
    while (next < total) await call(`/item/${next++}`);
  };
  await Promise.all(Array.from({ length: 16 }, lane));

  const arrivals = await sim.arrivals();
  assert.equal(arrivals.length, total);
  assert.deepEqual(new Set(arrivals.map((one) => one.path)).size, total);
  const windowNs = BigInt(windowMs) * 1_000_000n;
  const acceptedNs: bigint[] = [];
  for (const [index, arrival] of arrivals.entries()) {
    assert.equal(arrival.n, index + 1);
    const inWindow = acceptedNs.filter((at) => at > arrival.atNs - windowNs).length;
    assert.equal(arrival.outcome, inWindow < limit ? 'ok' : 'refused', `request ${arrival.n}`);
    assert.equal(arrival.status, inWindow < limit ? 200 : 500);
    if (arrival.outcome === 'ok') acceptedNs.push(arrival.atNs);
  }

  const stats = await sim.stats();
  const firstNs = arrivals[0]?.atNs ?? 0n;
  const sinceFirst = (times: bigint[]) => Float64Array.from(times, (at) => Number(at - firstNs));
  assert.equal(stats.maxInWindow, mostInWindow(sinceFirst(arrivals.map((one) => one.atNs)), Number(windowNs)));
  assert.equal(stats.maxAcceptedInWindow, mostInWindow(sinceFirst(acceptedNs), Number(windowNs)));
  assert.ok(stats.refused > 0 && stats.maxAcceptedInWindow === limit);
  assert.equal(stats.ok + stats.refused, total);
  const seconds = Number((stats.lastAtNs ?? 0n) - (stats.firstAtNs ?? 0n)) / 1e9;
  assert.ok(Math.abs(stats.ratePerSecond - (total - 1) / seconds) < 1e-6 * stats.ratePerSecond);
  assert.ok(stats.connections <= 16);
});

test('times are of the clock of this process, and in order', async (t) => {
  const { sim, call } = await startBench(t, { serviceTimeMs: 20 });
  const beforeNs = process.hrtime.bigint();
  await call('/', { headers: { 'x-item': 'seventeen' } });
  const afterNs = process.hrtime.bigint();
  const [arrival] = await sim.arrivals();
  assert.ok(arrival?.answeredAtNs);
  assert.equal(arrival.key, 'seventeen');
  assert.ok(beforeNs < arrival.atNs && arrival.answeredAtNs < afterNs);
  // A timer may fire a millisecond early.
  assert.ok(arrival.answeredAtNs - arrival.atNs >= 19_000_000n);
});

test('nothing is answered before its service time; refusals do not wait', async (t) => {
  const { sim, call } = await startBench(t, {
    algorithm: 'fixed',
    limit: 30,
    windowMs: 3_600_000,
    serviceTimeMs: [10, 40],
  });
  await Promise.all(Array.from({ length: 30 }, () => call('/')));
  const tookMs = (await sim.arrivals()).map((one) => Number((one.answeredAtNs ?? 0n) - one.atNs) / 1e6);
  assert.ok(Math.min(...tookMs) >= 9);
  // An hour of service time shows that a refusal has none.
  await sim.close();
  const second = await startBench(t, { algorithm: 'fixed', limit: 1, windowMs: 3_600_000, serviceTimeMs: 3_600_000 });
  const waiting = assert.rejects(second.call('/'));
  await statsWhen(second.sim, (stats) => stats.total === 1);
  assert.equal((await second.call('/')).status, 500);
  await second.sim.close();
  await waiting;
});

test('a request is counted when its headers are in, and answered when its body is', async (t) => {
  const { sim } = await startBench(t);
  const socket = await rawRequest(t, sim, 'POST /late HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab');
  const before = await statsWhen(sim, (stats) => stats.total === 1);
  assert.equal(before.pending, 1);
  socket.write('cde');
  const [answer] = await once(socket, 'data');
  assert.match(String(answer), /200 OK[\s\S]*"echo":"abcde"/);
  assert.equal((await sim.stats()).ok, 1);
});

test('a client that goes away is counted as aborted: during service and in the middle of its body', async (t) => {
  const { sim } = await startBench(t, { serviceTimeMs: 3_600_000 });
  const inService = await rawRequest(t, sim, 'GET /a HTTP/1.1\r\nHost: x\r\n\r\n');
  const inBody = await rawRequest(t, sim, 'POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab');
  await statsWhen(sim, (stats) => stats.pending === 2);
  inService.destroy();
  inBody.destroy();
  const stats = await statsWhen(sim, (one) => one.aborted === 2);
  assert.deepEqual([stats.total, stats.pending, stats.ok], [2, 0, 0]);
  for (const arrival of await sim.arrivals()) {
    assert.deepEqual([arrival.outcome, arrival.status, arrival.answeredAtNs], ['aborted', 0, undefined]);
  }
});

test('reset forgets arrivals and quota, and keeps sockets', async (t) => {
  const { sim, call } = await startBench(t, { algorithm: 'fixed', limit: 1, windowMs: 3_600_000 });
  assert.equal((await call('/')).status, 200);
  assert.equal((await call('/')).status, 500);
  const before = await sim.stats();
  await sim.reset();
  assert.deepEqual(await sim.arrivals(), []);
  const reply = await call('/');
  assert.deepEqual([reply.status, JSON.parse(reply.text).n], [200, 1]);
  const stats = await sim.stats();
  assert.deepEqual([stats.total, stats.refused], [1, 0]);
  assert.ok(stats.openSockets >= before.openSockets && stats.connections >= before.connections);
});

test('what was in work at a reset does not turn up after it', async (t) => {
  const { sim, call } = await startBench(t, { serviceTimeMs: 50 });
  const slow = call('/old');
  await statsWhen(sim, (stats) => stats.total === 1);
  await sim.reset();
  assert.equal((await slow).status, 200);
  assert.deepEqual([(await sim.stats()).total, (await sim.stats()).ok], [0, 0]);
});

test('each algorithm limits what comes over the wire', async (t) => {
  const hour = { windowMs: 3_600_000, limit: 3 };
  const table = [
    [{ ...hour, algorithm: 'fixed' }, 3],
    [{ ...hour, algorithm: 'sliding-log' }, 3],
    [{ ...hour, algorithm: 'sliding-counter' }, 3],
    [{ ...hour, algorithm: 'token-bucket' }, 3],
    [{ ...hour, algorithm: 'token-bucket', burst: 5 }, 5],
    [{ ...hour, algorithm: 'gcra' }, 2],
    [{ ...hour, algorithm: 'gcra', burst: 0 }, 1],
    [{ ...hour, algorithm: 'none' }, 7],
  ] as const;
  for (const [options, accepted] of table) {
    const { sim, call } = await startBench(t, options);
    for (let index = 0; index < 7; index++) await call('/');
    const stats = await sim.stats();
    assert.deepEqual(
      [stats.ok, stats.refused, stats.maxAcceptedInWindow],
      [accepted, 7 - accepted, accepted],
      options.algorithm,
    );
  }
});

test('setLimit changes the limit from now on', async (t) => {
  const { sim, call } = await startBench(t, { algorithm: 'token-bucket', limit: 1, windowMs: 3_600_000 });
  const statuses = async () => {
    const list: number[] = [];
    for (let index = 0; index < 4; index++) list.push((await call('/')).status);
    return list;
  };
  assert.deepEqual(await statuses(), [200, 500, 500, 500]);
  await sim.setLimit(3);
  assert.deepEqual(await statuses(), [200, 200, 200, 500]);
});

test('the server runs while this thread is blocked', async (t) => {
  const { sim } = await startBench(t);
  const script = `fetch(${JSON.stringify(`${sim.url}/blocked`)}).then((r) => r.text()).then((text) => console.log(text))`;
  const child = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8', timeout: 60_000 });
  assert.equal(child.status, 0, child.stderr);
  assert.equal(JSON.parse(child.stdout).path, '/blocked');
});

test('close comes back with requests hanging, and everything after it says so', async (t) => {
  const { sim, call } = await startBench(t, { faults: [{ kind: 'hang', path: '/hang' }], serviceTimeMs: 3_600_000 });
  const calls = Array.from({ length: 16 }, (_, index) => assert.rejects(call(index % 2 === 0 ? '/hang' : '/slow')));
  await statsWhen(sim, (stats) => stats.total === 16);
  await Promise.all([sim.close(), sim.close()]);
  await Promise.all(calls);
  await sim[Symbol.asyncDispose]();
  for (const use of [() => sim.stats(), () => sim.arrivals(), () => sim.reset(), () => sim.setLimit(3)]) {
    await assert.rejects(use(), (error) => codeOf(error) === 'SIMULATOR_CLOSED');
  }
});

test('close comes back in the middle of slow and huge bodies', async () => {
  const sim = await startSimulator({
    serviceTimeMs: 0,
    faults: [
      { path: '/slow', kind: 'slow-body', durationMs: 3_600_000 },
      { path: '/huge', kind: 'huge-body', bytes: 2 ** 40 },
    ],
  });
  const bodies = await Promise.all(['/slow', '/huge'].map((path) => fetch(sim.url + path)));
  const endings = bodies.map((response) => assert.rejects(response.arrayBuffer()));
  await sim.close();
  await Promise.all(endings);
});

test('calls that wait when it closes are not left waiting', async () => {
  const sim = await startSimulator();
  const closing = sim.close();
  await assert.rejects(sim.stats(), (error) => codeOf(error) === 'SIMULATOR_CLOSED');
  await closing;
});

test('nothing is left over after close: the process ends by itself', () => {
  const url = new URL('../../lib/simulator/index.js', import.meta.url).href;
  const script = `
    const { startSimulator } = await import(${JSON.stringify(url)});
    const sim = await startSimulator({ serviceTimeMs: 3_600_000 });
    const hanging = fetch(sim.url).catch(() => 'gone');
    while ((await sim.stats()).total === 0);
    await sim.close();
    console.log(await hanging);`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.deepEqual([child.status, child.stdout.trim()], [0, 'gone'], child.stderr);
});
