import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEngine, type Engine } from '../../../lib/index.ts';
import { planLimits } from '../../../lib/limit/plan.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { median, spreadOf } from '../../harness/spread.ts';
import type { Failure, Part, Row } from '../../harness/suite.ts';
import { describeError, within } from '../../harness/within.ts';
import { workItems } from '../dispatch/spin.ts';

const LIMITS = [10, 100, 1_000, 10_000, 100_000];
const QUICK_LIMITS = [10, 1_000];
const WINDOW_MS = 1000;
/** How often all tokens are used in a round. */
const BURSTS = 2;
const ROUNDS = 2;
const ROUND_LIMIT_MS = 20_000;
const THREADS = 2;
const IN_WORK = 16;
/** How often to look if all tokens are free again. */
const LOOK_MS = 20;

/** Items that do nothing, under limits of all sizes: what is not waiting is cost. */
export const limits: Part = {
  name: 'limits',
  title: `limits of 10 to 100,000 per ${WINDOW_MS} ms, no-op items, ${THREADS} threads`,
  async run({ isQuick }) {
    const watch = watchMachine();
    const all = (isQuick ? QUICK_LIMITS : LIMITS).map((limit) => new Case(limit));
    try {
      // The first round is the warm-up.
      for (let round = isQuick ? 0 : -1; round < (isQuick ? 1 : ROUNDS); round++) {
        for (const one of all) await one.round(round >= 0);
      }
    } finally {
      await Promise.all(all.map((one) => one.close()));
    }
    return {
      tables: [
        {
          title: 'cost by limit',
          rows: all.map(rowOf),
          notes: [
            `a round: all tokens ${BURSTS} times, from the first of them to the last outcome; rounds in turn`,
            'least possible: all tokens at once, and again after each window',
            'a limit over 65,536 is planned as half of it in half of the window',
            describeDisturbance(watch()),
          ],
        },
      ],
      failures: all.flatMap(({ limit, error }): Failure[] =>
        error === undefined ? [] : [{ who: `${limit} per ${WINDOW_MS} ms`, error }],
      ),
      targets: [],
      charts: [
        {
          title: 'CPU time of an item by limit',
          kind: 'bars',
          xLabel: `per ${WINDOW_MS} ms`,
          yLabel: 'us per item',
          x: all.map(({ limit }) => limit.toLocaleString('en-US')),
          series: [{ name: 'CPU', values: all.map(({ cpuMs, items }) => (median(cpuMs) / items) * 1e3) }],
        },
      ],
    };
  },
};

/** One limit and its engine, which rests while others have their round. */
class Case {
  readonly limit: number;
  readonly items: number;
  /** Of each round. */
  readonly elapsedMs: number[] = [];
  /** CPU time of all threads of the process, of each round. */
  readonly cpuMs: number[] = [];
  readonly #engine: Engine<number, number>;
  error: string | undefined;

  constructor(limit: number) {
    this.limit = limit;
    this.items = limit * BURSTS;
    this.#engine = createEngine<number, number>({
      handler: new URL('../dispatch/fixtures/work.js', import.meta.url),
      rate: { limit, windowMs: WINDOW_MS },
      threads: THREADS,
      concurrency: IN_WORK,
    });
  }

  /** A case that fails is out; the others go on. */
  async round(isTimed: boolean): Promise<void> {
    if (this.error !== undefined) return;
    try {
      await within(ROUND_LIMIT_MS, this.#measure(isTimed));
    } catch (error) {
      this.error = describeError(error);
    }
  }

  async #measure(isTimed: boolean): Promise<void> {
    await this.#engine.ready();
    while (this.#engine.stats().tokens.some(({ free, total }) => free < total)) await sleep(LOOK_MS);
    const items = workItems(this.items, 0);
    const cpuBefore = process.cpuUsage();
    const startedMs = performance.now();
    const { summary } = await this.#engine.run(items);
    const elapsedMs = performance.now() - startedMs;
    const { user, system } = process.cpuUsage(cpuBefore);
    if (summary.succeeded !== items.length) throw new Error(`Only ${summary.succeeded} items succeeded.`);
    if (!isTimed) return;
    this.elapsedMs.push(elapsedMs);
    this.cpuMs.push((user + system) / 1e3);
  }

  /** All tokens are used at once, and again after each window. */
  leastMs(): number {
    const options = { windowMs: WINDOW_MS, spacingMs: 0, straggleMs: WINDOW_MS, initial: 'full' } as const;
    const [planned] = planLimits([{ ...options, tokens: this.limit, arrivalWithinMs: Number.POSITIVE_INFINITY }]);
    if (planned === undefined) throw new Error('No limit was planned.');
    return ((Math.ceil(this.items / planned.tokens) - 1) * Number(planned.windowNs)) / 1e6;
  }

  close(): Promise<void> {
    return this.#engine.close({ mode: 'abort' });
  }
}

function rowOf(one: Case): Row {
  const { limit, items, elapsedMs, cpuMs, error } = one;
  if (error !== undefined) return { limit, items, failed: error };
  const leastMs = one.leastMs();
  const { min, median: middle, max, marginPercent } = spreadOf(elapsedMs);
  return {
    limit,
    items,
    rounds: elapsedMs.length,
    'least possible s': leastMs / 1e3,
    'median s': middle / 1e3,
    'min s': min / 1e3,
    'max s': max / 1e3,
    '+- %': marginPercent,
    'over the least %': (middle / leastMs - 1) * 100,
    'over the least ms': middle - leastMs,
    'CPU us/item': (median(cpuMs) / items) * 1e3,
    'CPU +- %': spreadOf(cpuMs).marginPercent,
    'CPU cores': median(cpuMs) / middle,
  };
}
