import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createEngine, type Engine, type Failure, type HttpItem, type Outcome } from '../../lib/index.ts';
import { type Fault, type Simulator, startSimulator } from '../../lib/simulator/index.ts';
import {
  arrivalsByItem,
  assertAllOk,
  assertComplete,
  assertSentAsSeen,
  EventLog,
  makeEngine,
  QUICK_RETRY,
  requests,
  startSim,
} from '../support/engine-bench.ts';
import { freePort, serve, serveRaw } from '../workers/http-fixtures.ts';

const MIB = 2 ** 20;
const ITEMS = 12;
/** The item that meets the fault. */
const VICTIM = 5;
const TIMEOUT_MS = 800;

function failureOf(outcome: Outcome | undefined): Failure {
  assert.ok(outcome !== undefined && !outcome.ok, 'the item failed');
  return outcome;
}

/** One engine for many tests: nothing that goes wrong in one may be felt in the next. */
interface Bench {
  readonly sim: Simulator;
  readonly engine: Engine;
}

function useBench(): () => Bench {
  let bench: Bench | undefined;
  before(async () => {
    const sim = await startSimulator({ algorithm: 'none', serviceTimeMs: 0, kis: false });
    const http = { maxBodyBytes: MIB };
    const engine = createEngine({ threads: 2, concurrency: 4, timeoutMs: TIMEOUT_MS, retry: QUICK_RETRY, http });
    bench = { sim, engine };
    // Once with everything fine, so that no timeout is spent on loading code.
    await engine.ready();
    assertAllOk(await engine.run(requests(sim, 20)), 20);
  });
  after(async () => {
    await bench?.engine.close({ mode: 'abort' });
    await bench?.sim.close();
  });
  return () => {
    assert.ok(bench);
    return bench;
  };
}

/** Run twelve items of which one meets a fault, every time or once. */
async function runWithFault({ sim, engine }: Bench, fault: Fault, item: Omit<Partial<HttpItem>, 'url'> = {}) {
  await sim.reset();
  await sim.setFaults([{ path: `/item/${VICTIM}`, ...fault }]);
  const events = new EventLog(engine);
  const result = await engine.run(requests(sim, ITEMS, item));
  events.stop();
  assertComplete(result, ITEMS);
  await assertSentAsSeen(sim, result);
  for (const [index, outcome] of result.outcomes.entries()) assert.ok(outcome.ok || index === VICTIM);
  const arrivals = (await arrivalsByItem(sim)).get(String(VICTIM));
  assert.equal(result.summary.rateLimitEvents, 0);
  return { result, events, victim: result.outcomes[VICTIM], arrivals };
}

interface Expected {
  readonly name: string;
  readonly fault: Fault;
  readonly code: string;
  readonly attempts: number;
  readonly message: RegExp;
  readonly status?: number;
}

const expected: Expected[] = [
  { name: 'a reset', fault: { kind: 'reset' }, code: 'NETWORK', attempts: 3, message: /no answer/ },
  {
    name: 'an answer that never comes',
    fault: { kind: 'hang' },
    code: 'TIMEOUT',
    attempts: 3,
    message: /timeoutMs \(800 ms\); the request was sent/,
  },
  {
    name: 'half of an answer',
    fault: { kind: 'truncated' },
    code: 'NETWORK',
    attempts: 3,
    message: /cut short/,
    status: 200,
  },
  {
    name: 'broken JSON',
    fault: { kind: 'malformed-json' },
    code: 'INVALID_RESPONSE',
    attempts: 3,
    message: /not valid JSON/,
    status: 200,
  },
  {
    name: 'half of a gzip stream',
    fault: { kind: 'truncated-gzip' },
    code: 'INVALID_RESPONSE',
    attempts: 3,
    message: /content coding/,
    status: 200,
  },
  {
    name: 'a page with status 500',
    fault: { kind: 'html-500' },
    code: 'HTTP_STATUS',
    attempts: 3,
    message: /status 500/,
    status: 500,
  },
  {
    name: 'status 404',
    fault: { kind: 'status', status: 404 },
    code: 'HTTP_STATUS',
    attempts: 1,
    message: /status 404/,
    status: 404,
  },
  {
    name: 'a body that never ends in time',
    fault: { kind: 'slow-body', durationMs: 60_000 },
    code: 'TIMEOUT',
    attempts: 3,
    message: /timeoutMs \(800 ms\); the request was sent/,
  },
  {
    name: 'a body over maxBodyBytes',
    fault: { kind: 'huge-body', bytes: 32 * MIB },
    code: 'INVALID_RESPONSE',
    attempts: 1,
    message: /maxBodyBytes \(1048576\)/,
    status: 200,
  },
];

describe('a GET', () => {
  const bench = useBench();

  for (const { name, fault, code, attempts, message, status } of expected) {
    it(`that meets ${name} every time ends as ${code} after ${attempts}`, async () => {
      const { result, victim, arrivals, events } = await runWithFault(bench(), fault);
      const { error, attempts: made } = failureOf(victim);
      assert.deepEqual([error.code, made, error.attempts, arrivals], [code, attempts, attempts, attempts]);
      assert.match(error.message, message);
      assert.deepEqual([error.status, error.retryAfterMs], [status, undefined]);
      // Only a client error says for certain that nothing was done.
      assert.equal(error.possiblyExecuted, status !== 404);
      assert.deepEqual(result.summary.errors, { [code]: 1 });
      assert.deepEqual([result.summary.retried, result.summary.requestsSent], [attempts - 1, ITEMS + attempts - 1]);
      assert.deepEqual(
        events.of('retry').map(({ index, attempt, delayMs, code: reason }) => [index, attempt, delayMs, reason]),
        [
          [VICTIM, 1, 20, code],
          [VICTIM, 2, 40, code],
        ].slice(0, attempts - 1),
      );
      assert.deepEqual(structuredClone(victim), victim);
      assert.deepEqual(JSON.parse(JSON.stringify(error)), { ...error });
    });

    if (attempts === 1) continue;
    it(`that meets ${name} once succeeds the second time`, async () => {
      const { result, victim, arrivals } = await runWithFault(bench(), { ...fault, times: 1 });
      assertAllOk(result, ITEMS);
      assert.deepEqual([victim?.attempts, arrivals, result.summary.retried], [2, 2, 1]);
    });
  }

  it('takes a slow body and a gzip stream as they come', async () => {
    for (const fault of [{ kind: 'slow-body', durationMs: 200 }, { kind: 'gzip' }] as const) {
      const { result, arrivals } = await runWithFault(bench(), fault);
      assertAllOk(result, ITEMS);
      assert.equal(arrivals, 1);
    }
  });

  it('is not harmed by what an earlier answer left behind in its connection', async (t) => {
    const sim = await startSim(t, { faults: [{ kind: 'wrong-length', path: '/item/5', times: 2 }] });
    const engine = makeEngine(t, { concurrency: 1, threads: 1 });
    const result = await engine.run(requests(sim, ITEMS));
    assertAllOk(result, ITEMS);
    for (const { index, ok, ...outcome } of result.outcomes) {
      assert.ok(ok && 'value' in outcome);
      assert.equal((outcome.value.body as { path: string }).path, `/item/${index}`);
    }
    assert.equal(result.outcomes[5]?.attempts, 3);
  });

  it('whose connection is never made names that it was not sent', async (t) => {
    const silent = await serveRaw(t, () => {});
    const engine = makeEngine(t, { concurrency: 2, timeoutMs: 200, retry: { ...QUICK_RETRY, maxAttempts: 2 } });
    const result = await engine.run([{ url: `${silent.origin.replace('http', 'https')}/` }]);
    const { error } = failureOf(result.outcomes[0]);
    assert.deepEqual([error.code, error.attempts, error.possiblyExecuted], ['TIMEOUT', 2, false]);
    assert.match(error.message, /timeoutMs \(200 ms\); the request was not sent/);
    assert.equal(result.summary.requestsSent, 0);
  });

  it('that fails waits as long as the server asks, and not longer than maxRetryAfterMs', async (t) => {
    const askedNs: bigint[] = [];
    const server = await serve(t, (request, response) => {
      askedNs.push(process.hrtime.bigint());
      if (request.url === '/item/1') response.writeHead(500, { 'retry-after': '3600' }).end();
      else if (askedNs.length === 1) response.writeHead(500, { 'retry-after': '1' }).end();
      else response.end();
    });
    const engine = makeEngine(t, { threads: 1, concurrency: 1 });
    const patient = await engine.run(requests({ url: server.origin }, 1));
    assertAllOk(patient, 1);
    assert.ok((askedNs[1] ?? 0n) - (askedNs[0] ?? 0n) >= 1_000_000_000n);
    const hasty = await engine.run(requests({ url: server.origin }, 2));
    const { error } = failureOf(hasty.outcomes[1]);
    assert.deepEqual([error.code, error.attempts, error.retryAfterMs], ['HTTP_STATUS', 1, 3_600_000]);
  });
});

describe('a POST', () => {
  const bench = useBench();

  const post = { method: 'POST', body: { amount: 1 } } as const;
  const ends = [
    ['a reset', { kind: 'reset' }, 'IN_DOUBT', 'NETWORK'],
    ['an answer that never comes', { kind: 'hang' }, 'IN_DOUBT', 'TIMEOUT'],
    ['half of an answer', { kind: 'truncated' }, 'IN_DOUBT', 'NETWORK'],
    ['a page with status 500', { kind: 'html-500' }, 'HTTP_STATUS', undefined],
    ['status 502', { kind: 'status', status: 502 }, 'HTTP_STATUS', undefined],
    ['broken JSON', { kind: 'malformed-json' }, 'INVALID_RESPONSE', undefined],
  ] as const;
  for (const [name, fault, code, cause] of ends) {
    it(`that meets ${name} is sent once and ends as ${code}`, async () => {
      const { result, victim, arrivals } = await runWithFault(bench(), fault, post);
      const { error } = failureOf(victim);
      assert.deepEqual([error.code, error.cause?.code, error.possiblyExecuted], [code, cause, true]);
      assert.deepEqual([arrivals, error.attempts, result.summary.retried], [1, 1, 0]);
      assert.equal(result.summary.requestsSent, ITEMS);
    });
  }

  it('with status 409 was not executed', async () => {
    const { victim, arrivals } = await runWithFault(bench(), { kind: 'status', status: 409 }, post);
    const { error } = failureOf(victim);
    assert.deepEqual([error.code, error.status, error.possiblyExecuted, arrivals], ['HTTP_STATUS', 409, false, 1]);
  });

  it('may be sent again if its item says that this does no harm', async () => {
    const { victim, arrivals } = await runWithFault(bench(), { kind: 'reset' }, { ...post, idempotent: true });
    const { error } = failureOf(victim);
    assert.deepEqual([error.code, error.attempts, arrivals, error.possiblyExecuted], ['NETWORK', 3, 3, true]);
  });

  it('may be sent again if the run says so, but the item has the last word', async (t) => {
    const faults: Fault[] = [{ kind: 'reset', path: '/item/*' }];
    const sim = await startSim(t, { faults });
    const engine = makeEngine(t, { concurrency: 4 });
    const items = requests(sim, 3).map(
      (item, index): HttpItem =>
        index === 0 ? { ...item, ...post } : index === 1 ? { ...item, ...post, idempotent: false } : item,
    );
    const result = await engine.run(items, { idempotent: true });
    const codes = result.outcomes.map((outcome) => [outcome.attempts, outcome.ok || outcome.error.code]);
    assert.deepEqual(codes, [
      [3, 'NETWORK'],
      [1, 'IN_DOUBT'],
      [3, 'NETWORK'],
    ]);
    const careful = await engine.run(items, { idempotent: false });
    assert.deepEqual(
      careful.outcomes.map((outcome) => outcome.ok || outcome.error.code),
      ['IN_DOUBT', 'IN_DOUBT', 'IN_DOUBT'],
    );
    await assertSentAsSeen(sim, result, careful);
  });

  it('to a port where nobody listens is tried again, and costs no token', async (t) => {
    const port = await freePort();
    const rate = { limit: 2, windowMs: 3_600_000 };
    const engine = makeEngine(t, { rate, concurrency: 2, circuit: false });
    const items = requests({ url: `http://127.0.0.1:${port}` }, 5, post);
    const result = await engine.run(items);
    assertComplete(result, 5);
    for (const outcome of result.outcomes) {
      const { error } = failureOf(outcome);
      assert.deepEqual([error.code, error.attempts, error.possiblyExecuted], ['NETWORK', 3, false]);
      assert.equal(error.cause?.code, 'ECONNREFUSED');
    }
    assert.deepEqual([result.summary.requestsSent, result.summary.retried], [0, 10]);
    assert.deepEqual(engine.stats().tokens, [{ total: 2, free: 2 }]);
  });

  it('that places an order which is executed never places it twice', async (t) => {
    const path = '/uapi/domestic-stock/v1/trading/order-cash';
    const faults: Fault[] = [
      { kind: 'refuse', at: [3, 11], variant: 'egw-500' },
      { kind: 'reset', at: 5 },
      { kind: 'hang', at: 8 },
      { kind: 'html-500', at: 14 },
    ];
    const sim = await startSim(t, { kis: { checkHeaders: false }, serviceTimeMs: [1, 20], faults });
    const handler = new URL('../../workers/kis.js', import.meta.url);
    const engine = makeEngine(t, { handler, concurrency: 6, timeoutMs: 3000 });
    const body = { CANO: '1', ACNT_PRDT_CD: '01', PDNO: '005930', ORD_DVSN: '00', ORD_QTY: '1', ORD_UNPR: '1' };
    const items = requests(sim, 30, { method: 'POST', body, headers: { tr_id: 'TTTC0012U' } });
    const result = await engine.run(items.map((item) => ({ ...item, url: sim.url + path })));
    assertComplete(result, 30);
    await assertSentAsSeen(sim, result);
    assert.deepEqual(result.summary.errors, { IN_DOUBT: 2, HTTP_STATUS: 1 });
    const orders = await sim.orders();
    assert.equal(orders.length, 30);
    assert.equal(new Set(orders.map(({ key }) => key)).size, 30, 'one order for each item');
  });
});
