import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { MessageChannel } from 'node:worker_threads';
import { createEngine, type EngineOptions, InvalidOptionError, type TraceLine } from '../../lib/index.ts';
import { END, type Reply } from '../../lib/protocol.ts';
import { ReplyBuffer } from '../../workers/reply-buffer.ts';
import {
  assertAllOk,
  makeCustomEngine,
  makeEngine,
  QUICK_RETRY,
  requests,
  startSim,
  statsWhen,
} from '../support/engine-bench.ts';
import type { Act } from './fixtures/acts.ts';
import type { Script } from './fixtures/script.ts';
import { auditOf, linesOf, makeCells, makeStage, timesIn, tracePath, until } from './support.ts';

const ACTS = new URL('./fixtures/acts.js', import.meta.url);

const isSent = ({ sentNs, startedNs }: TraceLine) => sentNs !== undefined || startedNs !== undefined;

/** Run acts to their end in an engine that keeps a trace; returns the lines of the items. */
async function traceActs(t: TestContext, acts: readonly Act['kind'][], options: EngineOptions = {}) {
  const trace = tracePath(t);
  const handlerData = new Int32Array(new SharedArrayBuffer(8));
  const engine = makeCustomEngine<Act, string>(t, { handler: ACTS, handlerData, trace, ...options });
  const { outcomes } = await engine.run(acts.map((kind) => ({ kind })));
  await engine.close();
  const lines = linesOf(trace);
  return { trace, outcomes, lines, of: (item: number) => lines.filter((line) => line.item === item) };
}

describe('the trace of an engine', { concurrency: 2 }, () => {
  it('proves that the limit was kept, and would show if it was not', async (t) => {
    const trace = tracePath(t);
    const [limit, windowMs, items] = [10, 500, 40];
    const sim = await startSim(t, { limit, windowMs, algorithm: 'sliding-log', serviceTimeMs: [50, 100] });
    const engine = makeEngine(t, { rate: { limit, windowMs }, trace: pathToFileURL(trace) });
    assertAllOk(await engine.run(requests(sim, items)), items);
    await engine.close();

    const lines = linesOf(trace);
    const arrivals = await sim.arrivals();
    assert.equal(arrivals.length, items);
    assert.deepEqual(
      lines.map(({ item }) => item).sort((a, b) => a - b),
      [...Array(items).keys()],
    );
    for (const { key, atNs } of arrivals) {
      const line = lines.find(({ item }) => String(item) === key);
      assert.deepEqual([line?.verdict, line?.attempt, timesIn(line)], ['ok', 1, ['startedNs', 'sentNs', 'answeredNs']]);
      assert.ok(atNs <= BigInt(line?.answeredNs ?? -1), 'counted before it was answered');
    }

    const kept = await auditOf(trace, { limit, windowMs });
    assert.deepEqual([kept.holds, kept.sent, kept.worst?.count], [true, items, limit]);
    assert.equal((await auditOf(trace, { limit: limit - 1, windowMs })).holds, false);
  });

  it('has refused and cancelled attempts, and those that were not started', async (t) => {
    const trace = tracePath(t);
    const items = 20;
    const rate = { limit: 8, windowMs: 100 };
    const sim = await startSim(t, { serviceTimeMs: 30, faults: [{ kind: 'refuse', at: 4 }] });
    const engine = makeEngine(t, { rate, trace });
    const result = await engine.run(requests(sim, items));
    await engine.close();
    assertAllOk(result, items);

    const lines = linesOf(trace);
    const sent = lines.filter(isSent);
    const { total } = await statsWhen(sim, (stats) => stats.total >= sent.length);
    assert.equal(sent.length, total, 'one line for each request that the server has seen');
    assert.equal(lines.filter(({ verdict }) => verdict === 'ok').length, items);
    const refused = lines.filter(({ verdict }) => verdict === 'refused');
    assert.deepEqual(refused.map(timesIn), [['startedNs', 'sentNs', 'answeredNs']]);
    const cancelled = sent.filter(({ verdict }) => verdict === 'cancelled');
    assert.equal(cancelled.length, result.summary.cancelled);
    for (const line of cancelled) assert.deepEqual(timesIn(line), ['startedNs', 'sentNs', 'abandonedNs']);
    for (const line of lines) if (line.verdict === 'not-started') assert.deepEqual(timesIn(line), []);
    assert.equal((await auditOf(trace, rate)).holds, true);
  });

  it('has what a refusal stops: an attempt in flight, and one that waits for its token', async (t) => {
    const rate = { limit: 2, windowMs: 50 };
    const { engine, trace, cells } = makeStage(t, { threads: 1, concurrency: 3, rate });
    const [refuses, goesOn] = [1, 2];
    engine.on('rateLimited', () => Atomics.store(cells, goesOn, 1));
    const running = engine.run([['sent', { await: refuses }, 'refuse once'], ['sent', { await: goesOn }], []]);
    await until(() => engine.stats().inFlight === 2 && engine.stats().waiting === 1);
    Atomics.store(cells, refuses, 1);
    await running;
    await engine.close();
    const lines = linesOf(trace);
    const first = lines.filter(({ verdict }) => verdict !== 'ok').sort((a, b) => a.item - b.item);
    assert.deepEqual(
      first.map((line) => [line.verdict, ...timesIn(line)]),
      [
        ['refused', 'startedNs', 'sentNs', 'answeredNs'],
        ['cancelled', 'startedNs', 'sentNs', 'abandonedNs'],
        ['not-started'],
      ],
    );
    assert.equal(lines.filter(({ verdict }) => verdict === 'ok').length, 3);
    assert.equal((await auditOf(trace, rate)).holds, true);
  });

  it('has each hop of a redirect, with a token of its own', async (t) => {
    const arrivedNs = new Map<string, bigint>();
    const server = createServer((request, response) => {
      arrivedNs.set(request.url ?? '', process.hrtime.bigint());
      if (request.url === '/c') response.end('there');
      else response.writeHead(302, { location: request.url === '/a' ? '/b' : '/c' }).end();
    }).listen(0, '127.0.0.1');
    t.after(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const rate = { limit: 2, windowMs: 50 };
    const trace = tracePath(t);
    const engine = makeEngine(t, { rate, trace, http: { maxRedirects: 2 } });
    const { outcomes } = await engine.run([{ url: `http://127.0.0.1:${port}/a` }]);
    await engine.close();
    assert.ok(outcomes[0]?.ok);
    const lines = linesOf(trace);
    assert.deepEqual(
      lines.map((line) => [line.request, line.verdict, ...timesIn(line)]),
      [undefined, 1, 2].map((request) => [request, 'ok', 'startedNs', 'sentNs', 'answeredNs']),
    );
    for (const [hop, path] of ['/a', '/b', '/c'].entries()) {
      const atNs = arrivedNs.get(path) ?? 0n;
      assert.ok(BigInt(lines[hop]?.sentNs ?? 0) <= atNs && atNs <= BigInt(lines[hop]?.answeredNs ?? 0), path);
    }
    assert.equal((await auditOf(trace, rate)).holds, true);
  });

  it('is judged by the time in which requests arrive, if the engine was told it', async (t) => {
    const rate = { limit: 2, windowMs: 50 };
    const arrivalWithinMs = 20;
    const { engine, trace } = makeStage(t, { concurrency: 6, rate: { ...rate, arrivalWithinMs } });
    // All are under way before the first one is answered.
    await engine.run(Array<Script>(6).fill(['sent', { meet: 6, atCell: 1 }, 'answered']));
    await engine.close();
    assert.equal((await auditOf(trace, rate)).worst?.count, 6);
    assert.equal((await auditOf(trace, { ...rate, arrivalWithinMs })).holds, true);
    assert.equal((await auditOf(trace, { ...rate, arrivalWithinMs: 1_000 })).worst?.count, 6);
  });

  it('shows that two engines do not share a limit', async (t) => {
    const rate = { limit: 2, windowMs: 50 };
    const cells = makeCells();
    const stages = [1, 2].map(() => makeStage(t, { rate }, cells));
    // Two requests of each engine are under way at a time.
    const items = Array<Script>(2).fill(['sent', { meet: 4, atCell: 1 }, 'answered']);
    await Promise.all(stages.map(({ engine }) => engine.run(items)));
    await Promise.all(stages.map(({ engine }) => engine.close()));
    for (const { trace } of stages) assert.equal((await auditOf(trace, rate)).holds, true);
    const both = tracePath(t);
    writeFileSync(both, stages.map(({ trace }) => readFileSync(trace, 'utf8')).join(''));
    assert.equal((await auditOf(both, rate)).worst?.count, 4);
    assert.equal((await auditOf(both, { ...rate, limit: 4 })).holds, true);
  });

  it('is the file of one engine at a time', async (t) => {
    const trace = tracePath(t);
    const engine = makeEngine(t, { trace });
    assert.throws(() => createEngine({ trace }), InvalidOptionError);
    await engine.close();
    await makeEngine(t, { trace }).close();
  });

  it('has attempts that timed out, failed, and were tried again', async (t) => {
    const trace = tracePath(t);
    const sim = await startSim(t, {
      faults: [
        { kind: 'hang', path: '/item/0', times: 1 },
        { kind: 'status', status: 500, path: '/item/1', times: 1 },
        { kind: 'status', status: 404, path: '/item/2' },
      ],
    });
    const engine = makeEngine(t, { timeoutMs: 1000, circuit: false, trace });
    await engine.run(requests(sim, 3));
    await engine.close();
    const lines = linesOf(trace);
    const story = [0, 1, 2].map((of) =>
      lines.filter(({ item }) => item === of).map((line) => [line.attempt, line.verdict, ...timesIn(line)]),
    );
    assert.deepEqual(story, [
      [
        [1, 'retry', 'startedNs', 'sentNs', 'abandonedNs'],
        [2, 'ok', 'startedNs', 'sentNs', 'answeredNs'],
      ],
      // An error is an answer only where it proves that the request was counted.
      [
        [1, 'retry', 'startedNs', 'sentNs', 'answeredNs'],
        [2, 'ok', 'startedNs', 'sentNs', 'answeredNs'],
      ],
      [[1, 'fatal', 'startedNs', 'sentNs', 'answeredNs']],
    ]);
  });

  it('has what was certainly not sent without times', async (t) => {
    const trace = tracePath(t);
    const engine = makeEngine(t, { retry: { ...QUICK_RETRY, maxAttempts: 2 }, trace });
    // Nobody listens at port 1.
    await engine.run([{ url: 'http://127.0.0.1:1/' }]);
    await engine.close();
    const lines = linesOf(trace);
    assert.equal(lines.length, 2);
    for (const line of lines) assert.deepEqual(timesIn(line), []);
  });

  it('has further requests of an attempt, each with times of its own', async (t) => {
    const rate = { limit: 4, windowMs: 50 };
    const { trace, lines, of } = await traceActs(t, ['plain', 'sends', ...Array(6).fill('asks for more')], { rate });
    assert.equal(lines.length, 2 + 6 * 3);
    assert.deepEqual(timesIn(of(0)[0]), ['startedNs', 'answeredNs']);
    assert.deepEqual(timesIn(of(1)[0]), ['startedNs', 'sentNs', 'answeredNs']);
    assert.deepEqual(
      of(2).map(({ request }) => request),
      [undefined, 1, 2],
    );
    for (const line of of(2)) assert.deepEqual(timesIn(line), ['startedNs', 'sentNs', 'answeredNs']);
    assert.equal((await auditOf(trace, rate)).holds, true);
  });

  it('tells the same without a limit', async (t) => {
    const { lines } = await traceActs(t, ['asks for more', 'plain']);
    assert.equal(lines.filter(isSent).length, 4);
  });

  it('has aborted attempts', async (t) => {
    const trace = tracePath(t);
    const cells = new Int32Array(new SharedArrayBuffer(8));
    const engine = makeCustomEngine<Act, string>(t, { handler: ACTS, handlerData: cells, trace });
    const stop = new AbortController();
    const running = engine.run([{ kind: 'waits' }], { signal: stop.signal });
    while (Atomics.load(cells, 1) === 0) await new Promise(setImmediate);
    stop.abort();
    await running;
    await engine.close();
    const lines = linesOf(trace);
    assert.deepEqual(
      lines.map((line) => [line.verdict, ...timesIn(line)]),
      [['aborted', 'startedNs', 'abandonedNs']],
    );
  });

  it('needs a file that can be written', (t) => {
    for (const trace of ['', join(tracePath(t), 'no', 'folder'), tmpdir(), 5]) {
      assert.throws(
        () => createEngine({ trace } as EngineOptions),
        (error: unknown) => error instanceof InvalidOptionError && error.message.includes('"trace"'),
      );
    }
  });
});

describe('without a trace', () => {
  it('replies are as they were', async (t) => {
    const { port1, port2 } = new MessageChannel();
    t.after(() => port1.close());
    for (const isTracing of [false, true]) {
      const buffer = new ReplyBuffer(port2, 1, isTracing);
      buffer.add(END.ok, 'value', 0, 1);
      buffer.flush(true);
      const [reply] = (await once(port1, 'message')) as [Reply];
      assert.deepEqual(reply.cells, isTracing ? [] : undefined);
    }
  });
});
