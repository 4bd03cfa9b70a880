import { type PlannedLimit, planLimits } from '../../../lib/limit/plan.ts';
import { createControlBlock } from '../../../lib/shared/control-block.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { mostInWindow } from '../../harness/most-in-window.ts';
import { median, rateColumns, spreadOf } from '../../harness/spread.ts';
import { atMost, type Failure, type Part, type Row, type Target } from '../../harness/suite.ts';
import { describeError, within } from '../../harness/within.ts';
import type { WaiterData, WaiterResult, WaiterRound } from './fixtures/waiters.ts';
import { ThreadGroup } from './threads.ts';

const WINDOW_MS = 1000;
const RATES = [10, 1_000, 100_000];
const THREADS = [1, 4];
/** Twice all tokens: at once, and again after a window. While the others have their turns, all are free again. */
const SECONDS = 1.2;
const ROUNDS = 3;
const ROUND_LIMIT_MS = 10_000;
const LANES = 64;
const GOAL_PERCENT = 1;

/** Far more takers than tokens: nearly every take has to wait. */
export const throttled: Part = {
  name: 'throttled',
  title: `${LANES} lanes per thread that wait for tokens all the time`,
  async run({ isQuick }) {
    const watch = watchMachine();
    const all = RATES.flatMap((rate) => THREADS.map((threads) => new Case(rate, threads)));
    try {
      for (let round = 0; round < (isQuick ? 1 : ROUNDS); round++) for (const one of all) await one.round();
    } finally {
      await Promise.all(all.map((one) => one.close()));
    }
    return {
      tables: [
        {
          title: `limits of so many per ${WINDOW_MS} ms, each token settled at once`,
          rows: all.map(rowOf),
          notes: [
            `granted per second: in a round of ${SECONDS} s without its first burst, (n - N) / (grant[n-1] - grant[N-1]); rounds in turn`,
            'most in a window: of all grants of all threads, wherever the window begins',
            'a limit over 65,536 is planned as half of it in half of the window',
            'CPU: user and system time of all threads, as cores',
            describeDisturbance(watch()),
          ],
        },
      ],
      failures: all.flatMap(({ name, error }): Failure[] => (error === undefined ? [] : [{ who: name, error }])),
      targets: all.flatMap(targetsOf),
      charts: [
        {
          title: 'CPU use while throttled',
          kind: 'bars',
          xLabel: '',
          yLabel: 'cores',
          x: RATES.map((rate) => `${rate.toLocaleString('en-US')}/s`),
          series: THREADS.map((threads) => ({
            name: `${threads} threads`,
            values: all.filter((one) => one.threads === threads).map(({ cores }) => median(cores)),
          })),
        },
      ],
    };
  },
};

/** One limit and its threads, which rest while others have their round. */
class Case {
  readonly rate: number;
  readonly threads: number;
  readonly name: string;
  readonly limit: PlannedLimit;
  readonly #group: ThreadGroup<WaiterData, WaiterRound, WaiterResult>;
  /** Of each round. */
  readonly perSecond: number[] = [];
  /** CPU time of the whole process per time on the clock, of each round. */
  readonly cores: number[] = [];
  readonly grantedByThread: number[];
  granted = 0;
  mostInWindow = 0;
  error: string | undefined;

  constructor(rate: number, threads: number) {
    this.rate = rate;
    this.threads = threads;
    this.name = `${rate}/s, ${threads} threads`;
    this.grantedByThread = new Array<number>(threads).fill(0);
    const [limit] = planLimits([
      {
        tokens: rate,
        windowMs: WINDOW_MS,
        spacingMs: 0,
        arrivalWithinMs: Number.POSITIVE_INFINITY,
        straggleMs: WINDOW_MS,
        initial: 'full',
      },
    ]);
    if (limit === undefined) throw new Error('No limit was planned.');
    this.limit = limit;
    const { buffer, layout } = createControlBlock({ tokens: [limit.tokens], slots: 1 });
    const gate = new SharedArrayBuffer(4);
    this.#group = new ThreadGroup(new URL('./fixtures/waiters.js', import.meta.url), threads, (place) => ({
      buffer,
      layout,
      limit,
      place,
      threads,
      gate,
      lanes: LANES,
    }));
  }

  async round(): Promise<void> {
    if (this.error !== undefined) return;
    try {
      this.#note(await within(ROUND_LIMIT_MS, this.#group.ask({ seconds: SECONDS })));
    } catch (error) {
      this.error = describeError(error);
    }
  }

  #note(results: readonly WaiterResult[]): void {
    const { tokens, windowNs } = this.limit;
    const grantsNs = Float64Array.from(results.flatMap((one) => [...one.grantsNs])).sort();
    const granted = grantsNs.length;
    const spanNs = (grantsNs[granted - 1] ?? Number.NaN) - (grantsNs[tokens - 1] ?? Number.NaN);
    this.granted += granted;
    // With the first burst alone nothing has been granted after it.
    this.perSecond.push(granted > tokens ? ((granted - tokens) * 1e9) / spanNs : 0);
    this.cores.push(Math.max(...results.map(({ cores }) => cores)));
    this.mostInWindow = Math.max(this.mostInWindow, mostInWindow(grantsNs, Number(windowNs)));
    results.forEach((one, place) => {
      this.grantedByThread[place] = (this.grantedByThread[place] ?? 0) + one.grantsNs.length;
    });
  }

  close(): Promise<void> {
    return this.#group.close();
  }
}

function targetsOf({ rate, threads, limit, perSecond, mostInWindow: most, error }: Case): Target[] {
  const name = `acquire, throttled to ${rate}/s, ${threads} threads`;
  const windowMs = Number(limit.windowNs) / 1e6;
  return [
    atMost(`${name}: off the allowed rate`, Math.abs(median(perSecond) / rate - 1) * 100, GOAL_PERCENT, '%'),
    atMost(`${name}: most in any ${windowMs} ms`, error === undefined ? most : Number.NaN, limit.tokens, 'grants'),
  ];
}

function rowOf({ rate, threads, limit, granted, perSecond, cores, mostInWindow: most, ...one }: Case): Row {
  if (one.error !== undefined) return { 'allowed 1/s': rate, threads, failed: one.error };
  const middle = median(perSecond);
  return {
    'allowed 1/s': rate,
    threads,
    rounds: perSecond.length,
    granted,
    ...rateColumns(perSecond, '1/s'),
    'off %': (middle / rate - 1) * 100,
    'most in a window': most,
    window: `${limit.tokens} in ${Number(limit.windowNs) / 1e6} ms`,
    'CPU cores': median(cores),
    'CPU +- %': spreadOf(cores).marginPercent,
    'CPU us/grant': (median(cores) * 1e6) / middle,
    'least share of a thread %': (Math.min(...one.grantedByThread) / granted) * 100,
  };
}
