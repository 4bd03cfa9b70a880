import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEngine, type Engine } from '../../../lib/index.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { percentile, spreadColumns, spreadOf } from '../../harness/spread.ts';
import {
  atMost,
  type Chart,
  type Failure,
  type Mode,
  type PartResult,
  type Row,
  type Target,
} from '../../harness/suite.ts';
import { describeError, within } from '../../harness/within.ts';
import { CancelBoard } from './board.ts';
import type { CancelItem, CancelSetup } from './fixtures/waiting.ts';

const WARM_UPS = 16;
const LANES_PER_THREAD = 4;
const BLOCK_MS = 50;
const EVENT_LIMIT_MS = 20_000;
/** Events of each case in a whole run, of those without a goal, and in a quick one. From 100 on there is a p99. */
const EVENTS = 110;
const REPORTED_EVENTS = 100;
const QUICK_EVENTS = 20;

export interface CancelCase {
  readonly threads: number;
  readonly isBlocked: boolean;
  /** 99th percentile of the last abort; undefined where it is only reported. */
  readonly goalMs?: number;
}

/** Measure cases in turn, one event of each after the other. */
export async function runCancelCases(cases: readonly CancelCase[], mode: Mode): Promise<PartResult> {
  const watch = watchMachine();
  const running = cases.map((one) => new RunningCase(one, eventsOf(one, mode)));
  try {
    for (const one of running) await one.ready();
    const rounds = Math.max(...running.map(({ events }) => events));
    for (let round = -WARM_UPS; round < rounds; round++) for (const one of running) await one.event(round);
  } finally {
    await Promise.all(running.map((one) => one.close()));
  }
  const rows = running.map(rowOf);
  return {
    tables: [
      {
        title: `throw to abort, ${LANES_PER_THREAD} requests in flight per thread`,
        rows,
        notes: [
          'stamps in shared memory: one right before RateLimitError is thrown, one in the abort listener of every other item',
          'min, median, p99, max: of the last abort; events of all cases in turn',
          `blocked: the main thread runs a loop for ${BLOCK_MS} ms from just before the throw on`,
          describeDisturbance(watch()),
        ],
      },
    ],
    failures: running.flatMap(({ name, error }): Failure[] => (error === undefined ? [] : [{ who: name, error }])),
    targets: running.flatMap(targetsOf),
    charts: [chartOf(running)],
  };
}

function eventsOf({ goalMs }: CancelCase, { isQuick }: Mode): number {
  if (isQuick) return QUICK_EVENTS;
  return goalMs === undefined ? REPORTED_EVENTS : EVENTS;
}

/** One case and its engine, which rests while others have their event. */
class RunningCase {
  readonly name: string;
  readonly goalMs: number | undefined;
  readonly events: number;
  /** Of each event. */
  readonly lastMs: number[] = [];
  readonly firstMs: number[] = [];
  readonly #isBlocked: boolean;
  readonly #board: CancelBoard;
  readonly #engine: Engine<CancelItem, number>;
  error: string | undefined;

  constructor({ threads, isBlocked, goalMs }: CancelCase, events: number) {
    this.name = `${threads} threads, main thread ${isBlocked ? 'blocked' : 'idle'}`;
    this.goalMs = goalMs;
    this.events = events;
    this.#isBlocked = isBlocked;
    const items = threads * LANES_PER_THREAD;
    this.#board = new CancelBoard(items);
    this.#engine = createEngine<CancelItem, number>({
      handler: new URL('./fixtures/waiting.js', import.meta.url),
      handlerData: { items, buffer: this.#board.buffer } satisfies CancelSetup,
      threads,
      concurrency: items,
      retry: { initialMs: 1, maxMs: 1 },
    });
  }

  ready(): Promise<void> {
    return this.#attempt(() => this.#engine.ready());
  }

  /** The event of a round; those of negative rounds do not count. */
  async event(round: number): Promise<void> {
    if (round >= this.events) return;
    await this.#attempt(async () => {
      // Another item, and so another thread, throws each time.
      const thrower = (round + WARM_UPS) % this.#board.items;
      const delaysMs = await oneEvent(this.#engine, this.#board, thrower, this.#isBlocked);
      if (round < 0) return;
      this.lastMs.push(Math.max(...delaysMs));
      this.firstMs.push(Math.min(...delaysMs));
    });
  }

  async close(): Promise<void> {
    await this.#engine.close({ mode: 'abort' });
  }

  /** A case that fails is out; the others go on. */
  async #attempt(step: () => Promise<unknown>): Promise<void> {
    if (this.error !== undefined) return;
    try {
      await within(EVENT_LIMIT_MS, step());
    } catch (error) {
      this.error = describeError(error);
    }
  }
}

function rowOf({ name, lastMs, firstMs, error }: RunningCase): Row {
  if (error !== undefined) return { case: name, failed: error };
  return {
    case: name,
    events: lastMs.length,
    'first abort median ms': percentile(firstMs, 50),
    ...spreadColumns(spreadOf(lastMs), 'ms'),
    'p90 ms': percentile(lastMs, 90),
  };
}

function targetsOf({ name, lastMs, goalMs, error }: RunningCase): Target[] {
  if (goalMs === undefined) return [];
  const { p99, max } = spreadOf(error === undefined ? lastMs : []);
  // A quick run has too few events for a p99.
  return [atMost(`cancel, ${name}: ${p99 === undefined ? 'max' : 'p99'}`, p99 ?? max, goalMs, 'ms')];
}

function chartOf(cases: readonly RunningCase[]): Chart {
  return {
    title: 'From a refusal in one thread to the last abort in any',
    kind: 'bars',
    xLabel: '',
    yLabel: 'ms',
    x: cases.map(({ name }) => name),
    series: [
      { name: 'median', values: cases.map(({ lastMs }) => percentile(lastMs, 50)) },
      { name: 'p90', values: cases.map(({ lastMs }) => percentile(lastMs, 90)) },
      { name: 'p99', values: cases.map(({ lastMs }) => spreadOf(lastMs).p99) },
      { name: 'max', values: cases.map(({ lastMs }) => spreadOf(lastMs).max) },
    ],
  };
}

async function oneEvent(
  engine: Engine<CancelItem, number>,
  board: CancelBoard,
  thrower: number,
  isBlocked: boolean,
): Promise<number[]> {
  board.reset();
  const running = engine.run(Array.from({ length: board.items }, (_, index) => index === thrower));
  while (board.waiting < board.items - 1) await sleep(1);
  board.go();
  if (isBlocked) block(BLOCK_MS);
  const { summary } = await running;
  const delaysMs = board.delaysMs();
  if (summary.succeeded !== board.items || summary.rateLimitEvents !== 1 || delaysMs.length !== board.items - 1) {
    throw new Error(
      `Not one event that aborted all others: ${JSON.stringify({ ...summary, aborted: delaysMs.length })}`,
    );
  }
  return delaysMs;
}

function block(ms: number): void {
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs);
}
