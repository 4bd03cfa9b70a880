import type { ErrorCode } from '../errors.ts';
import { END, NOT_IDEMPOTENT } from '../protocol.ts';
import type { FailureRecord } from '../recover/error-record.ts';
import type { RecoveryTable } from '../recover/recovery-table.ts';
import { abortedRecord } from '../recover/stop-records.ts';
import { WORK } from '../shared/layout.ts';
import type { WorkSlot } from '../shared/work-slot.ts';
import type { ErrorRecord, LocalizedText, Outcome } from '../types.ts';
import { type ChunkSizing, INITIAL_SIZING } from './chunk-size.ts';
import { decide, type RetryRules, refusedForGood, rulesFor } from './decide.ts';
import { DelayQueue } from './delay-queue.ts';
import { Feeder, type GroupReport, type GroupRules } from './feeder.ts';
import { Milestones, type Progress } from './progress.ts';
import { Rounds } from './rounds.ts';
import type { BatchSummary } from './summary.ts';
import { Tally } from './tally.ts';
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
  /** What errors mean, and what is done about them. */
  readonly table: RecoveryTable;
  readonly locale: keyof LocalizedText;
  /** By how much backoffs are longer than usual. */
  readonly stretch: () => number;
  readonly onProgress: ((progress: Progress) => void) | undefined;
  /** Progress is reported each time that so many more items are done; undefined: now and then. */
  readonly progressInterval: number | undefined;
  /** Hand items out in groups; undefined: all at once. */
  readonly groups: GroupRules | undefined;
  /** Called for every group that is done. */
  readonly onGroup: (group: GroupReport) => void;
  /** Called when progress is to be reported because of `progressInterval`. */
  readonly onMilestone: (batch: Batch) => void;
  /** Called when `releaseDue` is to be called after so long. */
  readonly onWait: (delayMs: number) => void;
  /** Called whenever the batch has more to hand out. */
  readonly onWork: (batch: Batch) => void;
  /** Called for every attempt that will be made again. */
  readonly onRetry: (entry: WorkItem, record: FailureRecord, delayMs: number) => void;
  /** Called for every item that fails for good. */
  readonly onFailure: (index: number, error: ErrorRecord) => void;
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
const NEVER_RUN: ReadonlySet<ErrorCode> = new Set(['ABORTED', 'RATE_LIMITED', 'CIRCUIT_OPEN', 'CREDENTIALS']);

const NOT_RUN: AttemptTimes = { waitMs: 0, durationMs: 0, threadId: -1 };

/** The items of one `run` or `stream`: what is to do, what is out, what is done. Exactly one outcome for each item. */
export class Batch {
  readonly id: number;
  readonly idempotent: boolean | undefined;
  readonly rules: RetryRules;
  readonly onProgress: ((progress: Progress) => void) | undefined;
  /** If progress is reported as items are done, and not as time goes by. */
  readonly milestones: Milestones | undefined;
  readonly queue: WorkQueue;
  readonly delayed = new DelayQueue<WorkItem>();
  /** Lost with their thread: to be run alone. */
  readonly lost: WorkItem[] = [];
  readonly chunks = new Set<OutstandingWork>();
  readonly counts = { sent: 0, refused: 0, cancelled: 0, retried: 0, rateLimitEvents: 0 };
  sizing: ChunkSizing = INITIAL_SIZING;
  rounds = 1;
  isAborted = false;
  /** Which opening of the circuit breaker its items have waited for, since that was closed last; 0: none. */
  waitedForOpening = 0;
  isOver = false;
  /** Called once when the batch is over, however it ended. */
  onOver: (() => void) | undefined;
  /** How many items there are; undefined while a source may bring more. */
  total: number | undefined;
  readonly #options: BatchOptions;
  readonly #sink: OutcomeSink;
  readonly #tally: Tally;
  /** With scope 'batch' only. */
  #rounds: Rounds | undefined;
  /** The round in which the group in work began. */
  #firstRound = 1;
  readonly #feeder: Feeder | undefined;

  constructor(options: BatchOptions) {
    this.#options = options;
    this.id = options.id;
    this.idempotent = options.idempotent;
    this.rules = options.rules;
    this.onProgress = options.onProgress;
    this.#sink = options.sink;
    this.queue = new WorkQueue(() => options.onWork(this));
    const nowMs = options.nowMs();
    this.#tally = new Tally(nowMs);
    this.#feeder = options.groups && new Feeder(this.queue, options.groups, nowMs);
    this.milestones = options.progressInterval === undefined ? undefined : new Milestones(options.progressInterval);
  }

  /** Give it all its items at once. */
  fill(items: readonly unknown[]): void {
    this.total = items.length;
    this.queue.fill(items);
    if (this.rules.scope === 'batch') this.#rounds = new Rounds(items);
  }

  get failed(): number {
    return this.#tally.failed;
  }

  /** How long it has run, or did. */
  get elapsedMs(): number {
    return this.#tally.elapsedMs(this.#options.nowMs());
  }

  /** Its items are handed out in groups. */
  get hasGroups(): boolean {
    return this.#feeder !== undefined;
  }

  get done(): number {
    return this.#tally.done;
  }

  /** Items that are neither done nor in a lane. */
  get pending(): number {
    return this.queue.size;
  }

  /** Items that wait for the group before theirs. */
  get held(): number {
    return this.queue.held;
  }

  /** When `releaseDue` has something to do; undefined if it never has. */
  get nextDueMs(): number | undefined {
    const dueMs = Math.min(this.delayed.nextDueMs ?? Infinity, this.#feeder?.dueMs ?? Infinity);
    return dueMs === Infinity ? undefined : dueMs;
  }

  /** An item succeeded. */
  succeed(index: number, attempts: number, value: unknown, times: AttemptTimes, keep: boolean): void {
    const { waitMs, durationMs, threadId } = times;
    this.#record(times);
    this.#feeder?.noteSuccess(durationMs);
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
      this.#put(earlier, false);
      return;
    }
    const { locale, onFailure, table } = this.#options;
    const error = {
      ...record,
      ...table.describe(record, locale),
      attempts,
      possiblyExecuted: record.possiblyExecuted || entry.possiblyExecuted,
    };
    if (threadId !== -1) this.#record(times);
    this.#put({ ok: false, index, error, attempts, waitMs, durationMs, threadId }, keep);
    // One that starts over may still make it.
    if (this.#rounds === undefined) onFailure(index, error);
  }

  /** An attempt ended otherwise than with success: decide what becomes of the item. */
  settle(entry: WorkItem, end: number, value: unknown, times: AttemptTimes): void {
    if (this.isOver) return;
    const record = value as FailureRecord | undefined;
    const isIdempotent = (end & NOT_IDEMPOTENT) === 0;
    const kind = end & ~NOT_IDEMPOTENT;
    if (kind === END.refused) this.#feeder?.noteRefusal();
    else if (kind === END.retry) this.#feeder?.noteFailedAttempt();
    const { random, stretch, table } = this.#options;
    const rules = record === undefined ? this.rules : rulesFor(table.find(record), this.rules);
    const decision = decide(kind, record, isIdempotent, entry, rules, random(), stretch());
    if (decision.next === 'fail') {
      this.fail(entry, decision.record, times, !isIdempotent && kind !== END.refused);
    } else if (this.isAborted) {
      this.fail(entry, abortedRecord(false), times);
    } else if (decision.next === 'front') {
      // Refused because of its credentials: the one attempt that counts and is made again without a wait of its own.
      if (kind === END.stale) this.#noteRetry(entry, record, 0);
      this.queue.putBack([entry]);
    } else if (decision.next === 'last') {
      this.queue.putLast(entry);
    } else {
      this.delayed.push(this.#options.nowMs() + decision.delayMs, entry);
      this.#noteRetry(entry, record, decision.delayMs);
    }
  }

  /** Items that come back from a chunk without having been started. */
  putBack(entries: WorkItem[]): void {
    if (this.isOver || entries.length === 0) return;
    if (this.isAborted) for (const entry of entries) this.fail(entry, abortedRecord(false));
    else this.queue.putBack(entries);
  }

  /** Move what has waited long enough to the queue, and feed the next group if it is due. */
  releaseDue(): void {
    const nowMs = this.#options.nowMs();
    this.queue.putBack(this.delayed.takeDue(nowMs));
    if (this.#feeder?.feedDue(this.done, this.failed, nowMs)) this.#firstRound = this.rounds;
  }

  /** The user's abort: what no lane has claimed ends now. */
  abort(): void {
    if (this.isOver || this.isAborted) return;
    this.isAborted = true;
    const left = [...this.#takeAllWaiting(), ...this.#takeHeld()];
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
    for (const entry of [...this.#takeAllWaiting(), ...this.#takeHeld()]) this.fail(entry, record);
  }

  /**
   * After a rate-limit event, with scope 'batch': start over, or give up after the last round. What must not be sent
   * twice and is finished stays finished. With groups, all of it is about the group in work, each with its own rounds:
   * earlier ones are done, and later ones have not begun.
   */
  startOver(): void {
    if (this.#rounds === undefined || this.isOver) return;
    const rounds = this.rounds - this.#firstRound + 1;
    if (rounds >= this.rules.maxAttempts) {
      const record = refusedForGood(undefined, `${rounds} rounds ended in a rate-limit error`);
      for (const entry of this.#takeAllWaiting()) this.fail(entry, record);
      return;
    }
    this.rounds++;
    const again = this.#takeAllWaiting();
    for (const { index, item, outcome } of this.#rounds.restart()) {
      this.#tally.forget(outcome);
      again.push({ index, item, attempts: 0, refusals: 0, refreshes: 0, possiblyExecuted: false, sendFailures: 0 });
    }
    this.milestones?.goBack(this.done);
    this.queue.putBack(again);
  }

  /** The batch cannot go on. */
  endWith(error: Error): void {
    if (this.isOver) return;
    this.isOver = true;
    this.onOver?.();
    this.#sink.end(error);
  }

  /** Close the batch if every item has its outcome; with groups, the group in work if all of its items have. */
  endIfDone(): boolean {
    if (this.isOver) return false;
    const isLast = this.total !== undefined && this.done >= this.total;
    this.#endGroupIfDone(isLast);
    if (!isLast) return false;
    this.isOver = true;
    this.#tally.end(this.#options.nowMs());
    for (const chunk of this.chunks) chunk.foldCounts();
    this.#giveOutcomes();
    this.onOver?.();
    this.#sink.end();
    return true;
  }

  progress(isPaused: boolean): Progress {
    let inFlight = 0;
    let waiting = 0;
    for (const { slot } of this.chunks) {
      const { work } = slot;
      if ((work & WORK.called) !== 0) inFlight++;
      else if ((work & WORK.waiting) !== 0) waiting++;
    }
    const counts = this.#tally.progress(this.#options.nowMs(), this.total);
    return { ...counts, inFlight, waiting, rounds: this.rounds, isPaused };
  }

  summary(): BatchSummary {
    return this.#tally.summary(this.#options.nowMs(), { ...this.counts, rounds: this.rounds });
  }

  #noteRetry(entry: WorkItem, record: FailureRecord | undefined, delayMs: number): void {
    this.counts.retried++;
    if (record !== undefined) this.#options.onRetry(entry, record, delayMs);
  }

  #put(outcome: Outcome, keep: boolean): void {
    this.#tally.count(outcome);
    if (this.#rounds === undefined) this.#sink.put(outcome);
    else this.#rounds.put(outcome, keep);
    if (this.milestones?.reach(this.done)) this.#options.onMilestone(this);
  }

  #endGroupIfDone(isLast: boolean): void {
    const feeder = this.#feeder;
    if (feeder === undefined || feeder.dueMs !== undefined) return;
    const nowMs = this.#options.nowMs();
    const report = feeder.settle(this.done, this.failed, isLast, nowMs);
    if (feeder.dueMs === undefined) return;
    this.#giveOutcomes();
    if (!isLast) this.#options.onWait(feeder.dueMs - nowMs);
    if (report !== undefined) this.#options.onGroup(report);
  }

  /** What was held back because a later round might change it. */
  #giveOutcomes(): void {
    for (const outcome of this.#rounds?.takeOutcomes() ?? []) {
      this.#sink.put(outcome);
      if (!outcome.ok) this.#options.onFailure(outcome.index, outcome.error);
    }
  }

  /** What was never fed, to fail with the whole batch. */
  #takeHeld(): WorkItem[] {
    const held = this.queue.takeHeld();
    this.#feeder?.noteUnfed(held.length);
    return held;
  }

  /** All that waits, but not what was never fed. */
  #takeAllWaiting(): WorkItem[] {
    return [...this.queue.takeAll(), ...this.delayed.takeAll(), ...this.lost.splice(0)];
  }

  #record(times: AttemptTimes): void {
    this.#tally.time(this.#options.hasLimits ? times.waitMs : undefined, times.durationMs);
  }
}
