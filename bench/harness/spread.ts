import { Bench } from 'tinybench';
import type { Row } from './suite.ts';

/** With fewer samples the 99th percentile is the largest of them, and is not called by that name. */
const P99_SAMPLES = 100;

/** How far samples of the same thing lie apart. All NaN if there are none. */
export interface Spread {
  readonly samples: number;
  readonly min: number;
  readonly median: number;
  /** Only from enough samples. */
  readonly p99: number | undefined;
  readonly max: number;
  /** Half of the 95% confidence interval of the mean, in percent of it. Of one sample there is none. */
  readonly marginPercent: number | undefined;
}

export function spreadOf(samples: readonly number[]): Spread {
  return {
    samples: samples.length,
    min: samples.length === 0 ? Number.NaN : Math.min(...samples),
    median: median(samples),
    p99: samples.length < P99_SAMPLES ? undefined : percentile(samples, 99),
    max: samples.length === 0 ? Number.NaN : Math.max(...samples),
    marginPercent: marginPercentOf(samples),
  };
}

/** Columns of figures where less is better: the bad tail is the upper one. */
export function spreadColumns(spread: Spread, unit: string): Row {
  return {
    [`min ${unit}`]: spread.min,
    [`median ${unit}`]: spread.median,
    ...(spread.p99 === undefined ? {} : { [`p99 ${unit}`]: spread.p99 }),
    [`max ${unit}`]: spread.max,
    '+- %': spread.marginPercent,
  };
}

/** Columns of figures where more is better: the bad tail is the lower one. */
export function rateColumns(samples: readonly number[], unit: string): Row {
  const { min, median: middle, max, marginPercent } = spreadOf(samples);
  return {
    [`median ${unit}`]: middle,
    [`min ${unit}`]: min,
    ...(samples.length < P99_SAMPLES ? {} : { [`p1 ${unit}`]: percentile(samples, 1) }),
    [`max ${unit}`]: max,
    '+- %': marginPercent,
  };
}

/** By tinybench, of samples that were taken elsewhere. */
function marginPercentOf(samples: readonly number[]): number | undefined {
  if (samples.length < 2) return undefined;
  let next = 0;
  const bench = new Bench({ iterations: samples.length, time: 0, warmup: false });
  bench.add('samples', () => ({ overriddenDuration: samples[next++] ?? 0 }), { async: false });
  const { result } = bench.runSync()[0] ?? {};
  if (result === undefined || !('latency' in result)) throw new Error('tinybench gave no statistics.');
  return result.latency.rme;
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
