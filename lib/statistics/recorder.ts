import type { EngineEvents } from '../events.ts';
import type { CallReader } from '../shared/call-ring.ts';
import type { ErrorRecord } from '../types.ts';
import { CallHistory, HISTORY_SECONDS } from './call-history.ts';
import type { BatchEntry, CircuitTransition, ErrorCounts, RateLimitEvent, Recent, Statistics } from './statistics.ts';

/** Entries that are kept of each history. */
const MAX_ENTRIES = 100;

/** What the engine counts anyway. */
export type Totals = Pick<
  Statistics,
  'callsSent' | 'succeeded' | 'failed' | 'refused' | 'cancelled' | 'retried' | 'waitMs' | 'durationMs'
>;

/** A moment, on two clocks: `Date.now()` for people, `process.hrtime.bigint()` for distances. */
export interface Moment {
  readonly dateMs: number;
  readonly nowNs: bigint;
}

export interface RecorderOptions {
  readonly start: Moment;
  /** The calls that the threads count. */
  readonly calls: Pick<CallReader, 'read'>;
  readonly settings: Readonly<Record<string, unknown>>;
}

/**
 * Remembers what an engine did: what the engine does not count itself, in memory that does not grow with time or with
 * the number of items. Items that succeed cost nothing here.
 */
export class Recorder {
  readonly #start: Moment;
  readonly #reader: Pick<CallReader, 'read'>;
  readonly #settings: Readonly<Record<string, unknown>>;
  readonly #calls = new CallHistory();
  readonly #codes = new Counts();
  readonly #types = new Counts();
  readonly #severities = new Counts();
  readonly #rateLimits = new History<RateLimitEvent>();
  readonly #circuit = new History<CircuitTransition>();
  readonly #batches = new History<BatchEntry>();

  constructor({ start, calls, settings }: RecorderOptions) {
    this.#start = start;
    this.#reader = calls;
    this.#settings = settings;
  }

  /** Read what the threads have counted. At least once a minute while there is work, and before a long rest. */
  harvest(): void {
    for (const [second, calls] of this.#reader.read()) this.#calls.add(second, calls);
  }

  /** An item failed for good. */
  onFailure({ code, type, severity }: FailureKind): void {
    this.#codes.add(code);
    this.#types.add(type);
    this.#severities.add(severity);
  }

  /** The gate is closed, nothing is in flight, and the engine waits. Only what the upstream's limit caused is kept. */
  onPaused({ delayMs, eventsInRow, causes }: PauseOf, dateMs: number): void {
    if (!causes.includes('refused') && !causes.includes('quota')) return;
    this.#rateLimits.add({ at: isoOf(dateMs), delayMs, eventsInRow, causes: [...causes] });
  }

  /** The circuit breaker changed its state. */
  onCircuit({ from, to, openMs }: EngineEvents['circuit'], dateMs: number): void {
    this.#circuit.add({ at: isoOf(dateMs), from, to, ...(openMs === undefined ? {} : { openMs }) });
  }

  /** A group of a batch is done, or a batch that has none. */
  onBatch(entry: Omit<BatchEntry, 'at'>, dateMs: number): void {
    const { batch, items, failed, elapsedMs, size, delayMs } = entry;
    this.#batches.add({
      at: isoOf(dateMs),
      batch,
      items,
      failed,
      elapsedMs,
      ...(size === undefined ? {} : { size }),
      ...(delayMs === undefined ? {} : { delayMs }),
    });
  }

  /** All that is known now. */
  snapshot(totals: Totals, { dateMs, nowNs }: Moment): Statistics {
    this.harvest();
    const { callsSent, succeeded, failed, refused, cancelled, retried, waitMs, durationMs } = totals;
    const done = succeeded + failed;
    const thisSecond = secondOf(nowNs);
    const firstSecond = Math.max(secondOf(this.#start.nowNs), thisSecond - HISTORY_SECONDS + 1);
    const sinceFirstMs = Number(nowNs - BigInt(firstSecond) * 1_000_000_000n) / 1e6;
    return {
      startedAt: isoOf(this.#start.dateMs),
      savedAt: isoOf(dateMs),
      elapsedMs: Number(nowNs - this.#start.nowNs) / 1e6,
      callsSent,
      succeeded,
      failed,
      errorRate: done === 0 ? 0 : failed / done,
      refused,
      cancelled,
      retried,
      maxCallsPerSecond: this.#calls.max,
      callsPerSecond: {
        startAt: isoOf(dateMs - sinceFirstMs),
        counts: this.#calls.between(firstSecond, thisSecond),
      },
      waitMs,
      durationMs,
      errors: {
        byCode: this.#codes.toObject(),
        byType: this.#types.toObject(),
        bySeverity: this.#severities.toObject() as ErrorCounts['bySeverity'],
      },
      rateLimitEvents: this.#rateLimits.recent,
      circuit: this.#circuit.recent,
      batches: this.#batches.recent,
      settings: structuredClone(this.#settings),
    };
  }
}

/** What is kept of a pause. */
type PauseOf = Pick<EngineEvents['paused'], 'delayMs' | 'eventsInRow' | 'causes'>;

/** What is counted of a failure. The recovery table knows all types that there can be. */
type FailureKind = Pick<ErrorRecord, 'code' | 'type' | 'severity'>;

class Counts {
  readonly #counts = new Map<string, number>();

  add(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  toObject(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }
}

class History<T> {
  readonly #last: T[] = [];
  #count = 0;

  add(entry: T): void {
    this.#count++;
    this.#last.push(entry);
    if (this.#last.length > MAX_ENTRIES) this.#last.shift();
  }

  get recent(): Recent<T> {
    return { count: this.#count, last: [...this.#last] };
  }
}

function secondOf(ns: bigint): number {
  return Number(ns / 1_000_000_000n);
}

function isoOf(dateMs: number): string {
  return new Date(dateMs).toISOString();
}
