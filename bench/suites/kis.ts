import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BatchSummary, RetryOptions } from '../../lib/index.ts';
import { createKisClient, type KisItem } from '../../lib/kis/index.ts';
import { type Arrival, type SimulatorStats, startSimulator } from '../../lib/simulator/index.ts';
import { describeDisturbance, watchMachine } from '../harness/disturbance.ts';
import { idealElapsedMs } from '../harness/ideal.ts';
import { serviceTimesMs } from '../harness/limited-run.ts';
import { sideBySide } from '../harness/side-by-side.ts';
import { atMost, exactly, type Failure, type Part, type Row, type Suite, type Target } from '../harness/suite.ts';

const SYMBOLS = 1000;
const QUICK_SYMBOLS = 60;
const PER_SECOND = 18;
const WINDOW_MS = 1000;
/** What users of KIS measure: refused although the rate was kept. */
const SPURIOUS = 0.03;
/** How often to look if all tokens are free again. */
const LOOK_MS = 20;

interface Plan {
  readonly name: string;
  readonly refusals: number;
  readonly retry?: RetryOptions;
}

interface Result {
  readonly plan: Plan;
  readonly symbols: number;
  readonly elapsedMs: number;
  readonly summary: BatchSummary;
  readonly arrivals: readonly Arrival[];
  readonly server: SimulatorStats;
  /** The waits after refusals, together. */
  readonly backoffMs: number;
}

const PLANS: readonly Plan[] = [
  { name: 'nothing refused', refusals: 0 },
  { name: '3% refused', refusals: SPURIOUS },
  { name: '3% refused, first wait 150 ms', refusals: SPURIOUS, retry: { initialMs: 150 } },
];

const spurious: Part = {
  name: 'spurious',
  title: `${SYMBOLS} symbols from KIS at ${PER_SECOND}/s, where 3% are refused without reason`,
  isMostlyIdle: true,
  aboutS: 85,
  async run({ isQuick }) {
    const disturbance = watchMachine();
    const symbols = isQuick ? QUICK_SYMBOLS : SYMBOLS;
    const runs = await sideBySide(PLANS.map((plan) => () => open(plan, symbols)));
    const results = runs.flatMap(({ result }) => result ?? []);
    return {
      tables: [
        {
          title: 'elapsed against the least possible',
          rows: runs.map(({ result, error }, place) =>
            result === undefined ? { run: PLANS[place]?.name, failed: error } : rowOf(result),
          ),
          notes: [
            'createKisClient with its defaults: 18/s in any second, evenly spaced, whatever the network does; threads, connections and the token are there',
            'least s: the same limit and the same service times, request by request, in virtual time, if nothing is refused',
            'backoff s: the waits that the client chose after refusals; by default the first one is 1 s',
            describeDisturbance(disturbance()),
          ],
        },
      ],
      failures: runs.flatMap(({ error }, place): Failure[] =>
        error === undefined ? [] : [{ who: PLANS[place]?.name ?? '', error }],
      ),
      targets: results.flatMap(targetsOf),
    };
  },
};

async function open(plan: Plan, symbols: number) {
  const simulator = await startSimulator({ limit: PER_SECOND, windowMs: WINDOW_MS, serviceTimeMs: [5, 30] });
  const client = createKisClient({
    appKey: 'x'.repeat(36),
    appSecret: 'x'.repeat(180),
    baseUrl: simulator.url,
    threads: 2,
    ...(plan.retry === undefined ? {} : { retry: plan.retry }),
  });
  const close = async () => {
    await client.close({ mode: 'abort' });
    await simulator.close();
  };
  try {
    await client.engine.ready();
    await client.fetchPriceList(items(PER_SECOND));
    while (client.stats().tokens.some(({ free, total }) => free < total)) await sleep(LOOK_MS);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    async measure(): Promise<Result> {
      await simulator.reset();
      await simulator.setFaults(plan.refusals === 0 ? [] : [{ kind: 'refuse', probability: plan.refusals }]);
      let backoffMs = 0;
      client.engine.on('paused', ({ delayMs }) => {
        backoffMs += delayMs;
      });
      const startedMs = performance.now();
      const { summary } = await client.fetchPriceList(items(symbols));
      const elapsedMs = performance.now() - startedMs;
      const [arrivals, server] = [await simulator.arrivals(), await simulator.stats()];
      return { plan, symbols, elapsedMs, summary, arrivals, server, backoffMs };
    },
    close,
  };
}

function items(count: number): KisItem[] {
  return Array.from({ length: count }, (_, index) => [String(5930 + 10 * index).padStart(6, '0'), 'KR']);
}

/** For the batch without a refusal. */
function leastMs({ arrivals, symbols }: Result): number {
  const gapMs = WINDOW_MS / PER_SECOND;
  const settings = { tokens: PER_SECOND, windowMs: WINDOW_MS, gapMs, concurrency: PER_SECOND };
  return idealElapsedMs(settings, serviceTimesMs(arrivals).slice(0, symbols));
}

function overWithBackoff(result: Result): number {
  return (result.elapsedMs / (leastMs(result) + result.backoffMs) - 1) * 100;
}

function rowOf(result: Result): Row {
  const { plan, summary, server, elapsedMs, backoffMs } = result;
  const least = leastMs(result);
  return {
    run: plan.name,
    succeeded: summary.succeeded,
    requests: server.total,
    'refused without reason': server.injected,
    'refused by the limit': server.refused,
    cancelled: summary.cancelled,
    'most in 1 s': server.maxInWindow,
    'elapsed s': elapsedMs / 1e3,
    'least s': least / 1e3,
    'over least %': (elapsedMs / least - 1) * 100,
    'backoff s': backoffMs / 1e3,
    'over least + backoff %': overWithBackoff(result),
  };
}

function targetsOf(result: Result): Target[] {
  const { plan, symbols, summary, server } = result;
  return [
    exactly(`${plan.name}: succeeded`, summary.succeeded, symbols, 'items'),
    exactly(`${plan.name}: refused by the limit`, server.refused, 0, 'requests'),
    atMost(`${plan.name}: most in any second`, server.maxInWindow, PER_SECOND, 'requests'),
    atMost(`${plan.name}: over least + backoff`, overWithBackoff(result), 3, '%'),
  ];
}

const suite: Suite = { title: 'the KIS client', parts: [spurious] };

export default suite;
