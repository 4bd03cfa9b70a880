import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';

/** How long something took, over all items, in milliseconds. All 0 if there was none. */
export interface Latency {
  readonly min: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

const NO_LATENCY: Latency = { min: 0, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 };

/** One hour: what takes longer counts as that. */
const HIGHEST_US = 3_600e6;

/** A histogram of microseconds, three digits, up to an hour. */
export function createLatencyHistogram(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: HIGHEST_US, figures: 3 });
}

/** Record a time. A histogram knows only whole numbers from 1 on, and what is above its highest is in no percentile. */
export function recordMs(histogram: RecordableHistogram, ms: number): void {
  histogram.record(Math.max(1, Math.min(HIGHEST_US, Math.round(ms * 1e3))));
}

/** The figures of a histogram of microseconds. */
export function latencyOf(histogram: RecordableHistogram | undefined): Latency {
  if (histogram === undefined || histogram.count === 0) return NO_LATENCY;
  const ms = (us: number) => us / 1e3;
  return {
    min: ms(histogram.min),
    mean: ms(histogram.mean),
    p50: ms(histogram.percentile(50)),
    p90: ms(histogram.percentile(90)),
    p99: ms(histogram.percentile(99)),
    max: ms(histogram.max),
  };
}

/** Up to here single times take less memory than a histogram, and much less time to set up. */
const MAX_SINGLE_TIMES = 512;

/** Collects times of one batch: one by one while they are few, because many small batches may run at once. */
export class LatencyMeter {
  #timesMs: number[] = [];
  #histogram: RecordableHistogram | undefined;

  record(ms: number): void {
    if (this.#histogram !== undefined) {
      recordMs(this.#histogram, ms);
      return;
    }
    this.#timesMs.push(ms);
    if (this.#timesMs.length < MAX_SINGLE_TIMES) return;
    this.#histogram = createLatencyHistogram();
    for (const timeMs of this.#timesMs) recordMs(this.#histogram, timeMs);
    this.#timesMs = [];
  }

  /** The figures so far. */
  get latency(): Latency {
    if (this.#histogram !== undefined) return latencyOf(this.#histogram);
    if (this.#timesMs.length === 0) return NO_LATENCY;
    // Counted in the same way whatever the number, in a histogram that all meters of this thread use in turn.
    scratch ??= createLatencyHistogram();
    scratch.reset();
    for (const timeMs of this.#timesMs) recordMs(scratch, timeMs);
    return latencyOf(scratch);
  }
}

let scratch: RecordableHistogram | undefined;
