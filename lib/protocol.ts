import type { RecordableHistogram } from 'node:perf_hooks';
import type { MessagePort } from 'node:worker_threads';
import type { PlannedLimit } from './limit/plan.ts';
import type { FailureLimits } from './shared/circuit-counters.ts';
import type { Layout } from './shared/layout.ts';
import type { CauseRecord, HttpOptions, RecoveryRule } from './types.ts';

/** All that a thread needs to know, sent once with its port. */
export interface ThreadSetup {
  readonly buffer: SharedArrayBuffer;
  readonly layout: Layout;
  readonly limits: readonly PlannedLimit[];
  /** Name of the engine's BroadcastChannel. */
  readonly channel: string;
  readonly handlerUrl: string;
  readonly handlerData: unknown;
  readonly http: HttpOptions;
  readonly dispatcherUrl: string | undefined;
  /** Items that this thread works on at a time. */
  readonly lanes: number;
  /** Where this thread counts its calls. */
  readonly place: number;
  readonly timeoutMs: number;
  /** Longest wait for a further token, in which the attempt's own time stands still. */
  readonly acquireTimeoutMs: number;
  readonly onRateLimit: 'cancel' | 'drain';
  /** Rules of the user, before the default ones. */
  readonly recovery: readonly RecoveryRule[];
  /** Undefined: no circuit breaker. */
  readonly circuit: CircuitSetup | undefined;
  /** An answer that says that the quota is used up closes the gate. */
  readonly obeysQuota: boolean;
  /** Longest time until a quota is whole again that is believed. */
  readonly maxRetryAfterMs: number;
  /** There is somebody who can refresh the credentials. */
  readonly canRefresh: boolean;
  /** Memory for the requests of this thread, to be read by the main thread (`TraceCells`); undefined without a trace. */
  readonly trace: SharedArrayBuffer | undefined;
  /** Attempts of an item, where the rule for its error does not say. */
  readonly maxAttempts: number;
  /** Shared, live: how long items waited for permission, and how long handlers ran, in microseconds. */
  readonly waitUs: RecordableHistogram;
  readonly serviceUs: RecordableHistogram;
}

/** When the circuit breaker opens. */
export interface CircuitSetup extends FailureLimits {
  /** Refusals by the rate limit are failures, too. */
  readonly countRateLimits: boolean;
}

/** The first task of a thread. */
export interface InitTask {
  readonly kind: 'init';
  readonly port: MessagePort;
  readonly setup: ThreadSetup;
}

/** Items to be worked on one after the other by one lane. */
export interface ChunkTask {
  readonly kind: 'chunk';
  readonly id: number;
  readonly slot: number;
  readonly generation: number;
  readonly batch: number;
  /** Index of the first item; the others follow, unless `indices` says otherwise. */
  readonly first: number;
  readonly indices: readonly number[] | undefined;
  /** Which attempt this is, per item; all are first attempts without it. */
  readonly attempts: readonly number[] | undefined;
  /** How often credentials were refreshed for each item; never without it. */
  readonly refreshes: readonly number[] | undefined;
  readonly items: ArrayLike<unknown>;
  /** What `run` was told about all items; an item's own word goes before it. */
  readonly idempotent: boolean | undefined;
  /** With every chunk, so that no thread can work with older ones. */
  readonly credentials: unknown;
  /** The circuit is half-open and this item is to find out if it may close: the main thread judges its end. */
  readonly isProbe: boolean;
}

/** From this many values on, a typed array is cheaper to clone than a plain one. */
const TYPED_FROM = 16;

/** The same values in the form that is the cheapest to send: one block of memory, if all of them are numbers. */
export function columnOf<T>(values: readonly T[]): ArrayLike<T> {
  if (values.length < TYPED_FROM) return values;
  for (const value of values) if (typeof value !== 'number') return values;
  return new Float64Array(values as readonly unknown[] as readonly number[]) as ArrayLike<unknown> as ArrayLike<T>;
}

/** A task that does nothing: Piscina starts a missing thread when one is queued. */
export interface NoTask {
  readonly kind: 'none';
}

/** What goes to a thread through Piscina. Chunks go through the thread's own port. */
export type Task = InitTask | NoTask;

/** How one attempt ended. What becomes of the item is decided on the main thread. */
export const END = {
  ok: 0,
  /** Final: `values` has the FailureRecord, as for all ends but `ok`. */
  fatal: 1,
  /** May be tried again if that is safe. */
  retry: 2,
  /** Refused by the upstream's rate limit. */
  refused: 3,
  /** Stopped because of a rate-limit event. No record. */
  cancelled: 4,
  /** Stopped because the user aborted the batch. */
  aborted: 5,
  /** Claimed, but its handler was never called. No record. */
  notStarted: 6,
  /** Refused because of its credentials; they are being refreshed. */
  stale: 7,
} as const;

/** Added to an end: the item must not be sent twice. */
export const NOT_IDEMPOTENT = 16;

/** Ends of items of one chunk, from position `from` on, as columns. */
export interface Reply {
  readonly kind: 'reply';
  readonly id: number;
  readonly from: number;
  /** Undefined if all are `ok` and idempotent. */
  readonly ends: ArrayLike<number> | undefined;
  readonly values: ArrayLike<unknown>;
  /** How long each waited, in milliseconds; undefined if none did. */
  readonly waitsMs: ArrayLike<number> | undefined;
  /** How long the handler of each ran. */
  readonly durationsMs: ArrayLike<number>;
  /** Cells of the requests that were sent or may have been, in the order of their items; undefined without a trace. */
  readonly cells: ArrayLike<number> | undefined;
  /** True if the lane is done with the chunk: what it has not claimed is the main thread's again. */
  readonly last: boolean;
  /** How long the lane had the chunk, in milliseconds; with the last reply. */
  readonly elapsedMs: number;
}

/** What threads say to the main thread, each through a port of its own. */
export type ThreadMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly message: string; readonly cause: CauseRecord | undefined }
  | { readonly kind: 'limited'; readonly generation: number }
  /** The chunk of this number could not be read: it is nested too deep for the stack of the thread, for example. */
  | { readonly kind: 'unreadable'; readonly number: number }
  | { readonly kind: 'replies'; readonly replies: readonly Reply[] }
  | Reply;

/** What goes through the BroadcastChannel, from thread to thread. */
export type Broadcast =
  /** The gate was closed for work below this generation; `cancels`: what is in flight stops, too. */
  | { readonly kind: 'gate'; readonly generation: number; readonly cancels: boolean }
  | { readonly kind: 'abort'; readonly batch: number };
