import { availableParallelism } from 'node:os';
import { createEngine, type EngineOptions } from '../../../lib/index.ts';
import { type Alternation, perSecond, type Timing } from '../../harness/alternate.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { type Opener, timeInTurn } from '../../harness/in-turn.ts';
import { spreadColumns } from '../../harness/spread.ts';
import type { Failure, Part, Row } from '../../harness/suite.ts';
import { calibrateSpins, workItems } from '../dispatch/spin.ts';
import { startHttpServer } from '../http/server.ts';

const THREADS = [1, 2, 3, 4, 6, 8];
const QUICK_THREADS = [1, 2];
const IN_WORK = 16;
/** Eight threads have eight times the code to warm up that one has, so what counts is the time and not the runs. */
const ALTERNATION: Alternation = { rounds: 5, warmUps: 2, warmUpMs: 400 };
const QUICK_ALTERNATION: Alternation = { rounds: 2, warmUps: 1 };

interface Work {
  readonly name: string;
  readonly items: readonly unknown[];
  readonly engine: EngineOptions;
}

/** The same work by engines of 1 to 8 threads. */
export const threads: Part = {
  name: 'threads',
  title: `1 to 8 threads on ${availableParallelism()} cores, ${IN_WORK} in work`,
  async run({ isQuick }) {
    calibrateSpins();
    const server = await startHttpServer();
    const handler = new URL('../dispatch/fixtures/work.js', import.meta.url);
    const works: readonly Work[] = [
      { name: 'nothing', items: workItems(isQuick ? 2_000 : 100_000, 0), engine: { handler } },
      { name: '100 us CPU', items: workItems(isQuick ? 100 : 2_000, 100), engine: { handler } },
      {
        name: 'HTTP GET, small',
        items: new Array(isQuick ? 100 : 2_000).fill({ url: `${server.url}/small` }),
        engine: {},
      },
    ];
    const counts = isQuick ? QUICK_THREADS : THREADS;
    const watch = watchMachine();
    const rows: Row[] = [];
    const failures: Failure[] = [];
    const rates: number[][] = [];
    try {
      for (const work of works) {
        const inTurn = await timeInTurn(
          counts.map((count) => opener(work, count)),
          isQuick ? QUICK_ALTERNATION : ALTERNATION,
        );
        failures.push(...inTurn.failures);
        rates.push(inTurn.timings.map(perSecond));
        const [one] = inTurn.timings;
        rows.push(...inTurn.timings.map((timing, place) => rowOf(work, counts[place] ?? 0, timing, one)));
      }
    } finally {
      await server.close();
    }
    return {
      tables: [
        {
          title: 'items per second by number of threads',
          rows,
          notes: [
            `medians of runs in turn; ${server.name} shares the cores with its clients`,
            describeDisturbance(watch()),
          ],
        },
      ],
      failures,
      targets: [],
      charts: [
        {
          title: 'Throughput by number of threads, one thread = 1',
          kind: 'lines',
          xLabel: 'threads',
          yLabel: 'times one thread',
          x: counts,
          series: works.map(({ name }, place) => {
            const own = rates[place] ?? [];
            return { name, values: own.map((rate) => rate / (own[0] ?? Number.NaN)) };
          }),
        },
      ],
    };
  },
};

function opener({ name, items, engine: options }: Work, threads: number): Opener {
  return {
    name: `${name}, ${threads} threads`,
    items: items.length,
    open: async () => {
      const engine = (createEngine as (options: EngineOptions) => ReturnType<typeof createEngine>)({
        ...options,
        threads,
        concurrency: IN_WORK,
      });
      await engine.ready();
      return {
        run: async () => {
          const { summary } = await engine.run(items as never[]);
          if (summary.succeeded !== items.length) throw new Error(`Only ${summary.succeeded} items succeeded.`);
        },
        close: () => engine.close(),
      };
    },
  };
}

function rowOf(work: Work, threads: number, timing: Timing, one: Timing | undefined): Row {
  if (timing.error !== undefined) return { work: work.name, threads, failed: timing.error };
  return {
    work: work.name,
    threads,
    'items/s': Math.round(perSecond(timing)),
    'times one thread': perSecond(timing) / (one === undefined ? Number.NaN : perSecond(one)),
    ...spreadColumns(timing.ms, 'ms'),
    runs: timing.ms.samples,
  };
}
