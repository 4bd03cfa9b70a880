import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEngine, type Engine } from '../../../lib/index.ts';
import { percentile } from '../../harness/alternate.ts';
import { watchMachine } from '../../harness/disturbance.ts';
import { atMost, type Mode, type PartResult, type Row, type Target } from '../../harness/suite.ts';
import { CancelBoard } from './board.ts';
import type { CancelItem, CancelSetup } from './fixtures/waiting.ts';

const WARM_UPS = 16;
const LANES_PER_THREAD = 4;
const BLOCK_MS = 50;
/** Events of each case in a whole run, and in a quick one. */
const EVENTS = 200;
const QUICK_EVENTS = 20;

export interface CancelCase {
  readonly threads: number;
  readonly isBlocked: boolean;
  /** 99th percentile of the last abort; undefined where it is only reported, by half as many events. */
  readonly goalMs?: number;
}

/** Measure cases one after the other. */
export async function runCancelCases(cases: readonly CancelCase[], mode: Mode): Promise<PartResult> {
  const rows: Row[] = [];
  const targets: Target[] = [];
  for (const one of cases) {
    const watch = watchMachine();
    const { lastMs, firstMs } = await measure(one, eventsOf(one, mode));
    const name = `${one.threads} threads, main thread ${one.isBlocked ? 'blocked' : 'idle'}`;
    const p99 = percentile(lastMs, 99);
    rows.push({
      case: name,
      events: lastMs.length,
      'first abort p50 ms': percentile(firstMs, 50),
      'last p50 ms': percentile(lastMs, 50),
      'last p90 ms': percentile(lastMs, 90),
      'last p99 ms': p99,
      'last max ms': Math.max(...lastMs),
      'others cores': watch().others,
    });
    if (one.goalMs !== undefined) targets.push(atMost(`cancel, ${name}: p99`, p99, one.goalMs, 'ms'));
  }
  const column = (name: string) => rows.map((row) => Number(row[name]));
  return {
    tables: [
      {
        title: `throw to abort, ${LANES_PER_THREAD} requests in flight per thread`,
        rows,
        notes: [
          'stamps in shared memory: one right before RateLimitError is thrown, one in the abort listener of every other item',
          `blocked: the main thread runs a loop for ${BLOCK_MS} ms from just before the throw on`,
        ],
      },
    ],
    targets,
    charts: [
      {
        title: 'From a refusal in one thread to the last abort in any',
        kind: 'bars',
        xLabel: '',
        yLabel: 'ms',
        x: rows.map((row) => String(row.case)),
        series: ['last p50 ms', 'last p90 ms', 'last p99 ms'].map((name) => ({ name, values: column(name) })),
      },
    ],
  };
}

function eventsOf({ goalMs }: CancelCase, { isQuick }: Mode): number {
  if (isQuick) return QUICK_EVENTS;
  return goalMs === undefined ? EVENTS / 2 : EVENTS;
}

async function measure(
  { threads, isBlocked }: CancelCase,
  events: number,
): Promise<{ lastMs: number[]; firstMs: number[] }> {
  const items = threads * LANES_PER_THREAD;
  const board = new CancelBoard(items);
  const engine = createEngine<CancelItem, number>({
    handler: new URL('./fixtures/waiting.js', import.meta.url),
    handlerData: { items, buffer: board.buffer } satisfies CancelSetup,
    threads,
    concurrency: items,
    retry: { initialMs: 1, maxMs: 1 },
  });
  const lastMs: number[] = [];
  const firstMs: number[] = [];
  try {
    await engine.ready();
    for (let event = -WARM_UPS; event < events; event++) {
      // Another item, and so another thread, throws each time.
      const delaysMs = await oneEvent(engine, board, (event + WARM_UPS) % items, isBlocked);
      if (event < 0) continue;
      lastMs.push(Math.max(...delaysMs));
      firstMs.push(Math.min(...delaysMs));
    }
  } finally {
    await engine.close({ mode: 'abort' });
  }
  return { lastMs, firstMs };
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
