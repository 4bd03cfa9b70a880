import { performance } from 'node:perf_hooks';
import { Bench, type Statistics } from 'tinybench';
import { collectYoungGarbage } from './collect-garbage.ts';
import type { Row } from './suite.ts';

/** One of several that do the same work. */
export interface Contender {
  readonly name: string;
  /** How many items one run works on. */
  readonly items: number;
  run(): Promise<void>;
}

export interface Timing {
  readonly name: string;
  readonly items: number;
  /** Milliseconds of a run. */
  readonly ms: Statistics;
  /** The runs in their order: the n-th of every contender were neighbours. */
  readonly samplesMs: readonly number[];
  /** CPU time of all threads of the process. What other processes do changes it far less than the time on the clock. */
  readonly samplesCpuMs: readonly number[];
}

export interface Alternation {
  /** Timed runs of each contender. */
  readonly rounds: number;
  /** Runs of each contender before that, not counted. */
  readonly warmUps: number;
}

/**
 * Time contenders in turn, A B A B, so that whatever changes meanwhile meets all of them. Who begins changes from round
 * to round, so that nobody always has the same one before it.
 */
export async function alternate(contenders: readonly Contender[], alternation: Alternation): Promise<Timing[]> {
  const { rounds, warmUps } = alternation;
  const samples = contenders.map(() => ({ ms: [] as number[], cpuMs: [] as number[] }));
  for (let round = -warmUps; round < rounds; round++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const at = (turn + round + warmUps) % contenders.length;
      const contender = contenders[at];
      if (contender === undefined) continue;
      // One's garbage is not another one's cost.
      collectYoungGarbage();
      const cpuBefore = process.cpuUsage();
      const startedMs = performance.now();
      await contender.run();
      const elapsedMs = performance.now() - startedMs;
      const { user, system } = process.cpuUsage(cpuBefore);
      if (round < 0) continue;
      samples[at]?.ms.push(elapsedMs);
      samples[at]?.cpuMs.push((user + system) / 1e3);
    }
  }
  return contenders.map(({ name, items }, at) => {
    const { ms = [], cpuMs = [] } = samples[at] ?? {};
    return { name, items, ms: statisticsOf(ms), samplesMs: ms, samplesCpuMs: cpuMs };
  });
}

/** The statistics of times that were taken elsewhere, by tinybench. */
function statisticsOf(samplesMs: readonly number[]): Statistics {
  let next = 0;
  const bench = new Bench({ iterations: samplesMs.length, time: 0, warmup: false });
  bench.add('samples', () => ({ overriddenDuration: samplesMs[next++] ?? 0 }), { async: false });
  const { result } = bench.runSync()[0] ?? {};
  if (result === undefined || !('latency' in result)) throw new Error('tinybench gave no statistics.');
  return result.latency;
}

/** The figures of a timing: items per second, and the spread of its runs. */
export function timingRow({ name, items, ms, samplesCpuMs }: Timing): Row {
  return {
    contender: name,
    items,
    'items/s': Math.round((items / ms.p50) * 1e3),
    'CPU us/item': (median(samplesCpuMs) / items) * 1e3,
    'min ms': ms.min,
    'median ms': ms.p50,
    'p99 ms': ms.p99,
    '+- %': ms.rme,
    runs: ms.samplesCount,
  };
}

/** The middle one, or the mean of the two in the middle; NaN of none. */
export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** Percentile with interpolation between neighbours; NaN of none. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = ((sorted.length - 1) * percent) / 100;
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}
