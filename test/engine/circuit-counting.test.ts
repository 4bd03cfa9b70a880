import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { describe, it, type TestContext, test } from 'node:test';
import type { CircuitOptions, EngineOptions, HttpItem } from '../../lib/index.ts';
import { makeEngine, nextEvent, QUICK_RETRY, requests } from '../support/engine-bench.ts';
import { type HeldRequest, HeldServer } from '../support/held-server.ts';
import { CircuitLog, HOUR_MS, THREE_IN_ROW } from './circuit-support.ts';
import { type Act, CELL } from './fixtures/upstream.ts';
import { Board, ends, fixture, openEngine, tally, until } from './support.ts';

const ONCE = { ...QUICK_RETRY, maxAttempts: 1 } as const;
const FAILS: CircuitOptions = { ...THREE_IN_ROW, whenOpen: 'fail', openMs: HOUR_MS };
const HOUSEKEEPING = { cancelGraceMs: 20, killGraceMs: 20 } as const;

/** One item at a time, so that there is an order. */
function openHttp(t: TestContext, options: EngineOptions = {}) {
  return makeEngine(t, { threads: 1, concurrency: 1, circuit: FAILS, retry: ONCE, ...options });
}

function openUpstream(t: TestContext, options: Omit<EngineOptions, 'handler'>) {
  const board = new Board();
  const engine = openEngine<Act>(t, fixture('upstream'), {
    threads: 1,
    concurrency: 1,
    circuit: FAILS,
    retry: ONCE,
    ...HOUSEKEEPING,
    ...options,
    handlerData: board.data,
  });
  return { board, engine };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

describe('a failure is', { concurrency: 2, timeout: 120_000 }, () => {
  const answers: [string, (request: HeldRequest) => void, code: string][] = [
    ['a status of 500', (request) => request.answer(500), 'HTTP_STATUS'],
    ['a status of 503', (request) => request.answer(503), 'HTTP_STATUS'],
    ['a connection that breaks', (request) => request.reset(), 'NETWORK'],
    ['no answer in time', () => {}, 'TIMEOUT'],
  ];
  for (const [name, answer, code] of answers) {
    it(name, async (t) => {
      const server = await HeldServer.start(t);
      server.onRequest = answer;
      // Short only where it is what ends the requests: an answer may take long on a machine that is busy.
      const engine = openHttp(t, { timeoutMs: code === 'TIMEOUT' ? 100 : 30_000 });
      const { outcomes } = await engine.run(requests(server, 6));
      assert.deepEqual(ends(outcomes), [code, code, code, 'CIRCUIT_OPEN', 'CIRCUIT_OPEN', 'CIRCUIT_OPEN']);
      assert.equal(server.arrived.length, 3);
      assert.equal(engine.stats().circuit, 'open');
    });
  }

  it('a connection that is refused', async (t) => {
    const engine = openHttp(t);
    const { outcomes } = await engine.run(requests({ url: `http://127.0.0.1:${await freePort()}` }, 5));
    assert.deepEqual(tally(ends(outcomes)), { NETWORK: 3, CIRCUIT_OPEN: 2 });
  });

  it('an attempt that is made again, each one for itself', async (t) => {
    const server = await HeldServer.start(t);
    server.onRequest = (request) => request.answer(500);
    const engine = openHttp(t, { retry: { ...QUICK_RETRY, maxAttempts: 9 } });
    const { outcomes } = await engine.run(requests(server, 1));
    assert.deepEqual(ends(outcomes), ['CIRCUIT_OPEN']);
    assert.equal(server.arrived.length, 3);
  });

  it('a handler that ignores its timeout, and is ended with its thread', async (t) => {
    const { engine } = openUpstream(t, { timeoutMs: 60 });
    const { outcomes } = await engine.run(Array.from({ length: 5 }, () => ({ does: 'spins' })));
    assert.deepEqual(tally(ends(outcomes)), { TIMEOUT: 3, CIRCUIT_OPEN: 2 });
    assert.deepEqual([engine.stats().circuit, engine.stats().workerExits], ['open', 3]);
  });

  it('what the user’s own rules call one', async (t) => {
    const server = await HeldServer.start(t);
    server.onRequest = (request) => request.answer(409);
    const message = { ko: '충돌', en: 'Conflict.' };
    const engine = openHttp(t, {
      recovery: [
        { type: 'Conflict', when: { status: 409 }, severity: 'low', actions: ['fail-fast', 'trip-circuit'], message },
      ],
    });
    const { outcomes } = await engine.run(requests(server, 5));
    assert.deepEqual(tally(ends(outcomes)), { HTTP_STATUS: 3, CIRCUIT_OPEN: 2 });
  });

  it('a refusal, if asked for', async (t) => {
    const server = await HeldServer.start(t);
    server.onRequest = (request) => request.answer(429);
    const circuit: CircuitOptions = { ...FAILS, countRateLimits: true };
    const engine = openHttp(t, { circuit, retry: { ...QUICK_RETRY, maxRefusals: 100 } });
    const { outcomes, summary } = await engine.run(requests(server, 5));
    assert.deepEqual(tally(ends(outcomes)), { CIRCUIT_OPEN: 5 });
    assert.deepEqual([server.arrived.length, summary.refused, summary.rateLimitEvents], [3, 3, 3]);
  });

  it('a refused probe, if asked for', async (t) => {
    const server = await HeldServer.start(t);
    server.onRequest = (request) => request.answer(429);
    const circuit: CircuitOptions = { ...THREE_IN_ROW, failureThreshold: 1, openMs: 20, countRateLimits: true };
    const engine = openHttp(t, { circuit, retry: { ...QUICK_RETRY, maxRefusals: 100 } });
    const log = new CircuitLog(engine);
    const { outcomes } = await engine.run(requests(server, 3));
    assert.deepEqual(tally(ends(outcomes)), { CIRCUIT_OPEN: 3 });
    assert.deepEqual(log.changes, ['closed > open', 'open > half-open', 'half-open > open']);
    assert.equal(server.arrived.length, 2);
  });
});

describe('no failure is', { concurrency: 2, timeout: 120_000 }, () => {
  const FIRST: CircuitOptions = { ...FAILS, failureThreshold: 1, failureRate: 0.01, minimumCalls: 1 };

  for (const status of [400, 401, 403, 404, 409, 422]) {
    it(`a status of ${status}`, async (t) => {
      const server = await HeldServer.start(t);
      server.onRequest = (request) => request.answer(status);
      const engine = openHttp(t, { circuit: FIRST });
      const { outcomes } = await engine.run(requests(server, 4));
      assert.deepEqual(tally(ends(outcomes)), { HTTP_STATUS: 4 });
      assert.deepEqual([server.arrived.length, engine.stats().circuitOpenings], [4, 0]);
    });
  }

  it('a refusal, and neither is what was cancelled because of it', async (t) => {
    const server = await HeldServer.start(t);
    const engine = openHttp(t, { threads: 2, concurrency: 6, circuit: FIRST, retry: QUICK_RETRY });
    const running = engine.run(requests(server, 6));
    const [first] = await server.waitFor(6);
    first?.answer(429);
    await server.until(() => server.aborted === 5);
    server.release();
    assert.deepEqual(tally(ends((await running).outcomes)), { ok: 6 });
    assert.deepEqual([engine.stats().cancelled, engine.stats().circuitOpenings], [5, 0]);
  });

  it('an error of the handler’s own', async (t) => {
    const { engine } = openUpstream(t, { circuit: FIRST });
    const { outcomes } = await engine.run(Array.from({ length: 5 }, () => ({ does: 'throws' })));
    assert.deepEqual(tally(ends(outcomes)), { HANDLER: 5 });
    assert.equal(engine.stats().circuitOpenings, 0);
  });

  it('a thread that dies', async (t) => {
    const { engine } = openUpstream(t, { circuit: FIRST });
    const { outcomes } = await engine.run([{ does: 'dies' }, {}]);
    assert.deepEqual(ends(outcomes), ['WORKER_LOST', 'ok']);
    assert.equal(engine.stats().circuitOpenings, 0);
  });

  it('what was aborted', async (t) => {
    const server = await HeldServer.start(t);
    const engine = openHttp(t, { threads: 2, concurrency: 4, circuit: FIRST });
    for (let n = 1; n <= 3; n++) {
      const controller = new AbortController();
      const running = engine.run(requests(server, 4), { signal: controller.signal });
      await server.waitFor(4);
      controller.abort();
      assert.deepEqual(tally(ends((await running).outcomes)), { ABORTED: 4 });
      await server.until(() => server.aborted === 4 * n);
    }
    assert.deepEqual([engine.stats().circuit, engine.stats().circuitOpenings], ['closed', 0]);
  });

  it('what was aborted and is ended with its thread because it does not listen', async (t) => {
    const { board, engine } = openUpstream(t, { circuit: FIRST, timeoutMs: 1_000, cancelGraceMs: 10 });
    const controller = new AbortController();
    const running = engine.run([{ does: 'is deaf' }], { signal: controller.signal });
    await until(() => board.get(CELL.running) === 1);
    const ended = nextEvent(engine, 'workerExit');
    controller.abort();
    assert.deepEqual(ends((await running).outcomes), ['ABORTED']);
    assert.match((await ended).reason, /ignored its timeout/);
    assert.deepEqual(ends((await engine.run([{}])).outcomes), ['ok']);
    assert.equal(engine.stats().circuitOpenings, 0);
  });
});

test('a success ends a row, whichever thread has it', async (t) => {
  const server = await HeldServer.start(t);
  const engine = openHttp(t, { threads: 2, concurrency: 2 });
  const running = engine.run(requests(server, 41));
  // Two failures, then a success, with another request in flight all the time.
  for (let n = 1; n <= 39; n++) {
    const [oldest] = await server.waitFor(2);
    oldest?.answer(n % 3 === 0 ? 200 : 500);
    await server.until(() => server.arrived.length === 2 + n);
  }
  server.release();
  assert.deepEqual(tally(ends((await running).outcomes)), { HTTP_STATUS: 26, ok: 15 });
  assert.equal(engine.stats().circuitOpenings, 0);
});

test('all batches of an engine count together, and other engines do not', async (t) => {
  const server = await HeldServer.start(t);
  server.onRequest = (request) => request.answer(500);
  const [engine, other] = [openHttp(t), openHttp(t)];
  for (let n = 0; n < 2; n++) {
    await engine.run(requests(server, 1));
    await other.run(requests(server, 1));
  }
  assert.deepEqual([engine.stats().circuit, other.stats().circuit], ['closed', 'closed']);
  await engine.run(requests(server, 1));
  assert.deepEqual([engine.stats().circuit, other.stats().circuit], ['open', 'closed']);
});

test('without a circuit breaker everything is sent, however much fails', async (t) => {
  const server = await HeldServer.start(t);
  server.onRequest = (request) => request.answer(500);
  const engine = makeEngine(t, { circuit: false, retry: ONCE });
  const log = new CircuitLog(engine);
  const items: HttpItem[] = requests(server, 150);
  const { outcomes } = await engine.run(items);
  assert.deepEqual(tally(ends(outcomes)), { HTTP_STATUS: 150 });
  assert.equal(server.arrived.length, 150);
  const { circuit, circuitOpenings, isPaused } = engine.stats();
  assert.deepEqual([circuit, circuitOpenings, isPaused, log.changes], ['closed', 0, false, []]);
});
