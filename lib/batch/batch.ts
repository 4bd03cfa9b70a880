import type { ErrorCode } from '../errors.ts';
import { END, NOT_IDEMPOTENT } from '../protocol.ts';
import type { FailureRecord } from '../recover/error-record.ts';
import { abortedRecord } from '../recover/stop-records.ts';
import { LatencyMeter } from '../shared/latency.ts';
import { WORK } from '../shared/layout.ts';
import type { WorkSlot } from '../shared/work-slot.ts';
import type { Outcome } from '../types.ts';
import { type ChunkSizing, INITIAL_SIZING } from './chunk-size.ts';
import { decide, type RetryRules, refusedForGood } from './decide.ts';
import { DelayQueue } from './delay-queue.ts';
import { type Progress, ThroughputMeter } from './progress.ts';
import { Rounds } from './rounds.ts';
import type { BatchSummary } from './summary.ts';
import { entryAt, type Work, type WorkItem, WorkQueue } from './work-queue.ts';

/** Where the outcomes of a batch go. */
export interface OutcomeSink {
  put(outcome: Outcome): void;
  /** All items have their outcome; or, with an error, the batch cannot go on. */
  end(error?: Error): void;
}

export interface BatchOptions {
  readonly id: number;
  readonly rules: RetryRules;
  readonly idempotent: boolean | undefined;
  readonly sink: OutcomeSink;
  /** Whether items wait for tokens at all. */
  readonly hasLimits: boolean;
  readonly nowMs: () => number;
  readonly random: () => number;
  readonly onProgress: ((progress: Progress) => void) | undefined;
  /** Called whenever the batch has more to hand out. */
  readonly onWork: (batch: Batch) => void;
  /** Called for every attempt that will be made again. */
  readonly onRetry: (entry: WorkItem, record: FailureRecord, delayMs: number) => void;
}

/** Work of the batch that is with a thread. */
export interface OutstandingWork {
  readonly work: Work;
  readonly slot: WorkSlot;
  /** Items that are the thread's to do. */
  readonly end: number;
  /** Items from the start whose ends are known. */
  readonly settled: number;
  /** Close it, and take back what was not claimed. */
  takeBackUnclaimed(): WorkItem[];
  /** Bring the batch's counts up to what the slot says. */
  foldCounts(): void;
}

/** How an attempt took its time, and where. */
interface AttemptTimes {
  readonly waitMs: number;
  readonly durationMs: number;
  readonly threadId: number;
}

/** Codes of items that were not tried, or not to the end. */
const NEVER_RUN: ReadonlySet<ErrorCode> = new Set(['ABORTED', 'RATE_LIMITED']);

const NOT_RUN: AttemptTimes = { waitMs: 0, durationMs: 0, threadId: -1 };

/** The items of one `run` or `stream`: what is to do, what is out, what is done. Exactly one outcome for each item. */
export class Batch {
  readonly id: number;
  readonly idempotent: boolean | undefined;
  readonly rules: RetryRules;
  readonly onProgress: ((progress: Progress) => void) | undefined;
  readonly queue: WorkQueue;
  readonly delayed = new DelayQueue<WorkItem>();
  /** Lost with their thread: to be run alone. */
  readonly lost: WorkItem[] = [];
  readonly chunks = new Set<OutstandingWork>();
  readonly counts = { sent: 0, refused: 0, cancelled: 0, retried: 0, rateLimitEvents: 0 };
  sizing: ChunkSizing = INITIAL_SIZING;
  rounds = 1;
  isAborted = false;
  isOver = false;
  /** Called once when the batch is over, however it ended. */
  onOver: (() => void) | undefined;
  /** How many items there are; undefined while a source may bring more. */
  total: number | undefined;
  #succeeded = 0;
  #failed = 0;
  readonly #options: BatchOptions;
  readonly #sink: OutcomeSink;
  readonly #startedMs: number;
  #endedMs: number | undefined;
  readonly #errors: Partial<Record<ErrorCode, number>> = {};
  /** With scope 'batch' only. */
  #rounds: Rounds | undefined;
  readonly #waits = new LatencyMeter();
  readonly #services = new LatencyMeter();
  readonly #meter = new ThroughputMeter();

  constructor(options: BatchOptions) {
    this.#options = options;
    this.id = options.id;
    this.idempotent = options.idempotent;
    this.rules = options.rules;
    this.onProgress = options.onProgress;
    this.#sink = options.sink;
    this.queue = new WorkQueue(() => options.onWork(this));
    this.#startedMs = options.nowMs();
    // Without this first sample, what is done before the first report would not count as throughput.
    this.#meter.sample(this.#startedMs, 0);
  }

  /** Give it all its items at once. */
  fill(items: readonly unknown[]): void {
    this.total = items.length;
    this.queue.fill(items);
    if (this.rules.scope === 'batch') this.#rounds = new Rounds(items);
  }

  get failed(): number {
    return this.#failed;
  }

  get done(): number {
    return this.#succeeded + this.#failed;
  }

  /** Items that are neither done nor in a lane. */
  get pending(): number {
    return this.queue.size;
  }

  /** An item succeeded. */
  succeed(index: number, attempts: number, value: unknown, times: AttemptTimes, keep: boolean): void {
    const { waitMs, durationMs, threadId } = times;
    this.#succeeded++;
    this.#record(times);
    this.#put({ ok: true, index, value, attempts, waitMs, durationMs, threadId }, keep);
  }

  /** An item failed for good. */
  fail(entry: WorkItem, record: FailureRecord, times: AttemptTimes = NOT_RUN, keep = false): void {
    if (this.isOver) return;
    const { waitMs, durationMs, threadId } = times;
    const { index, attempts } = entry;
    // A success of an earlier round is not given up because a later round did not get so far.
    const earlier = NEVER_RUN.has(record.code) ? this.#rounds?.earlierSuccess(index) : undefined;
    if (earlier !== undefined) {
      this.#succeeded++;
      this.#put(earlier, false);
      return;
    }
    const error = { ...record, attempts, possiblyExecuted: record.possiblyExecuted || entry.possiblyExecuted };
    this.#failed++;
    this.#errors[error.code] = (this.#errors[error.code] ?? 0) + 1;
    if (threadId !== -1) this.#record(times);
    this.#put({ ok: false, index, error, attempts, waitMs, durationMs, threadId }, keep);
  }

  /** An attempt ended otherwise than with success: decide what becomes of the item. */
  settle(entry: WorkItem, end: number, value: unknown, times: AttemptTimes): void {
    if (this.isOver) return;
    const record = value as FailureRecord | undefined;
    const isIdempotent = (end & NOT_IDEMPOTENT) === 0;
    const kind = end & ~NOT_IDEMPOTENT;
    const decision = decide(kind, record, isIdempotent, entry, this.rules, this.#options.random());
    if (decision.next === 'fail') {
      this.fail(entry, decision.record, times, !isIdempotent && kind !== END.refused);
    } else if (this.isAborted) {
      this.fail(entry, abortedRecord(false), times);
    } else if (decision.next === 'front') {
      this.queue.putBack([entry]);
    } else if (decision.next === 'last') {
      this.queue.putLast(entry);
    } else {
      this.counts.retried++;
      this.delayed.push(this.#options.nowMs() + decision.delayMs, entry);
      if (record !== undefined) this.#options.onRetry(entry, record, decision.delayMs);
    }
  }

  /** Items that come back from a chunk without having been started. */
  putBack(entries: WorkItem[]): void {
    if (this.isOver || entries.length === 0) return;
    if (this.isAborted) for (const entry of entries) this.fail(entry, abortedRecord(false));
    else this.queue.putBack(entries);
  }

  /** Move what has waited long enough to the queue. */
  releaseDue(): void {
    this.queue.putBack(this.delayed.takeDue(this.#options.nowMs()));
  }

  /** The user's abort: what no lane has claimed ends now. */
  abort(): void {
    if (this.isOver || this.isAborted) return;
    this.isAborted = true;
    const left = this.#takeAllWaiting();
    for (const chunk of this.chunks) for (const entry of chunk.takeBackUnclaimed()) left.push(entry);
    for (const entry of left) this.fail(entry, abortedRecord(false));
  }

  /** What is claimed did not come back in time after an abort: say so and wait no longer. */
  abandonClaimed(): void {
    for (const chunk of this.chunks) {
      const { work } = chunk.slot;
      for (let position = chunk.settled; position < chunk.end; position++) {
        const isSent = position < chunk.end - 1 || (work & WORK.sent) !== 0;
        this.fail(entryAt(chunk.work, position), abortedRecord(isSent));
      }
      chunk.foldCounts();
    }
  }

  /** Every item that is not done ends with this record. Used between barrier and going on, when nothing is out. */
  failUnfinished(record: FailureRecord): void {
    for (const entry of this.#takeAllWaiting()) this.fail(entry, record);
  }

  /**
   * After a rate-limit event, with scope 'batch': start over, or give up after the last round. What must not be sent
   * twice and is finished stays finished.
   */
  startOver(): void {
    if (this.#rounds === undefined || this.isOver) return;
    if (this.rounds >= this.rules.maxAttempts) {
      this.failUnfinished(refusedForGood(undefined, `${this.rounds} rounds ended in a rate-limit error`));
      return;
    }
    this.rounds++;
    const again = this.#takeAllWaiting();
    for (const { index, item, outcome } of this.#rounds.restart()) {
      if (outcome.ok) this.#succeeded--;
      else this.#forgetFailure(outcome.error.code);
      again.push({ index, item, attempts: 0, refusals: 0, possiblyExecuted: false, sendFailures: 0 });
    }
    this.queue.putBack(again);
  }

  /** The batch cannot go on. */
  endWith(error: Error): void {
    if (this.isOver) return;
    this.isOver = true;
    this.onOver?.();
    this.#sink.end(error);
  }

  /** Close the batch if every item has its outcome. */
  endIfDone(): boolean {
    if (this.isOver || this.total === undefined || this.done < this.total) return false;
    this.isOver = true;
    this.#endedMs = this.#options.nowMs();
    for (const chunk of this.chunks) chunk.foldCounts();
    if (this.#rounds !== undefined) for (const outcome of this.#rounds.outcomes) this.#sink.put(outcome);
    this.onOver?.();
    this.#sink.end();
    return true;
  }

  progress(isPaused: boolean): Progress {
    const nowMs = this.#options.nowMs();
    let inFlight = 0;
    let waiting = 0;
    for (const { slot } of this.chunks) {
      const { work } = slot;
      if ((work & WORK.called) !== 0) inFlight++;
      else if ((work & WORK.waiting) !== 0) waiting++;
    }
    const { done } = this;
    const throughputPerSecond = this.#meter.sample(nowMs, done);
    const left = this.total === undefined ? undefined : this.total - done;
    return {
      total: this.total,
      done,
      succeeded: this.#succeeded,
      failed: this.#failed,
      inFlight,
      waiting,
      throughputPerSecond,
      elapsedMs: nowMs - this.#startedMs,
      timeLeftMs:
        left === 0
          ? 0
          : left === undefined || throughputPerSecond === 0
            ? undefined
            : (left * 1e3) / throughputPerSecond,
      rounds: this.rounds,
      isPaused,
    };
  }

  summary(): BatchSummary {
    const total = this.done;
    const elapsedMs = (this.#endedMs ?? this.#options.nowMs()) - this.#startedMs;
    return {
      total,
      succeeded: this.#succeeded,
      failed: this.#failed,
      errorRate: total === 0 ? 0 : this.#failed / total,
      errors: { ...this.#errors },
      rounds: this.rounds,
      rateLimitEvents: this.counts.rateLimitEvents,
      refused: this.counts.refused,
      cancelled: this.counts.cancelled,
      retried: this.counts.retried,
      requestsSent: this.counts.sent,
      elapsedMs,
      throughputPerSecond: elapsedMs > 0 ? (total * 1e3) / elapsedMs : 0,
      waitMs: this.#waits.latency,
      durationMs: this.#services.latency,
    };
  }

  #put(outcome: Outcome, keep: boolean): void {
    if (this.#rounds === undefined) this.#sink.put(outcome);
    else this.#rounds.put(outcome, keep);
  }

  #forgetFailure(code: ErrorCode): void {
    this.#failed--;
    const left = (this.#errors[code] ?? 1) - 1;
    if (left === 0) delete this.#errors[code];
    else this.#errors[code] = left;
  }

  #takeAllWaiting(): WorkItem[] {
    return [...this.queue.takeAll(), ...this.delayed.takeAll(), ...this.lost.splice(0)];
  }

  #record(times: AttemptTimes): void {
    this.#services.record(times.durationMs);
    if (this.#options.hasLimits) this.#waits.record(times.waitMs);
  }
}
