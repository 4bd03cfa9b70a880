import type { Batch } from './batch.ts';

/** What batches have counted together. */
export interface BatchCounts {
  readonly succeeded: number;
  readonly failed: number;
  readonly sent: number;
  readonly refused: number;
  readonly cancelled: number;
  readonly retried: number;
}

type MutableCounts = { -readonly [Name in keyof BatchCounts]: BatchCounts[Name] };

/** Adds up what all batches of an engine count. */
export class Totals {
  readonly #over: MutableCounts = { succeeded: 0, failed: 0, sent: 0, refused: 0, cancelled: 0, retried: 0 };

  /** A batch is over. */
  add(batch: Batch): void {
    addTo(this.#over, batch);
  }

  /** Counts of the batches that are over and of these, which are not. */
  with(running: Iterable<Batch>): BatchCounts {
    const all = { ...this.#over };
    for (const batch of running) addTo(all, batch);
    return all;
  }
}

function addTo(counts: MutableCounts, { done, failed, counts: more }: Batch): void {
  counts.succeeded += done - failed;
  counts.failed += failed;
  counts.sent += more.sent;
  counts.refused += more.refused;
  counts.cancelled += more.cancelled;
  counts.retried += more.retried;
}
