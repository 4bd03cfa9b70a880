import { createEngine, type Engine, type EngineOptions } from '../../../lib/index.ts';
import { alternate, median, percentile } from '../../harness/alternate.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { atMost, type Part, type Row } from '../../harness/suite.ts';
import { loadBareBuild } from './bare/build.ts';

const THREADS = 2;
const CONCURRENCY = 16;
const GOAL_PERCENT = 2;
/** Engines made anew, because two engines of the same build may already differ by more than what is looked for. */
const PAIRS = 4;
const ROUNDS = 10;
const WARM_UPS = 3;

type Make = (options: EngineOptions) => Engine<number, number>;

interface Load {
  readonly name: string;
  readonly handler: URL;
  readonly items: number;
}

const LOADS: readonly Load[] = [
  { name: 'no-op items', handler: new URL('./fixtures/noop.js', import.meta.url), items: 100_000 },
  { name: '50 us items', handler: new URL('./fixtures/spin.js', import.meta.url), items: 4_000 },
];

/** Ratios of neighbouring runs, in percent above 1. */
interface Overhead {
  readonly ms: number[];
  readonly cpuMs: number[];
  readonly rates: { readonly armed: number[]; readonly bare: number[] };
}

/** What recovery costs while nothing is wrong. */
export const armed: Part = {
  name: 'armed',
  title: 'recovery that is armed and has nothing to do',
  async run() {
    const bare = (await loadBareBuild()).createEngine as Make;
    const watch = watchMachine();
    const rows: Row[] = [];
    const costs: { readonly load: Load; readonly percent: number }[] = [];
    for (const load of LOADS) {
      const cost = await compare(load, createEngine as Make, bare);
      // The same build on both sides: whatever this shows is noise.
      const noise = await compare(load, bare, bare);
      costs.push({ load, percent: median(cost.ms) });
      rows.push(
        rowOf(`${load.name}: armed against bare`, load, cost),
        rowOf(`${load.name}: bare against bare`, load, noise),
      );
    }
    return {
      tables: [
        {
          title: `the same batch on the same engine, with recovery and without, ${THREADS} threads`,
          rows,
          notes: [
            'bare: the same compiled engine with two modules replaced: a gate that no lane reads, and a recovery that never looks',
            'cost: median over neighbouring runs of time with / time without - 1; the second line of each load is the noise of the method',
            'CPU cost: the same for the CPU time of the process, which other processes disturb less',
            describeDisturbance(watch()),
          ],
        },
      ],
      targets: costs.map(({ load, percent }) =>
        atMost(`armed recovery, ${load.name}: cost`, percent, GOAL_PERCENT, '%'),
      ),
    };
  },
};

async function compare(load: Load, left: Make, right: Make): Promise<Overhead> {
  const overhead: Overhead = { ms: [], cpuMs: [], rates: { armed: [], bare: [] } };
  for (let pair = 0; pair < PAIRS; pair++) await comparePair(load, left, right, overhead);
  return overhead;
}

async function comparePair({ handler, items, name }: Load, left: Make, right: Make, into: Overhead): Promise<void> {
  const options = { handler, threads: THREADS, concurrency: CONCURRENCY };
  const engines = [left(options), right(options)] as const;
  const numbers = Array.from({ length: items }, (_, index) => index);
  try {
    const timings = await alternate(
      engines.map((engine) => ({
        name,
        items,
        run: async () => {
          const { summary } = await engine.run(numbers);
          if (summary.succeeded !== items) throw new Error(`Only ${summary.succeeded} of ${items} items succeeded.`);
        },
      })),
      { rounds: ROUNDS, warmUps: WARM_UPS },
    );
    const [one, other] = timings;
    if (one === undefined || other === undefined) return;
    into.ms.push(...percentAbove(one.samplesMs, other.samplesMs));
    into.cpuMs.push(...percentAbove(one.samplesCpuMs, other.samplesCpuMs));
    into.rates.armed.push(...one.samplesMs.map((ms) => (items / ms) * 1e3));
    into.rates.bare.push(...other.samplesMs.map((ms) => (items / ms) * 1e3));
  } finally {
    await Promise.all(engines.map((engine) => engine.close()));
  }
}

function percentAbove(samples: readonly number[], base: readonly number[]): number[] {
  return samples.map((value, index) => (value / (base[index] ?? Number.NaN) - 1) * 100);
}

function rowOf(name: string, { items }: Load, { ms, cpuMs, rates }: Overhead): Row {
  return {
    comparison: name,
    items,
    'left items/s': Math.round(median(rates.armed)),
    'right items/s': Math.round(median(rates.bare)),
    'cost %': median(ms),
    'p25 %': percentile(ms, 25),
    'p75 %': percentile(ms, 75),
    'CPU cost %': median(cpuMs),
    neighbours: ms.length,
  };
}
