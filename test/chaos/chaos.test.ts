import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { Auditor } from '../../lib/audit/audit.ts';
import { readTrace } from '../../lib/audit/read-trace.ts';
import type { TraceLine } from '../../lib/audit/trace-line.ts';
import { createEngine, type HttpValue, type Outcome } from '../../lib/index.ts';
import type { Arrival } from '../../lib/simulator/index.ts';
import { assertAllOk, assertComplete, startSim, statsWhen } from '../support/engine-bench.ts';
import { BY_TEST, type ChaosCells, type ChaosItem, newCells } from './fixtures/chaos-http.ts';
import { type ChaosPlan, HUGE_BODY_BYTES, leastDeaths, pathOf, planChaos } from './plan.ts';
import { complaintOf, type Evidence, mayRunTwice } from './verdict.ts';

const LONG = process.env.SLUICEGATE_LONG === '1';
const SEED = Number(process.env.SLUICEGATE_SEED ?? Math.floor(Math.random() * 2 ** 32));
const TWENTIES = LONG ? 10 : 1;
const ITEMS = 2_000 * TWENTIES;
const THREADS = 3;
const CONCURRENCY = 24;
const TIMEOUT_MS = 1_000;
/** Low enough to be what slows the run, between the pauses. */
const RATE = { limit: 250, windowMs: 1_000, straggleMs: 1_000 };
/** Threads that do not live to take up work. */
const STILLBORN = 2 * TWENTIES;

/** The threads that this process starts from now on, but not before. */
class Threads {
  readonly alive = new Map<number, Worker>();
  readonly onStart: ((worker: Worker) => void)[] = [];

  constructor(t: TestContext) {
    const adopt = (worker: Worker) => {
      const { threadId } = worker;
      this.alive.set(threadId, worker);
      worker.once('exit', () => this.alive.delete(threadId));
      for (const tell of this.onStart) tell(worker);
    };
    process.on('worker', adopt);
    t.after(() => process.off('worker', adopt));
  }
}

/** Ends threads from outside: some at work, as soon as the plan says so, and some before they have come to life. */
class Reaper {
  readonly #threads: Threads;
  readonly #cells: ChaosCells;
  readonly #kills: number[];
  #stillborn = STILLBORN;
  killed = 0;

  constructor(threads: Threads, cells: ChaosCells, plan: ChaosPlan) {
    this.#threads = threads;
    this.#cells = cells;
    this.#kills = [...plan.kills];
  }

  /** So many items are done. */
  note(done: number): void {
    while ((this.#kills[0] ?? Number.POSITIVE_INFINITY) <= done) {
      const { isAtWork } = this.#cells;
      const working = [...this.#threads.alive.values()].filter(
        ({ threadId }) => Atomics.load(isAtWork, threadId) === 1,
      );
      // If there is none at this moment, one of the next items finds one.
      if (!working.some((worker) => this.#end(worker))) return;
      this.#kills.shift();
      this.killed++;
    }
  }

  /** Every other replacement, so that no five in a row fail, which the engine would take for a reason to give up. */
  watchBirths(): void {
    let births = 0;
    this.#threads.onStart.push((worker) => {
      if (births++ % 2 === 0 || this.#stillborn === 0) return;
      this.#stillborn--;
      this.#end(worker);
    });
  }

  /** False if somebody else is at it. */
  #end(worker: Worker): boolean {
    if (Atomics.compareExchange(this.#cells.killers, worker.threadId, 0, BY_TEST) !== 0) return false;
    void worker.terminate();
    return true;
  }
}

function linesOf(trace: string): TraceLine[] {
  const lines = readFileSync(trace, 'utf8').trimEnd().split('\n').slice(1, -1);
  return lines.map((line) => JSON.parse(line) as TraceLine);
}

const isSent = ({ sentNs, startedNs }: TraceLine) => sentNs !== undefined || startedNs !== undefined;

function groupBy<T>(values: readonly T[], keyOf: (value: T) => number): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  for (const value of values) {
    const key = keyOf(value);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [value]);
    else group.push(value);
  }
  return groups;
}

/** The server's record and what the engine says of itself tell the same story. */
function assertSameStory(
  outcomes: readonly Outcome<HttpValue>[],
  arrivals: readonly Arrival[],
  evidence: Evidence,
): void {
  const { plan, trace } = evidence;
  assert.equal(new Set(arrivals.map(({ key }) => key)).size, arrivals.length, 'no call of a handler was sent twice');
  const arrivalsOf = groupBy(arrivals, ({ key }) => Number(key?.split('.')[0]));
  const linesOfItem = groupBy(trace, ({ item }) => item);
  const successes = new Set<number>();
  for (const outcome of outcomes) {
    const { index } = outcome;
    const item = plan.items[index];
    const seen = arrivalsOf.get(index) ?? [];
    const what = () =>
      JSON.stringify(
        { outcome, seen: seen.map(({ n, status }) => [n, status]), lines: linesOfItem.get(index) },
        bigintAsText,
      );
    const sent = (linesOfItem.get(index) ?? []).filter(isSent).length;
    assert.ok(seen.length <= sent, `the server saw more requests of an item than were sent: ${what()}`);
    const executed = seen.filter(({ n }) => !plan.refused.has(n));
    if (item !== undefined && !mayRunTwice(item))
      assert.ok(executed.length <= 1, `it ran twice, but must not: ${what()}`);
    if (!outcome.ok) continue;
    const body = outcome.value.body as { readonly n: number; readonly path: string };
    const answer = arrivals[body.n - 1];
    assert.deepEqual([answer?.status, answer?.path, body.path], [200, pathOf(index), pathOf(index)], what());
    assert.ok(seen.some(({ n }) => n === body.n) && !successes.has(body.n), `it has the answer of another: ${what()}`);
    successes.add(body.n);
  }
}

/** By the server's record; requests that were so late that no promise was made about them are let pass. */
function assertLimitHeld(maxInWindow: number, arrivals: readonly Arrival[], trace: readonly TraceLine[]): void {
  const linesOfItem = groupBy(trace, ({ item }) => item);
  const straggleNs = BigInt(RATE.straggleMs) * 1_000_000n;
  const late = arrivals.filter(({ atNs, key }) => {
    const lines = linesOfItem.get(Number(key?.split('.')[0])) ?? [];
    return !lines.some(({ sentNs, startedNs, answeredNs, abandonedNs }) => {
      const fromNs = sentNs ?? startedNs;
      const lastNs = answeredNs === undefined ? BigInt(abandonedNs ?? 0) + straggleNs : BigInt(answeredNs);
      return fromNs !== undefined && BigInt(fromNs) <= atNs && atNs <= lastNs;
    });
  });
  assert.ok(
    maxInWindow <= RATE.limit + late.length,
    `${maxInWindow} requests in a window, ${late.length} of them late`,
  );
}

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await sleep(5);
}

test(`threads die and the server misbehaves through ${ITEMS} items`, async (t) => {
  t.diagnostic(`SLUICEGATE_SEED=${SEED}`);
  const folder = mkdtempSync(join(tmpdir(), 'sluicegate-chaos-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const trace = join(folder, 'trace.jsonl');
  const plan = planChaos(SEED, ITEMS, TWENTIES);
  const sim = await startSim(t, {
    algorithm: 'sliding-log',
    limit: RATE.limit,
    windowMs: RATE.windowMs,
    serviceTimeMs: [1, 25],
    faults: plan.faults,
    seed: SEED,
  });
  const threads = new Threads(t);
  const cells = newCells(ITEMS);
  const engine = createEngine<ChaosItem, HttpValue>({
    handler: new URL('./fixtures/chaos-http.js', import.meta.url),
    handlerData: cells,
    http: { baseUrl: sim.url, maxBodyBytes: HUGE_BODY_BYTES / 2 },
    threads: THREADS,
    concurrency: CONCURRENCY,
    rate: RATE,
    timeoutMs: TIMEOUT_MS,
    killGraceMs: 100,
    cancelGraceMs: 300,
    retry: { initialMs: 20, maxMs: 200, maxRefusals: 100, adaptive: false },
    circuit: false,
    resourceLimits: { maxOldGenerationSizeMb: 64 },
    trace,
  });
  t.after(() => engine.close({ mode: 'abort' }));
  const exits = new Map<number, string>();
  engine.on('workerExit', ({ threadId, reason }) => exits.set(threadId, reason));
  await engine.ready();

  const reaper = new Reaper(threads, cells, plan);
  reaper.watchBirths();
  const startedMs = performance.now();
  const result = await engine.run(plan.items, { progressInterval: 1, onProgress: ({ done }) => reaper.note(done) });
  const tookMs = performance.now() - startedMs;
  // The threads of before, and all of them.
  await until(() => engine.stats().threadsReady === THREADS && threads.alive.size === THREADS);
  const seen = await statsWhen(sim, ({ pending }) => pending === 0);
  const arrivals = await sim.arrivals();
  t.diagnostic(
    JSON.stringify({ tookMs: Math.round(tookMs), exits: exits.size, faults: seen.faults, ...result.summary.errors }),
  );

  // What is left works as at first: all lanes at once, then a batch without a mishap.
  await sim.setFaults([{ kind: 'hang' }]);
  const stop = new AbortController();
  const healthy = (count: number, from: number) =>
    plan.items.slice(from, from + count).map(({ index }): ChaosItem => ({ index, url: pathOf(index) }));
  const hanging = engine.run(healthy(2 * CONCURRENCY, 0), { signal: stop.signal });
  await until(() => engine.stats().inFlight === CONCURRENCY);
  stop.abort();
  assert.equal((await hanging).summary.errors.ABORTED, 2 * CONCURRENCY);
  await sim.setFaults([]);
  assertAllOk(await engine.run(healthy(100, 0)), 100);
  await until(() => engine.stats().tokens.every(({ total, free }) => total === RATE.limit && free === total));
  await engine.close();
  assert.equal(threads.alive.size, 0);
  await until(async () => (await sim.stats()).openSockets === 0);

  const lines = linesOf(trace).filter(({ batch }) => batch === 1);
  const evidence: Evidence = { plan, cells, exits, trace: lines, timeoutMs: TIMEOUT_MS };
  assertComplete(result, ITEMS);
  const complaints = result.outcomes.flatMap((outcome) => {
    const complaint = complaintOf(outcome, evidence);
    return complaint === undefined
      ? []
      : [
          {
            complaint,
            outcome,
            lines: lines.filter(({ item }) => item === outcome.index),
            item: plan.items[outcome.index],
            trouble: plan.troubles.get(outcome.index),
          },
        ];
  });
  assert.deepEqual(complaints, []);
  assertSameStory(result.outcomes, arrivals, evidence);

  // Our own record, whatever the server saw; and the server's.
  const auditor = new Auditor(RATE);
  for await (const { entry } of readTrace(trace)) {
    if (entry.kind === 'attempt' && entry.times !== undefined) auditor.add(entry.times);
  }
  const verdict = auditor.verdict();
  assert.ok(verdict.holds, `${verdict.worst?.count} requests can have been counted in one window`);
  assertLimitHeld(seen.maxInWindow, arrivals, lines);

  // Without them nothing was shown.
  assert.ok(exits.size >= leastDeaths(TWENTIES) + STILLBORN, `only ${exits.size} threads ended`);
  assert.equal(reaper.killed, plan.kills.length);
  assert.ok(Object.keys(seen.faults).length >= 12, `only these faults: ${Object.keys(seen.faults)}`);
});
