import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import {
  type BatchResult,
  createEngine,
  type Engine,
  type EngineEvents,
  type EngineOptions,
  type ErrorCode,
  type HttpItem,
  type HttpValue,
} from '../../lib/index.ts';
import {
  type Simulator,
  type SimulatorOptions,
  type SimulatorStats,
  startSimulator,
} from '../../lib/simulator/index.ts';

/** Waits that are short, so that a test is quick; by number only, so that it can be told how long they are. */
export const QUICK_RETRY = { initialMs: 20, factor: 2, maxMs: 500, jitter: 0, adaptive: false } as const;

/** A simulator that ends with the test. Refuses nothing and answers at once unless told otherwise. */
export async function startSim(t: TestContext, options: SimulatorOptions = {}): Promise<Simulator> {
  const sim = await startSimulator({ algorithm: 'none', serviceTimeMs: 0, kis: false, refusal: '429', ...options });
  t.after(() => sim.close());
  return sim;
}

/** An engine that ends with the test, with two threads unless told otherwise. */
export function makeEngine(t: TestContext, options: EngineOptions = {}): Engine<HttpItem, HttpValue> {
  const engine = createEngine<HttpItem, HttpValue>({ threads: 2, retry: QUICK_RETRY, ...options });
  t.after(() => engine.close({ mode: 'abort' }));
  return engine;
}

/** The same for items and values of any kind. */
export function makeCustomEngine<Item, Value>(t: TestContext, options: EngineOptions): Engine<Item, Value> {
  const engine = createEngine<Item, Value>({ threads: 2, retry: QUICK_RETRY, ...options });
  t.after(() => engine.close({ mode: 'abort' }));
  return engine;
}

/** `count` requests, each of which the server can tell from the others by its `x-item` header. */
export function requests(sim: { readonly url: string }, count: number, rest: Omit<Partial<HttpItem>, 'url'> = {}) {
  return Array.from(
    { length: count },
    (_, index): HttpItem => ({
      url: `${sim.url}/item/${index}`,
      ...rest,
      headers: { ...rest.headers, 'x-item': String(index) },
    }),
  );
}

type RecoveryEvent = 'rateLimited' | 'paused' | 'resumed' | 'workerExit' | 'retry';

/** An event of an engine, and when it was heard, on the clock of `process.hrtime`. */
export type Heard = {
  [E in RecoveryEvent]: { readonly event: E; readonly atNs: bigint } & EngineEvents[E];
}[RecoveryEvent];

/** Everything that an engine says of its recovery, in order. */
export class EventLog {
  readonly all: Heard[] = [];
  #isStopped = false;

  constructor(engine: Pick<Engine<unknown, unknown>, 'on'>) {
    for (const event of ['rateLimited', 'paused', 'resumed', 'workerExit', 'retry'] as const) {
      engine.on(event, (data) => {
        if (!this.#isStopped) this.all.push({ event, atNs: process.hrtime.bigint(), ...data } as Heard);
      });
    }
  }

  /** Listen no more, for an engine that goes on to do other things. */
  stop(): void {
    this.#isStopped = true;
  }

  of<E extends RecoveryEvent>(event: E): Extract<Heard, { event: E }>[] {
    return this.all.filter((heard): heard is Extract<Heard, { event: E }> => heard.event === event);
  }

  /** The names alone, without those that are not asked for. */
  order(...events: RecoveryEvent[]): RecoveryEvent[] {
    return this.all.map(({ event }) => event).filter((event) => events.includes(event));
  }
}

/** The next event of a kind. */
export function nextEvent<E extends keyof EngineEvents>(
  engine: Pick<Engine<unknown, unknown>, 'once'>,
  event: E,
): Promise<EngineEvents[E]> {
  return new Promise((resolve) => engine.once(event, resolve));
}

/** Ask for the numbers until they are as expected, or for ten seconds: what a client does reaches a server in its own time. */
export async function statsWhen(sim: Simulator, isRight: (stats: SimulatorStats) => boolean): Promise<SimulatorStats> {
  const giveUpNs = process.hrtime.bigint() + 10_000_000_000n;
  for (;;) {
    const stats = await sim.stats();
    if (isRight(stats) || process.hrtime.bigint() > giveUpNs) return stats;
  }
}

/** Every item has its outcome, in order, and the summary says the same as the outcomes. */
export function assertComplete(result: BatchResult, count: number): void {
  const { outcomes, summary } = result;
  assert.equal(outcomes.length, count);
  const errors: Partial<Record<ErrorCode, number>> = {};
  let failed = 0;
  for (const [position, outcome] of outcomes.entries()) {
    assert.equal(outcome.index, position);
    if (outcome.ok) continue;
    failed++;
    errors[outcome.error.code] = (errors[outcome.error.code] ?? 0) + 1;
  }
  assert.deepEqual(
    { total: summary.total, succeeded: summary.succeeded, failed: summary.failed, errors: summary.errors },
    { total: count, succeeded: count - failed, failed, errors },
  );
  assert.equal(summary.errorRate, count === 0 ? 0 : failed / count);
}

/** The same, and all of them succeeded. */
export function assertAllOk(result: BatchResult, count: number): void {
  for (const outcome of result.outcomes) assert.ok(outcome.ok, outcome.ok ? '' : JSON.stringify(outcome.error));
  assertComplete(result, count);
}

/** The server has seen exactly what the engine says it has sent. Returns the server's numbers. */
export async function assertSentAsSeen(sim: Simulator, ...results: BatchResult[]): Promise<SimulatorStats> {
  const sent = results.reduce((sum, { summary }) => sum + summary.requestsSent, 0);
  const stats = await statsWhen(sim, ({ total, pending }) => total >= sent && pending === 0);
  assert.equal(stats.total, sent, 'requests that the server saw, and requests that the engine says it sent');
  return stats;
}

/** How often each item reached the server. */
export async function arrivalsByItem(sim: Simulator): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (const { key } of await sim.arrivals()) if (key !== undefined) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}
