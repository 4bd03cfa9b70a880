import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEngine, type Engine } from '../../../lib/index.ts';
import { percentile } from '../../harness/alternate.ts';
import { watchMachine } from '../../harness/disturbance.ts';
import { atMost, type Part, type Row, type Target } from '../../harness/suite.ts';
import { CancelBoard } from './cancel-board.ts';
import type { CancelItem, CancelSetup } from './fixtures/cancel.ts';

const EVENTS = 200;
const WARM_UPS = 16;
const LANES_PER_THREAD = 4;
const BLOCK_MS = 50;
const GOAL_MS = 5;

interface Case {
  readonly threads: number;
  readonly isBlocked: boolean;
}

const CASES: readonly Case[] = [2, 4].flatMap((threads) => [
  { threads, isBlocked: false },
  { threads, isBlocked: true },
]);

/** From a rate-limit error in one thread to the abort of the last request in flight in any thread. */
export const cancel: Part = {
  name: 'cancel',
  title: 'from detection to the last abort',
  async run() {
    const rows: Row[] = [];
    const targets: Target[] = [];
    for (const one of CASES) {
      const watch = watchMachine();
      const { lastMs, firstMs } = await measure(one);
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
      targets.push(atMost(`cancel, ${name}: p99`, p99, GOAL_MS, 'ms'));
    }
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
    };
  },
};

async function measure({ threads, isBlocked }: Case): Promise<{ lastMs: number[]; firstMs: number[] }> {
  const items = threads * LANES_PER_THREAD;
  const board = new CancelBoard(items);
  const engine = createEngine<CancelItem, number>({
    handler: new URL('./fixtures/cancel.js', import.meta.url),
    handlerData: { items, buffer: board.buffer } satisfies CancelSetup,
    threads,
    concurrency: items,
    retry: { initialMs: 1, maxMs: 1 },
  });
  const lastMs: number[] = [];
  const firstMs: number[] = [];
  try {
    await engine.ready();
    for (let event = -WARM_UPS; event < EVENTS; event++) {
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
