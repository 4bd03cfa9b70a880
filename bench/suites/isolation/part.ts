import { once } from 'node:events';
import { createHistogram, performance, type RecordableHistogram } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import PQueue from 'p-queue';
import { Agent } from 'undici';
import { createEngine } from '../../../lib/index.ts';
import { startSimulator } from '../../../lib/simulator/index.ts';
import { rotated } from '../../harness/alternate.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { spreadOf } from '../../harness/spread.ts';
import { atLeast, atMost, type Failure, type Part, type Row } from '../../harness/suite.ts';
import { describeError, within } from '../../harness/within.ts';
import { BURN_MS, burn } from './burn.ts';

const THREADS = 2;
const IN_FLIGHT = 32;
const ITEMS = 400;
const QUICK_ITEMS = 80;
const ROUNDS = 3;
const SERVICE_MS = 5;
/** A timer that is due so often tells how late the event loop is. */
const TICK_NS = 1_000_000n;
const RUN_LIMIT_MS = 30_000;
const OURS_GOAL_MS = 5;
const IN_PROCESS_GOAL_MS = 50;

interface Way {
  readonly name: string;
  /** Run this many items; resolves to how many of them succeeded. */
  run(items: number): Promise<number>;
  close(): Promise<void>;
}

interface Figures {
  readonly elapsedMs: number[];
  /** Nanoseconds, over all rounds. */
  readonly delay: RecordableHistogram;
  error: string | undefined;
}

/** The same requests and the same work on their answers, in worker threads and in the main thread. */
export const isolation: Part = {
  name: 'isolation',
  title: `${BURN_MS} ms CPU per answer, ${IN_FLIGHT} in flight`,
  async run({ isQuick }) {
    const items = isQuick ? QUICK_ITEMS : ITEMS;
    const simulator = await startSimulator({ algorithm: 'none', serviceTimeMs: SERVICE_MS, kis: false });
    const ways = [threads(simulator.url), inProcess(simulator.url), bareThreads()];
    try {
      const watch = watchMachine();
      const figures = new Map(ways.map(({ name }) => [name, newFigures()]));
      // Once without a look: threads, connections, code.
      for (const way of ways) await attempt(figures.get(way.name), () => way.run(IN_FLIGHT));
      for (let round = 0; round < (isQuick ? 1 : ROUNDS); round++) {
        for (const way of rotated(ways, round)) {
          const own = figures.get(way.name) ?? newFigures();
          await attempt(own, () => measure(way, items, own));
        }
      }
      const [ours, theirs] = ways.map(({ name }) => delayMs(figures.get(name) ?? newFigures(), 99));
      return {
        tables: [
          {
            title: `event-loop delay of the main thread, ${items} requests in a round`,
            rows: [...figures].map(([name, one]) => rowOf(name, items, one)),
            notes: [
              'how much later than due a timer of 1 ms fires, over all rounds, taken in turn',
              'the work is a loop that looks at the clock',
              'bare threads do nothing but the work, and the main thread nothing but wait: what the machine itself allows',
              describeDisturbance(watch()),
            ],
          },
        ],
        failures: [...figures].flatMap(([who, { error }]): Failure[] => (error === undefined ? [] : [{ who, error }])),
        targets: [
          atMost('isolation: event-loop delay p99', ours ?? Number.NaN, OURS_GOAL_MS, 'ms'),
          atLeast('isolation: the same in process, p99', theirs ?? Number.NaN, IN_PROCESS_GOAL_MS, 'ms'),
        ],
        charts: [
          {
            title: 'Event-loop delay of the main thread while answers are worked on',
            kind: 'lines',
            xLabel: 'percentile',
            yLabel: 'ms',
            x: PERCENTILES,
            series: [...figures].map(([name, one]) => ({
              name,
              values: PERCENTILES.map((percent) => delayMs(one, percent)),
            })),
          },
        ],
      };
    } finally {
      await Promise.all(ways.map((way) => way.close()));
      await simulator.close();
    }
  },
};

const PERCENTILES = [1, 10, 25, 50, 75, 90, 95, 99, 100];

function threads(url: string): Way {
  const engine = createEngine<{ url: string }, unknown>({
    handler: new URL('./fixtures/burning-http.js', import.meta.url),
    http: { baseUrl: url },
    threads: THREADS,
    concurrency: IN_FLIGHT,
  });
  return {
    name: `sluicegate, ${THREADS} threads`,
    run: async (items) => {
      const { summary } = await engine.run(Array.from({ length: items }, (_, index) => ({ url: `/items/${index}` })));
      return summary.succeeded;
    },
    close: () => engine.close(),
  };
}

function inProcess(url: string): Way {
  const agent = new Agent();
  const queue = new PQueue({ concurrency: IN_FLIGHT });
  return {
    name: 'p-queue and undici in process',
    run: async (items) => {
      let succeeded = 0;
      const request = async (path: string) => {
        const { statusCode, body } = await agent.request({ origin: url, path, method: 'GET' });
        await body.json();
        burn();
        if (statusCode === 200) succeeded++;
      };
      await queue.addAll(Array.from({ length: items }, (_, index) => () => request(`/items/${index}`)));
      return succeeded;
    },
    close: () => agent.close(),
  };
}

/** No engine, no requests: what is late here is late because of the machine. */
function bareThreads(): Way {
  const workers = Array.from({ length: THREADS }, () => new Worker(new URL('./fixtures/burner.js', import.meta.url)));
  return {
    name: `${THREADS} bare threads, no requests`,
    run: async (items) => {
      const share = items / THREADS;
      const done = workers.map((worker) => once(worker, 'message'));
      for (const worker of workers) worker.postMessage(share);
      await Promise.all(done);
      return share * THREADS;
    },
    close: async () => {
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}

function newFigures(): Figures {
  return { elapsedMs: [], delay: createHistogram(), error: undefined };
}

/** A way that fails is out; the others go on. */
async function attempt(figures: Figures | undefined, step: () => Promise<unknown>): Promise<void> {
  if (figures === undefined || figures.error !== undefined) return;
  try {
    await within(RUN_LIMIT_MS, step());
  } catch (error) {
    figures.error = describeError(error);
  }
}

async function measure(way: Way, items: number, { elapsedMs, delay }: Figures): Promise<void> {
  let tickedNs = process.hrtime.bigint();
  const ticker = setInterval(() => {
    const nowNs = process.hrtime.bigint();
    const lateNs = nowNs - tickedNs - TICK_NS;
    // A timer may also be early, and a histogram begins at 1.
    delay.record(lateNs > 0n ? lateNs : 1n);
    tickedNs = nowNs;
  }, Number(TICK_NS) / 1e6);
  const startedMs = performance.now();
  let succeeded: number;
  try {
    succeeded = await way.run(items);
  } finally {
    clearInterval(ticker);
  }
  elapsedMs.push(performance.now() - startedMs);
  if (succeeded !== items) throw new Error(`${way.name}: ${succeeded} of ${items} requests succeeded.`);
}

function delayMs({ delay, error }: Figures, percent: number): number {
  if (error !== undefined) return Number.NaN;
  return delay.percentile(percent) / 1e6;
}

function rowOf(way: string, items: number, figures: Figures): Row {
  if (figures.error !== undefined) return { way, failed: figures.error };
  const totalMs = figures.elapsedMs.reduce((sum, ms) => sum + ms, 0);
  return {
    way,
    rounds: figures.elapsedMs.length,
    'requests/s': Math.round(((items * figures.elapsedMs.length) / totalMs) * 1e3),
    'requests/s +- %': spreadOf(figures.elapsedMs).marginPercent,
    'delay p50 ms': delayMs(figures, 50),
    'delay p90 ms': delayMs(figures, 90),
    'delay p99 ms': delayMs(figures, 99),
    'delay max ms': delayMs(figures, 100),
  };
}
