import { availableParallelism } from 'node:os';
import { createEngine, type EngineOptions } from '../../../lib/index.ts';
import { alternate, type Contender } from '../../harness/alternate.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import type { Part, Row } from '../../harness/suite.ts';
import { calibrateSpins, workItems } from '../dispatch/spin.ts';
import { startHttpServer } from '../http/server.ts';

const THREADS = [1, 2, 3, 4, 6, 8];
const QUICK_THREADS = [1, 2];
const IN_WORK = 16;

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
    const perSecond: number[][] = [];
    try {
      for (const work of works) {
        const rates = await ratesOf(work, counts, isQuick);
        perSecond.push(rates);
        rows.push(
          ...rates.map((rate, place) => ({
            work: work.name,
            threads: counts[place],
            'items/s': Math.round(rate),
            'times one thread': rate / (rates[0] ?? Number.NaN),
          })),
        );
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
      targets: [],
      charts: [
        {
          title: 'Throughput by number of threads, one thread = 1',
          kind: 'lines',
          xLabel: 'threads',
          yLabel: 'times one thread',
          x: counts,
          series: works.map(({ name }, place) => {
            const rates = perSecond[place] ?? [];
            return { name, values: rates.map((rate) => rate / (rates[0] ?? Number.NaN)) };
          }),
        },
      ],
    };
  },
};

async function ratesOf({ items, engine: options }: Work, counts: readonly number[], isQuick: boolean) {
  const engines = counts.map((count) =>
    (createEngine as (options: EngineOptions) => ReturnType<typeof createEngine>)({
      ...options,
      threads: count,
      concurrency: IN_WORK,
    }),
  );
  try {
    await Promise.all(engines.map((engine) => engine.ready()));
    const contenders = engines.map(
      (engine, place): Contender => ({
        name: String(counts[place]),
        items: items.length,
        run: async () => {
          const { summary } = await engine.run(items as never[]);
          if (summary.succeeded !== items.length) throw new Error(`Only ${summary.succeeded} items succeeded.`);
        },
      }),
    );
    const timings = await alternate(contenders, isQuick ? { rounds: 2, warmUps: 1 } : { rounds: 6, warmUps: 2 });
    return timings.map(({ ms }) => (items.length / ms.p50) * 1e3);
  } finally {
    await Promise.all(engines.map((engine) => engine.close()));
  }
}
