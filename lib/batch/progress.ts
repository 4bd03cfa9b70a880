/** How far a batch is. Plain data, read from shared memory. */
export interface Progress {
  /** Items in all; undefined while a stream's source has not ended. */
  readonly total: number | undefined;
  readonly done: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Items whose handler runs. */
  readonly inFlight: number;
  /** Items that wait in a lane for their tokens or start slot. */
  readonly waiting: number;
  /** Items per second over about the last two seconds. */
  readonly throughputPerSecond: number;
  readonly elapsedMs: number;
  /** Estimate from the throughput now; undefined while there is none. */
  readonly timeLeftMs: number | undefined;
  readonly rounds: number;
  /** True while the gate is closed: a rate-limit event is being dealt with. */
  readonly isPaused: boolean;
}

/** Says when so many more items are done, for progress that is reported by count. */
export class Milestones {
  readonly #every: number;
  #next: number;

  /** @param every a positive integer */
  constructor(every: number) {
    this.#every = every;
    this.#next = every;
  }

  /** True if so many are a multiple that was not reached before. To be called whenever an item is done. */
  reach(done: number): boolean {
    if (done < this.#next) return false;
    this.#next += this.#every;
    return true;
  }

  /** A batch that starts over has less done than before, and reaches the same ones again. */
  goBack(done: number): void {
    this.#next = (Math.floor(done / this.#every) + 1) * this.#every;
  }

  /** True if the end of a batch of so many items was said when it was reached. */
  includes(done: number): boolean {
    return done > 0 && done % this.#every === 0;
  }
}

/** Throughput is taken over this much of the past. */
const WINDOW_MS = 2_000;

/** Samples of how much is done, for the throughput of the recent past. */
export class ThroughputMeter {
  #samples: { readonly atMs: number; readonly done: number }[] = [];

  /** Take a sample; returns items per second over the window. */
  sample(atMs: number, done: number): number {
    const last = this.#samples.at(-1);
    // A batch that starts over has less done than before.
    if (last !== undefined && done < last.done) this.#samples = [];
    this.#samples.push({ atMs, done });
    const from = this.#samples.findIndex((sample) => sample.atMs >= atMs - WINDOW_MS);
    if (from > 1) this.#samples.splice(0, from - 1);
    const oldest = this.#samples[0];
    if (oldest === undefined || atMs <= oldest.atMs) return 0;
    return ((done - oldest.done) * 1e3) / (atMs - oldest.atMs);
  }
}
