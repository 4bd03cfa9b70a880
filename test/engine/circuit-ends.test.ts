import assert from 'node:assert/strict';
import { describe, it, type TestContext, test } from 'node:test';
import type { CircuitOptions, EngineOptions, RunOptions } from '../../lib/index.ts';
import { assertAllOk, makeEngine, nextEvent, QUICK_RETRY, requests } from '../support/engine-bench.ts';
import { HeldServer } from '../support/held-server.ts';
import { CircuitLog, downUntilOpen, HOUR_MS, THREE_IN_ROW } from './circuit-support.ts';
import { type Act, CELL } from './fixtures/upstream.ts';
import { Board, count, ends, fixture, openEngine, tally, until } from './support.ts';

const PATIENT = { ...QUICK_RETRY, maxAttempts: 1_000 } as const;

/** An upstream that is down until the circuit opens. */
function openUpstream(t: TestContext, options: Omit<EngineOptions, 'handler'>) {
  const board = new Board();
  board.set(CELL.isDown, 1);
  const engine = openEngine<Act, string>(t, fixture('upstream'), {
    threads: 2,
    retry: PATIENT,
    killGraceMs: 20,
    cancelGraceMs: 20,
    ...options,
    handlerData: board.data,
  });
  engine.on('circuit', ({ to }) => {
    if (to === 'open') board.set(CELL.isDown, 0);
  });
  return { board, engine, log: new CircuitLog(engine) };
}

/** An engine whose circuit is half-open, with one probe at the server. */
async function probing(t: TestContext, options: EngineOptions = {}, runOptions: RunOptions = {}) {
  const server = await HeldServer.start(t);
  const engine = makeEngine(t, { circuit: THREE_IN_ROW, retry: PATIENT, ...options });
  const log = new CircuitLog(engine);
  downUntilOpen(server, engine);
  const running = engine.run(requests(server, 20), runOptions);
  await log.until(2);
  const [probe] = await server.waitFor(1);
  assert.ok(probe !== undefined);
  return { server, engine, log, running, probe };
}

describe('a probe', { concurrency: 2, timeout: 120_000 }, () => {
  it('whose thread dies is lost, and the next one decides', async (t) => {
    const { engine, log } = openUpstream(t, { concurrency: 4, circuit: { ...THREE_IN_ROW, halfOpenProbes: 3 } });
    const { outcomes } = await engine.run(count(12).map((): Act => ({ does: 'dies once' })));
    assert.deepEqual(tally(ends(outcomes)), { ok: 12 });
    assert.deepEqual(log.changes, ['closed > open', 'open > half-open', 'half-open > closed']);
    assert.ok(engine.stats().workerExits >= 1);
  });

  it('that ends every thread ends as WORKER_LOST, and the next one decides', async (t) => {
    for (const threads of [1, 2]) {
      const circuit: CircuitOptions = { ...THREE_IN_ROW, halfOpenProbes: 2 };
      const { engine, log } = openUpstream(t, { threads, concurrency: 2, circuit });
      const { outcomes } = await engine.run([{ does: 'dies' }, { does: 'dies' }, ...count(8).map((): Act => ({}))]);
      assert.deepEqual(tally(ends(outcomes)), { WORKER_LOST: 2, ok: 8 });
      assert.equal(log.changes.at(-1), 'half-open > closed');
      assert.equal(engine.stats().circuitOpenings, 1);
    }
  });

  it('that takes its thread and never gives it back has failed', async (t) => {
    const { engine, log } = openUpstream(t, { concurrency: 2, circuit: THREE_IN_ROW, timeoutMs: 100 });
    const { outcomes } = await engine.run(count(4).map((): Act => ({ does: 'spins' })));
    assert.deepEqual(tally(ends(outcomes)), { CIRCUIT_OPEN: 4 });
    assert.deepEqual(log.changes, ['closed > open', 'open > half-open', 'half-open > open']);
    assert.deepEqual(log.openings, [30, 3_000]);
    assert.equal(engine.stats().workerExits, 1);
  });

  it('that is aborted says nothing, and the probe of another batch decides', async (t) => {
    const controller = new AbortController();
    const { engine, server, log, running } = await probing(t, {}, { signal: controller.signal });
    const second = engine.run(requests(server, 6));
    controller.abort();
    assert.deepEqual(tally(ends((await running).outcomes)), { ABORTED: 20 });
    await server.until(() => server.aborted === 1 && server.held.length === 1);
    assert.equal(engine.stats().circuit, 'half-open');
    server.release();
    assertAllOk(await second, 6);
    assert.deepEqual(log.changes, ['closed > open', 'open > half-open', 'half-open > closed']);
  });

  it('that must not be sent again fails for good, and the circuit opens again', async (t) => {
    const { probe, log, running } = await probing(t, {}, { idempotent: false });
    probe.reset();
    const { outcomes } = await running;
    const { HTTP_STATUS = 0, IN_DOUBT, CIRCUIT_OPEN = 0 } = tally(ends(outcomes));
    // What was in flight when it opened failed as well, and was not sent again either.
    assert.ok(HTTP_STATUS >= 3);
    assert.deepEqual([IN_DOUBT, HTTP_STATUS + CIRCUIT_OPEN], [1, 19]);
    assert.deepEqual(log.changes, ['closed > open', 'open > half-open', 'half-open > open']);
  });
});

describe('close', { concurrency: 2, timeout: 120_000 }, () => {
  it('"drain" while it is open waits for half-open, and finishes everything', async (t) => {
    const server = await HeldServer.start(t);
    const engine = makeEngine(t, { circuit: { ...THREE_IN_ROW, openMs: 100 }, retry: PATIENT });
    const log = new CircuitLog(engine);
    downUntilOpen(server, engine);
    const running = engine.run(requests(server, 20));
    await log.until(1);
    const closing = engine.close();
    assert.equal(engine.stats().circuit, 'open');
    await server.waitFor(1);
    server.release();
    assertAllOk(await running, 20);
    await closing;
    assert.equal(engine.stats().circuit, 'closed');
  });

  it('"drain" while nothing is left to do does not wait for half-open', async (t) => {
    const server = await HeldServer.start(t);
    server.onRequest = (request) => request.answer(500);
    const circuit: CircuitOptions = { ...THREE_IN_ROW, openMs: HOUR_MS, whenOpen: 'fail' };
    const engine = makeEngine(t, { circuit, retry: PATIENT });
    await engine.run(requests(server, 5));
    assert.equal(engine.stats().circuit, 'open');
    await engine.close();
  });

  it('"abort" while it is open ends everything at once', async (t) => {
    const server = await HeldServer.start(t);
    server.onRequest = (request) => request.answer(500);
    const circuit: CircuitOptions = { ...THREE_IN_ROW, openMs: HOUR_MS };
    const engine = makeEngine(t, { circuit, retry: PATIENT, timeoutMs: HOUR_MS });
    const opened = nextEvent(engine, 'circuit');
    const running = engine.run(requests(server, 20));
    await opened;
    const arrived = server.arrived.length;
    await engine.close({ mode: 'abort' });
    assert.deepEqual(tally(ends((await running).outcomes)), { ABORTED: 20 });
    assert.equal(server.arrived.length, arrived);
  });

  it('"drain" while it is half-open finishes everything', async (t) => {
    const { engine, server, running } = await probing(t);
    const closing = engine.close();
    assert.equal(server.held.length, 1);
    server.release();
    assertAllOk(await running, 20);
    await closing;
  });

  it('"drain" while it is half-open comes back also if the probe fails', async (t) => {
    const { engine, probe, running } = await probing(t);
    const closing = engine.close();
    probe.answer(500);
    assert.deepEqual(tally(ends((await running).outcomes)), { CIRCUIT_OPEN: 20 });
    await closing;
  });

  it('"abort" while it is half-open ends everything', async (t) => {
    const { engine, server, running, log } = await probing(t);
    await engine.close({ mode: 'abort' });
    assert.deepEqual(tally(ends((await running).outcomes)), { ABORTED: 20 });
    await server.until(() => server.aborted === 1);
    assert.deepEqual(log.changes, ['closed > open', 'open > half-open']);
  });
});

test('an abort while it is open ends its own batch at once, and no other', async (t) => {
  const server = await HeldServer.start(t);
  const engine = makeEngine(t, { circuit: { ...THREE_IN_ROW, openMs: 300 }, retry: PATIENT });
  const log = new CircuitLog(engine);
  downUntilOpen(server, engine);
  const controller = new AbortController();
  const first = engine.run(requests(server, 20), { signal: controller.signal });
  await log.until(1);
  const second = engine.run(requests(server, 20));
  controller.abort();
  assert.deepEqual(tally(ends((await first).outcomes)), { ABORTED: 20 });
  assert.deepEqual([engine.stats().circuit, engine.stats().batches], ['open', 1]);
  await server.waitFor(1);
  server.release();
  assertAllOk(await second, 20);
});

test('an abort while the requests in flight are waited for ends its batch, and the circuit opens all the same', async (t) => {
  const { board, engine, log } = openUpstream(t, { concurrency: 4, circuit: { ...THREE_IN_ROW, openMs: HOUR_MS } });
  board.set(CELL.isDown, 0);
  const controller = new AbortController();
  const running = engine.run([{ does: 'waits' }], { signal: controller.signal });
  await until(() => board.get(CELL.running) === 1);
  const failing = engine.run(count(3).map((): Act => ({ does: 'fails' })));
  await until(() => engine.stats().isPaused);
  assert.deepEqual([engine.stats().circuit, board.get(CELL.running)], ['closed', 1]);
  controller.abort();
  assert.deepEqual(ends((await running).outcomes), ['ABORTED']);
  assert.deepEqual(tally(ends((await failing).outcomes)), { CIRCUIT_OPEN: 3 });
  assert.deepEqual(log.changes, ['closed > open']);
});

test('listeners that close the engine when it opens, or start a batch, do no harm', async (t) => {
  const server = await HeldServer.start(t);
  server.onRequest = (request) => request.answer(500);
  const starting = makeEngine(t, { circuit: { ...THREE_IN_ROW, whenOpen: 'fail', openMs: HOUR_MS }, retry: PATIENT });
  const started: Promise<unknown>[] = [];
  starting.once('circuit', () =>
    started.push(starting.run(requests(server, 3)).then(({ outcomes }) => ends(outcomes))),
  );
  await starting.run(requests(server, 5));
  assert.deepEqual(await Promise.all(started), [['CIRCUIT_OPEN', 'CIRCUIT_OPEN', 'CIRCUIT_OPEN']]);

  const closing = makeEngine(t, { circuit: { ...THREE_IN_ROW, openMs: HOUR_MS }, retry: PATIENT, timeoutMs: HOUR_MS });
  const closed = new Promise((resolve) => {
    closing.once('circuit', () => resolve(closing.close({ mode: 'abort' })));
  });
  assert.deepEqual(tally(ends((await closing.run(requests(server, 5))).outcomes)), { ABORTED: 5 });
  await closed;
});
