import type { ErrorCode } from '../errors.ts';
import { LatencyMeter } from '../shared/latency.ts';
import type { Outcome } from '../types.ts';
import { type Progress, ThroughputMeter } from './progress.ts';
import type { BatchSummary } from './summary.ts';

/** What a batch counts elsewhere: of its requests, and of the engine. */
type OtherCounts = Pick<BatchSummary, 'rounds' | 'rateLimitEvents' | 'refused' | 'cancelled' | 'retried'> & {
  readonly sent: number;
};

/** Counts the outcomes of a batch and measures their times. */
export class Tally {
  #succeeded = 0;
  #failed = 0;
  readonly #errors: Partial<Record<ErrorCode, number>> = {};
  readonly #startedMs: number;
  #endedMs: number | undefined;
  readonly #waits = new LatencyMeter();
  readonly #services = new LatencyMeter();
  readonly #throughput = new ThroughputMeter();

  constructor(nowMs: number) {
    this.#startedMs = nowMs;
    // Without this first sample, what is done before the first report would not count as throughput.
    this.#throughput.sample(nowMs, 0);
  }

  get failed(): number {
    return this.#failed;
  }

  get done(): number {
    return this.#succeeded + this.#failed;
  }

  /** An item has its outcome. */
  count(outcome: Outcome): void {
    if (outcome.ok) {
      this.#succeeded++;
      return;
    }
    const { code } = outcome.error;
    this.#failed++;
    this.#errors[code] = (this.#errors[code] ?? 0) + 1;
  }

  /** An item has it no more: it runs again. */
  forget(outcome: Outcome): void {
    if (outcome.ok) {
      this.#succeeded--;
      return;
    }
    const { code } = outcome.error;
    this.#failed--;
    const left = (this.#errors[code] ?? 1) - 1;
    if (left === 0) delete this.#errors[code];
    else this.#errors[code] = left;
  }

  /** How long an attempt waited for its tokens (undefined: without limits nothing waits) and how long it took. */
  time(waitMs: number | undefined, durationMs: number): void {
    this.#services.record(durationMs);
    if (waitMs !== undefined) this.#waits.record(waitMs);
  }

  /** The batch is over. */
  end(nowMs: number): void {
    this.#endedMs = nowMs;
  }

  /** How long the batch has run, or did. */
  elapsedMs(nowMs: number): number {
    return (this.#endedMs ?? nowMs) - this.#startedMs;
  }

  progress(nowMs: number, total: number | undefined): Omit<Progress, 'inFlight' | 'waiting' | 'rounds' | 'isPaused'> {
    const { done } = this;
    const throughputPerSecond = this.#throughput.sample(nowMs, done);
    const left = total === undefined ? undefined : total - done;
    const isUnknown = left === undefined || throughputPerSecond === 0;
    return {
      total,
      done,
      succeeded: this.#succeeded,
      failed: this.#failed,
      throughputPerSecond,
      elapsedMs: nowMs - this.#startedMs,
      timeLeftMs: left === 0 ? 0 : isUnknown ? undefined : (left * 1e3) / throughputPerSecond,
    };
  }

  summary(nowMs: number, counts: OtherCounts): BatchSummary {
    const total = this.done;
    const elapsedMs = this.elapsedMs(nowMs);
    return {
      total,
      succeeded: this.#succeeded,
      failed: this.#failed,
      errorRate: total === 0 ? 0 : this.#failed / total,
      errors: { ...this.#errors },
      rounds: counts.rounds,
      rateLimitEvents: counts.rateLimitEvents,
      refused: counts.refused,
      cancelled: counts.cancelled,
      retried: counts.retried,
      requestsSent: counts.sent,
      elapsedMs,
      throughputPerSecond: elapsedMs > 0 ? (total * 1e3) / elapsedMs : 0,
      waitMs: this.#waits.latency,
      durationMs: this.#services.latency,
    };
  }
}
