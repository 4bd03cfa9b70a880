import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { EngineOptions } from '../../lib/index.ts';
import {
  assertAllOk,
  assertComplete,
  EventLog,
  makeCustomEngine,
  makeEngine,
  nextEvent,
  QUICK_RETRY,
  requests,
  startSim,
} from '../support/engine-bench.ts';
import { HeldServer } from '../support/held-server.ts';
import { WireLog } from '../support/wire-log.ts';
import type { Act } from './fixtures/rec-acts.ts';
import { ORDER } from './fixtures/rec-orders.ts';

const ORDERS = new URL('./fixtures/rec-orders.js', import.meta.url);
const ACTS = new URL('./fixtures/rec-acts.js', import.meta.url);

/** An engine whose threads take orders, and what they did on the wire. */
function makeObedientEngine(t: TestContext, options: EngineOptions) {
  const orders = new Int32Array(new SharedArrayBuffer(16));
  const log = new WireLog();
  const handlerData = { orders: orders.buffer, log: log.buffer };
  const engine = makeEngine(t, { ...options, handler: ORDERS, handlerData });
  return { engine, orders, log, events: new EventLog(engine) };
}

describe('a thread that dies', { concurrency: 3 }, () => {
  it('between closing the gate and telling anybody: recovery happens all the same', async (t) => {
    const server = await HeldServer.start(t);
    const { engine, orders, events } = makeObedientEngine(t, { concurrency: 8 });
    orders[ORDER.dieClosing] = 1;
    const running = engine.run(requests(server, 30));
    const [first] = await server.waitFor(8);
    first?.answer(429);
    // Three go with their thread; the other four are cancelled, because the main thread tells their thread.
    await server.until(() => server.aborted === 7);
    server.release();
    const result = await running;
    assertAllOk(result, 30);
    assert.equal(orders[ORDER.dieClosing], 2, 'the thread died in the right moment');
    assert.deepEqual(events.order('rateLimited', 'paused', 'resumed'), ['rateLimited', 'paused', 'resumed']);
    assert.equal(events.of('workerExit').length, 1);
    assert.deepEqual([result.summary.rateLimitEvents, result.summary.rounds], [1, 2]);
    assert.ok(result.outcomes.every(({ attempts }) => attempts === 1));
    await engine.ready();
    assert.equal(engine.stats().threadsReady, 2);
  });

  it('during the barrier: the barrier passes without it', async (t) => {
    const server = await HeldServer.start(t);
    const { engine, orders, events } = makeObedientEngine(t, { concurrency: 4, onRateLimit: 'drain' });
    const running = engine.run(requests(server, 12));
    const [first] = await server.waitFor(4);
    const closed = nextEvent(engine, 'rateLimited');
    first?.answer(429);
    await closed;
    const died = nextEvent(engine, 'workerExit');
    orders[ORDER.dieNow] = 1;
    await died;
    server.release();
    assertAllOk(await running, 12);
    assert.deepEqual(events.order('rateLimited', 'workerExit', 'paused', 'resumed'), [
      'rateLimited',
      'workerExit',
      'paused',
      'resumed',
    ]);
  });

  it('during the backoff: it is replaced and the engine goes on', async (t) => {
    const server = await HeldServer.start(t);
    const retry = { ...QUICK_RETRY, initialMs: 1500, maxMs: 1500 };
    const { engine, orders, events } = makeObedientEngine(t, { concurrency: 4, retry });
    const running = engine.run(requests(server, 12));
    const [first] = await server.waitFor(4);
    const paused = nextEvent(engine, 'paused');
    first?.answer(429);
    await paused;
    const died = nextEvent(engine, 'workerExit');
    orders[ORDER.dieNow] = 1;
    await died;
    server.release();
    const result = await running;
    assertAllOk(result, 12);
    assert.deepEqual(events.order('paused', 'workerExit', 'resumed'), ['paused', 'workerExit', 'resumed']);
    await engine.ready();
    assert.equal(engine.stats().threadsReady, 2);
  });

  it('one after the other, at every step: all items succeed', async (t) => {
    const server = await HeldServer.start(t);
    const { engine, orders, events } = makeObedientEngine(t, { concurrency: 8, threads: 4, onRateLimit: 'drain' });
    const running = engine.run(requests(server, 40));
    const die = async () => {
      const died = nextEvent(engine, 'workerExit');
      orders[ORDER.dieNow] = 1;
      await died;
    };
    await server.waitFor(8);
    await die();
    await server.until(() => server.aborted === 2);
    const [request] = server.held;
    const closed = nextEvent(engine, 'rateLimited');
    request?.answer(429);
    await closed;
    await die();
    const paused = nextEvent(engine, 'paused');
    server.release();
    await paused;
    await die();
    assertAllOk(await running, 40);
    assert.equal(events.of('workerExit').length, 3);
  });
});

describe('a handler that ignores that it was cancelled', { concurrency: 2 }, () => {
  for (const kinds of [['deaf'], ['spin'], ['deaf', 'spin']] as const) {
    it(`(${kinds.join(' and ')}) loses its thread, and the barrier holds`, async (t) => {
      const stage = { calls: new SharedArrayBuffer(4 * 100), startsNs: new SharedArrayBuffer(8 * 200) };
      const engine = makeCustomEngine<Act, number>(t, {
        handler: ACTS,
        handlerData: stage,
        threads: kinds.length + 1,
        concurrency: kinds.length + 1,
        // Long enough for a thread that does listen, on a machine that is busy.
        cancelGraceMs: 1_000,
      });
      const events = new EventLog(engine);
      await engine.ready();
      const acts: Act[] = [{ act: 'refuse', together: kinds.length + 1 }, ...kinds.map((act) => ({ act }))];
      for (let i = 0; i < 20; i++) acts.push({ act: 'return' });
      const result = await engine.run(acts);
      assertAllOk(result, acts.length);
      const exits = events.of('workerExit');
      assert.equal(exits.length, kinds.length);
      for (const { reason } of exits) assert.equal(reason, 'a handler that ignored its signal');
      for (const outcome of result.outcomes) assert.equal(outcome.attempts, 1);
      assert.deepEqual(
        result.outcomes.map((outcome) => outcome.ok && outcome.value),
        acts.map(({ act }) => (act === 'return' ? 1 : 2)),
      );
      assert.equal(events.of('paused').length, 1);
      const pausedNs = events.of('paused')[0]?.atNs ?? 0n;
      for (const { atNs } of exits) assert.ok(atNs < pausedNs, 'the barrier waits for the exit');
      const startsNs = [...new BigInt64Array(stage.startsNs)].filter((ns) => ns > 0n).sort((a, b) => Number(a - b));
      const again = startsNs[kinds.length + 1] ?? 0n;
      assert.ok(again > pausedNs + 20_000_000n, 'no handler is called between the refusal and going on');
    });
  }
});

describe('while the main thread is blocked', () => {
  it('all other threads hear of a refusal and cancel their requests', async (t) => {
    const hanging = [1, 2, 3, 4, 5, 6, 7].map((item) => ({ kind: 'hang', path: `/item/${item}`, times: 1 }) as const);
    const sim = await startSim(t, { faults: hanging });
    const { engine, orders, log } = makeObedientEngine(t, { concurrency: 8, threads: 4 });
    await engine.ready();
    orders[ORDER.refuse] = 1;
    orders[ORDER.holdRefusal] = 1;
    const running = engine.run(requests(sim, 40));
    while (log.of('sent').length < 8) await new Promise(setImmediate);
    // From here on nothing runs in the main thread but this.
    const fromNs = process.hrtime.bigint();
    Atomics.store(orders, ORDER.holdRefusal, 0);
    const spentMs = () => Number(process.hrtime.bigint() - fromNs) / 1e6;
    while (spentMs() < 50 || (log.of('stopped').length < 7 && spentMs() < 20_000));
    const untilNs = process.hrtime.bigint();
    const stopped = log.of('stopped').filter(({ atNs }) => atNs < untilNs);
    assert.equal(stopped.length, 7, 'requests cancelled while the main thread was blocked');
    assert.equal(new Set(stopped.map(({ threadId }) => threadId)).size, 4);
    assertAllOk(await running, 40);
  });
});

describe('a user who aborts', { concurrency: 3 }, () => {
  it('one of two batches at the barrier: it ends at once, the other goes on', async (t) => {
    const server = await HeldServer.start(t);
    const engine = makeEngine(t, { concurrency: 4, onRateLimit: 'drain' });
    const events = new EventLog(engine);
    const abort = new AbortController();
    const other = engine.run(requests(server, 12));
    const held = await server.waitFor(4);
    const aborted = engine.run(requests(server, 12), { signal: abort.signal });
    const closed = nextEvent(engine, 'rateLimited');
    held[0]?.answer(429);
    await closed;
    abort.abort();
    const result = await aborted;
    assertComplete(result, 12);
    assert.deepEqual([result.aborted, result.summary.errors, result.summary.requestsSent], [true, { ABORTED: 12 }, 0]);
    assert.deepEqual(events.order('rateLimited', 'paused'), ['rateLimited'], 'the barrier still stands');
    server.release();
    assertAllOk(await other, 12);
  });

  it('one of two batches in the backoff: it ends at once, the other goes on', async (t) => {
    const server = await HeldServer.start(t);
    const retry = { ...QUICK_RETRY, initialMs: 1500, maxMs: 1500 };
    const engine = makeEngine(t, { concurrency: 8, retry });
    const events = new EventLog(engine);
    const abort = new AbortController();
    const other = engine.run(requests(server, 12));
    const running = engine.run(requests(server, 12), { signal: abort.signal });
    const held = await server.waitFor(8);
    const paused = nextEvent(engine, 'paused');
    held[0]?.answer(429);
    await paused;
    abort.abort();
    const result = await running;
    assert.deepEqual(events.order('resumed'), []);
    assertComplete(result, 12);
    assert.deepEqual([result.aborted, result.summary.succeeded, result.summary.rateLimitEvents], [true, 0, 1]);
    server.release();
    const otherResult = await other;
    assertAllOk(otherResult, 12);
    assert.deepEqual([otherResult.aborted, otherResult.summary.rateLimitEvents], [false, 1]);
    assert.deepEqual(events.order('rateLimited', 'paused', 'resumed'), ['rateLimited', 'paused', 'resumed']);
  });

  it('the only batch in a long backoff: it ends at once', async (t) => {
    const sim = await startSim(t, { faults: [{ kind: '429', at: 5 }] });
    const retry = { ...QUICK_RETRY, initialMs: 600_000, maxMs: 600_000 };
    const engine = makeEngine(t, { concurrency: 4, retry });
    const abort = new AbortController();
    engine.once('paused', () => abort.abort());
    const result = await engine.run(requests(sim, 30), { signal: abort.signal });
    assertComplete(result, 30);
    assert.equal(result.aborted, true);
    assert.deepEqual(result.summary.errors, { ABORTED: result.summary.failed });
    assert.ok(result.summary.failed > 0);
    for (const outcome of result.outcomes) assert.ok(outcome.ok || !outcome.error.possiblyExecuted);
  });

  it('and closes the engine in a long backoff: everything ends at once', async (t) => {
    const sim = await startSim(t, { faults: [{ kind: '429', at: 5 }] });
    const retry = { ...QUICK_RETRY, initialMs: 600_000, maxMs: 600_000 };
    const engine = makeEngine(t, { concurrency: 4, retry });
    const paused = nextEvent(engine, 'paused');
    const running = [engine.run(requests(sim, 30)), engine.run(requests(sim, 30))];
    await paused;
    await engine.close({ mode: 'abort' });
    for (const result of await Promise.all(running)) {
      assertComplete(result, 30);
      assert.equal(result.aborted, true);
    }
    await assert.rejects(engine.run([]), { code: 'ENGINE_CLOSED' });
  });
});
