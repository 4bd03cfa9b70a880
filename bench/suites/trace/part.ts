import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Engine } from '../../../lib/index.ts';
import { alternate } from '../../harness/alternate.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { median, percentile } from '../../harness/spread.ts';
import { atMost, type Part, type Row } from '../../harness/suite.ts';
import { type OpenWork, openEngine, type Work } from './work.ts';

/** Pairs of engines made anew: two of them may differ by more than what is looked for. */
const PAIRS = 3;

export interface TracePlan {
  readonly name: string;
  readonly title: string;
  readonly work: OpenWork;
  /** Batches of each engine of a pair. */
  readonly rounds: number;
  /** Batches of each engine before the first that counts: the first thousands of items are those of code that is not compiled. */
  readonly warmUps: number;
  /** The most that a trace may cost; undefined where that is only reported. */
  readonly goalPercent?: number;
}

/** One kind of work, in engines with a trace and without. */
export function tracePart({ name, title, work: openWork, rounds, warmUps, goalPercent }: TracePlan): Part {
  return {
    name,
    title: `${title}, with a trace against without`,
    async run({ isQuick }) {
      const folder = mkdtempSync(join(tmpdir(), 'sluicegate-bench-'));
      const watch = watchMachine();
      const work = await openWork();
      const costs: Costs = { traced: [], plain: [], cpuTraced: [], cpuPlain: [], lines: 0, bytes: 0 };
      const noise: Costs = structuredClone(costs);
      try {
        for (let pair = 0; pair < (isQuick ? 1 : PAIRS); pair++) {
          await measurePair(work, join(folder, 'trace.jsonl'), { rounds, warmUps }, costs);
          await measurePair(work, undefined, { rounds, warmUps }, noise);
        }
      } finally {
        await work.close();
        rmSync(folder, { recursive: true });
      }
      const costPercent = median(percents(costs.traced, costs.plain));
      return {
        tables: [
          {
            title,
            rows: [
              rowOf('traced against not traced', work, costs),
              rowOf('not traced against not traced: the noise of the method', work, noise),
            ],
            notes: [
              `cost: median over neighbouring batches of time with / time without - 1; CPU: of the whole process; ${PAIRS} pairs of engines made anew`,
              `${(costs.bytes / costs.lines).toFixed(0)} bytes per line`,
              describeDisturbance(watch()),
            ],
          },
        ],
        targets: goalPercent === undefined ? [] : [atMost(`trace, ${title}: cost`, costPercent, goalPercent, '%')],
      };
    },
  };
}

/** Milliseconds of neighbouring batches. */
interface Costs {
  readonly traced: number[];
  readonly plain: number[];
  readonly cpuTraced: number[];
  readonly cpuPlain: number[];
  lines: number;
  bytes: number;
}

async function measurePair(
  work: Work,
  trace: string | undefined,
  plan: Pick<TracePlan, 'rounds' | 'warmUps'>,
  into: Costs,
): Promise<void> {
  const traced = await openEngine(trace === undefined ? work.options : { ...work.options, trace });
  const plain = await openEngine(work.options);
  try {
    const contenders = [traced, plain].map((engine) => ({
      name: 'engine',
      items: work.items.length,
      run: () => runAll(engine, work.items),
    }));
    const [one, other] = await alternate(contenders, plan);
    for (const timing of [one, other]) if (timing?.error !== undefined) throw new Error(timing.error);
    into.traced.push(...(one?.samplesMs ?? []));
    into.plain.push(...(other?.samplesMs ?? []));
    into.cpuTraced.push(...(one?.samplesCpuMs ?? []));
    into.cpuPlain.push(...(other?.samplesCpuMs ?? []));
  } finally {
    await Promise.all([traced.close(), plain.close()]);
  }
  if (trace === undefined) return;
  into.lines += work.items.length * (plan.rounds + plan.warmUps);
  into.bytes += statSync(trace).size;
}

async function runAll(engine: Engine<unknown, unknown>, items: readonly unknown[]): Promise<void> {
  const { summary } = await engine.run(items);
  if (summary.succeeded !== items.length) throw new Error(`${summary.succeeded} of ${items.length} items succeeded.`);
}

function rowOf(comparison: string, { items }: Work, { traced, plain, cpuTraced, cpuPlain }: Costs): Row {
  const costs = percents(traced, plain);
  return {
    comparison,
    'items/s with': Math.round((items.length / median(traced)) * 1e3),
    'items/s without': Math.round((items.length / median(plain)) * 1e3),
    'cost %': median(costs),
    'p25 %': percentile(costs, 25),
    'p75 %': percentile(costs, 75),
    'CPU cost %': median(percents(cpuTraced, cpuPlain)),
    'CPU cost us/item': ((median(cpuTraced) - median(cpuPlain)) / items.length) * 1e3,
    batches: costs.length,
  };
}

function percents(samples: readonly number[], base: readonly number[]): number[] {
  return samples.map((value, index) => (value / (base[index] ?? Number.NaN) - 1) * 100);
}
