import { planLimits } from '../../../lib/limit/plan.ts';
import { createControlBlock } from '../../../lib/shared/control-block.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { atMost, type Part, type Row } from '../../harness/suite.ts';
import type { WaiterData, WaiterResult } from './fixtures/waiters.ts';
import { inThreads } from './threads.ts';

const WINDOW_MS = 1000;
const RATES = [10, 1_000, 100_000];
const THREADS = [1, 2, 4];
/** Long enough for the slowest of them to go round several times. */
const SECONDS = 3.2;
const QUICK_SECONDS = 2.2;
const LANES = 64;
const GOAL_PERCENT = 1;

interface Figures {
  readonly rate: number;
  readonly threads: number;
  readonly granted: number;
  readonly perSecond: number;
  /** CPU time of the whole process per time on the clock. */
  readonly cores: number;
  readonly share: readonly number[];
}

/** Far more takers than tokens: nearly every take has to wait. */
export const throttled: Part = {
  name: 'throttled',
  title: `${LANES} lanes per thread that wait for tokens all the time`,
  async run({ isQuick }) {
    const all: Figures[] = [];
    const watch = watchMachine();
    for (const rate of RATES) {
      for (const threads of THREADS) all.push(await measure(rate, threads, isQuick ? QUICK_SECONDS : SECONDS));
    }
    return {
      tables: [
        {
          title: `limits of so many per ${WINDOW_MS} ms, each token settled at once`,
          rows: all.map(rowOf),
          notes: [
            'granted per second: without the first burst, (n - N) / (grant[n-1] - grant[N-1])',
            'a limit over 65,536 is planned as half of it in half of the window',
            'CPU: user and system time of all threads, as cores',
            describeDisturbance(watch()),
          ],
        },
      ],
      targets: all.map((one) =>
        atMost(
          `acquire, throttled to ${one.rate}/s, ${one.threads} threads: off the allowed rate`,
          Math.abs(one.perSecond / one.rate - 1) * 100,
          GOAL_PERCENT,
          '%',
        ),
      ),
      charts: [
        {
          title: 'CPU use while throttled',
          kind: 'bars',
          xLabel: '',
          yLabel: 'cores',
          x: RATES.map((rate) => `${rate.toLocaleString('en-US')}/s`),
          series: THREADS.map((threads) => ({
            name: `${threads} threads`,
            values: all.filter((one) => one.threads === threads).map(({ cores }) => cores),
          })),
        },
      ],
    };
  },
};

async function measure(rate: number, threads: number, seconds: number): Promise<Figures> {
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
  const { buffer, layout } = createControlBlock({ tokens: [limit.tokens], slots: 1 });
  const gate = new SharedArrayBuffer(4);
  const results = await inThreads<WaiterData, WaiterResult>(
    new URL('./fixtures/waiters.js', import.meta.url),
    threads,
    (place) => ({ buffer, layout, limit, place, threads, gate, lanes: LANES, seconds }),
  );
  const grantsNs = Float64Array.from(results.flatMap(({ grantsNs }) => [...grantsNs])).sort();
  const granted = grantsNs.length;
  const spanNs = (grantsNs[granted - 1] ?? Number.NaN) - (grantsNs[limit.tokens - 1] ?? Number.NaN);
  return {
    rate,
    threads,
    granted,
    perSecond: ((granted - limit.tokens) * 1e9) / spanNs,
    cores: Math.max(...results.map(({ cores }) => cores)),
    share: results.map((one) => one.grantsNs.length / granted),
  };
}

function rowOf({ rate, threads, granted, perSecond, cores, share }: Figures): Row {
  return {
    'allowed 1/s': rate,
    threads,
    granted,
    'granted 1/s': perSecond,
    'off %': (perSecond / rate - 1) * 100,
    'CPU cores': cores,
    'CPU us/grant': (cores * 1e6) / perSecond,
    'least share of a thread %': Math.min(...share) * 100,
  };
}
