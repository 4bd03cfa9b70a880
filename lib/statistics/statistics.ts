import type { CircuitState } from '../events.ts';
import type { CauseName } from '../shared/gate.ts';
import type { Latency } from '../shared/latency.ts';
import type { Severity } from '../types.ts';

/**
 * What an engine did since it was made. Plain data of bounded size: lists hold the last 100 entries, oldest first, and
 * `count` says how many there were in all. Times of day are ISO 8601 in UTC.
 */
export interface Statistics {
  /** When the engine was made. */
  readonly startedAt: string;
  /** When these statistics were taken. */
  readonly savedAt: string;
  /** Milliseconds between the two, whatever was done to the clock of the machine. */
  readonly elapsedMs: number;
  /** Requests sent; calls of the handler, for one that does not say when it sends. */
  readonly callsSent: number;
  /** Items that succeeded. */
  readonly succeeded: number;
  /** Items that failed for good. */
  readonly failed: number;
  /** Share of failures among the items that are done, 0 to 1. */
  readonly errorRate: number;
  /** Requests that the upstream refused. */
  readonly refused: number;
  /** Requests in flight that were cancelled because of another one's refusal. */
  readonly cancelled: number;
  /** Attempts that were made again after a failure. */
  readonly retried: number;
  /** Most calls in one second. */
  readonly maxCallsPerSecond: number;
  /** Calls in each of the last seconds. */
  readonly callsPerSecond: CallsPerSecond;
  /** How long attempts waited for their tokens and start slot, in milliseconds. */
  readonly waitMs: Latency;
  /** How long handlers ran, in milliseconds. */
  readonly durationMs: Latency;
  /** Items that failed for good, counted in three ways. */
  readonly errors: ErrorCounts;
  /** How often the upstream's rate limit stopped the engine. */
  readonly rateLimitEvents: Recent<RateLimitEvent>;
  /** The circuit breaker's way from state to state. */
  readonly circuit: Recent<CircuitTransition>;
  /** Batches that are over; with `batchSize`, each of their groups. */
  readonly batches: Recent<BatchEntry>;
  /** The engine's options as they were resolved, without anything that may be secret. `Infinity` is a text here. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** Calls second by second. The seconds are those of a clock that is never set, not of the time of day. */
export interface CallsPerSecond {
  /** When the first of these seconds began. */
  readonly startAt: string;
  /** One number for each second, at most 300; the last second is not over yet. */
  readonly counts: readonly number[];
}

/** Failures by code, by the recovery table's type, and by severity. What did not occur is missing. */
export interface ErrorCounts {
  readonly byCode: Readonly<Record<string, number>>;
  readonly byType: Readonly<Record<string, number>>;
  readonly bySeverity: Readonly<Partial<Record<Severity, number>>>;
}

/** The last entries of a history that may have been longer. */
export interface Recent<T> {
  readonly count: number;
  readonly last: readonly T[];
}

/** The upstream's rate limit stopped the engine. */
export interface RateLimitEvent {
  /** When all requests in flight had ended and the wait began. */
  readonly at: string;
  readonly delayMs: number;
  /** Events without an answered item in between, this one included. */
  readonly eventsInRow: number;
  readonly causes: readonly CauseName[];
}

/** The circuit breaker changed its state. */
export interface CircuitTransition {
  readonly at: string;
  readonly from: CircuitState;
  readonly to: CircuitState;
  /** How long it opens. */
  readonly openMs?: number;
}

/** A batch, or a group of its items, that is over. */
export interface BatchEntry {
  readonly at: string;
  /** Number of the run or stream, from 1. */
  readonly batch: number;
  readonly items: number;
  /** Items that failed for good. */
  readonly failed: number;
  readonly elapsedMs: number;
  /** With `batchSize`: items that the group could have had, and the wait before it. */
  readonly size?: number;
  readonly delayMs?: number;
}
