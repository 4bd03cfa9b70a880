import {
  type DynamicBatchRules,
  type DynamicBatchState,
  type GroupResult,
  initialState,
  observe,
} from './dynamic-batch.ts';
import type { WorkQueue } from './work-queue.ts';

/** How a batch is handed out in groups. */
export interface GroupRules {
  /** Items of a group; of the first one, if it is dynamic. */
  readonly size: number;
  /** From the last outcome of a group to the start of the next one. */
  readonly delayMs: number;
  /** How both change; undefined if they never do. */
  readonly dynamic: DynamicBatchRules | undefined;
}

/** A group that is done. Plain data. */
export interface GroupReport extends GroupResult {
  /** Items that it could have had: the last group of a batch may have fewer. */
  readonly size: number;
  /** The wait before it; 0 for the first group. */
  readonly delayMs: number;
  /** Items that failed for good. */
  readonly failed: number;
  readonly elapsedMs: number;
}

/**
 * Feeds the fresh items of a batch to its queue in groups: a range of indices may be handed out; when all of it has its
 * outcome and the wait is over, the next range. Of a stream, a group is what the source gives next: each item goes as
 * it comes, and those beyond the group are held back.
 *
 *     index   0 ...... from ......... to ......... what the source has given so far
 *             done     the group      held back
 *
 * It counts and is told the time; when to call it is the business of others.
 */
export class Feeder {
  readonly #queue: WorkQueue;
  readonly #rules: GroupRules;
  #control: DynamicBatchState;
  #from = 0;
  #to = 0;
  #size = 0;
  #delayMs = 0;
  #fedAtMs = 0;
  /** When the next group is due; undefined while one is in work. */
  #dueMs: number | undefined;
  #failedBefore = 0;
  /** Items that have failed without having been fed, since the group was. */
  #unfed = 0;
  #failedAttempts = 0;
  #refused = 0;
  #succeeded = 0;
  #serviceSumMs = 0;

  /** Starts with the first group. */
  constructor(queue: WorkQueue, rules: GroupRules, nowMs: number) {
    this.#queue = queue;
    this.#rules = rules;
    this.#control = initialState(rules, nowMs);
    this.#feed(0, 0, nowMs);
  }

  /** When the next group is due; undefined while one is in work. */
  get dueMs(): number | undefined {
    return this.#dueMs;
  }

  /** An item succeeded; its handler took so long. */
  noteSuccess(serviceMs: number): void {
    this.#succeeded++;
    this.#serviceSumMs += serviceMs;
  }

  /** An attempt failed because of the upstream. */
  noteFailedAttempt(): void {
    this.#failedAttempts++;
  }

  /** So many items that were held back fail with the whole batch. Their outcomes say nothing of the group. */
  noteUnfed(count: number): void {
    this.#unfed += count;
  }

  /** An attempt was refused as too fast. */
  noteRefusal(): void {
    this.#refused++;
  }

  /**
   * Outcomes have come in.
   *
   * @param done Items of the batch that have their outcome.
   * @param failed Of these, failures.
   * @param isLast True if there will be no more: the group is what it is.
   * @returns a report if the group is done.
   */
  settle(done: number, failed: number, isLast: boolean, nowMs: number): GroupReport | undefined {
    const fed = done - this.#unfed;
    if (this.#dueMs !== undefined || (fed < this.#to && !isLast)) return undefined;
    const items = fed - this.#from;
    const report: GroupReport = {
      size: this.#size,
      delayMs: this.#delayMs,
      items,
      failed: failed - this.#failedBefore - this.#unfed,
      failedAttempts: this.#failedAttempts,
      refused: this.#refused,
      elapsedMs: nowMs - this.#fedAtMs,
      serviceMs: this.#succeeded === 0 ? undefined : this.#serviceSumMs / this.#succeeded,
    };
    const { dynamic } = this.#rules;
    if (dynamic !== undefined) this.#control = observe(this.#control, report, dynamic, nowMs);
    this.#dueMs = nowMs + this.#control.delayMs;
    return items === 0 ? undefined : report;
  }

  /** Feed the next group if it is due; `done` and `failed` as above. True if there is one now. */
  feedDue(done: number, failed: number, nowMs: number): boolean {
    if (this.#dueMs === undefined || nowMs < this.#dueMs) return false;
    this.#delayMs = this.#control.delayMs;
    this.#feed(done, failed, nowMs);
    return true;
  }

  #feed(done: number, failed: number, nowMs: number): void {
    this.#dueMs = undefined;
    this.#size = this.#control.size;
    this.#from = done;
    this.#to = done + this.#size;
    this.#fedAtMs = nowMs;
    this.#failedBefore = failed;
    this.#unfed = 0;
    this.#failedAttempts = 0;
    this.#refused = 0;
    this.#succeeded = 0;
    this.#serviceSumMs = 0;
    this.#queue.holdFrom(this.#to);
  }
}
