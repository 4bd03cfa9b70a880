import { availableParallelism } from 'node:os';
import type { ResourceLimits } from 'node:worker_threads';
import type { Progress } from './batch/progress.ts';
import { resolveModuleUrl } from './module-url.ts';
import {
  closeOptionsSchema,
  engineOptionsSchema,
  invalidOption,
  MAX_THREADS,
  parseOptions,
  runOptionsSchema,
} from './options-schema.ts';
import type { HttpOptions } from './types.ts';

/** What the upstream allows: at most `limit` requests in any window of `windowMs`. */
export interface RateLimit {
  /** Requests per window: an integer from 1 to 1 000 000 000. For less than one per window make the window longer. */
  readonly limit: number;
  /** Length of the window in milliseconds, from 0.001 to 31 days. Example: `1000`. */
  readonly windowMs: number;
  /**
   * The share of `limit` that is used: more than 0, at most 1. Default 1.
   * There are `floor(limit * safetyMargin)` tokens, at least one.
   */
  readonly safetyMargin?: number | undefined;
  /**
   * The longest that a request travels before the upstream counts it, in milliseconds, from 0 to 31 days or
   * `Infinity`. Default `Infinity`: assume nothing, a token rests from the answer on. 0 is the conventional limiter:
   * it rests from the sending on, and requests that the network bunches up may be refused.
   */
  readonly arrivalWithinMs?: number | undefined;
  /**
   * Least distance between two starts: a number of milliseconds from 0 to 31 days, `'even'` for the window divided by
   * the tokens, or `'none'`. Default `'none'`.
   */
  readonly spacing?: 'none' | 'even' | number | undefined;
  /**
   * How long after we gave up on a request the upstream may still count it, in milliseconds, from 0 to 31 days.
   * Default `windowMs`.
   */
  readonly straggleMs?: number | undefined;
  /**
   * What the first window may use. Default `'full'`: all tokens. `'empty'`: none, for a process that may follow
   * another one within a window.
   */
  readonly initial?: 'full' | 'empty' | undefined;
}

/** What is run again, how often, and how long the waits are. */
export interface RetryOptions {
  /**
   * After a rate-limit error run again only the items without an outcome (`'unfinished'`, default), or the whole batch
   * from the beginning (`'batch'`).
   */
  readonly scope?: 'unfinished' | 'batch' | undefined;
  /** Attempts for an item, or rounds for a batch with `scope: 'batch'`: an integer from 1 to 1 000 000. Default 3. */
  readonly maxAttempts?: number | undefined;
  /** Refusals by the rate limit until an item ends as `RATE_LIMITED`: an integer from 1 to 1 000 000. Default 5. */
  readonly maxRefusals?: number | undefined;
  /** The first wait in milliseconds, from 0 to 2 147 483 647. Default 1000, or `maxMs` if that is less. */
  readonly initialMs?: number | undefined;
  /** Each wait is this many times the one before: 1 to 100. Default 2. */
  readonly factor?: number | undefined;
  /** The longest wait in milliseconds, not less than `initialMs`. Default 32 000, or `initialMs` if that is more. */
  readonly maxMs?: number | undefined;
  /** The largest random addition to a wait, as a share of it: 0 to 1. Default 0.1. */
  readonly jitter?: number | undefined;
  /**
   * The longest hint of an upstream (`Retry-After`) that is waited for, in milliseconds, from 0 to 2 147 483 647.
   * Default 120 000. A longer one ends the batch with an error.
   */
  readonly maxRetryAfterMs?: number | undefined;
}

/** Options of `createEngine`. All are optional; an option that is `undefined` has its default. */
export interface EngineOptions {
  /**
   * The module that worker threads import, with the handler as its default export: a `file:` URL, a path (absolute, or
   * from the working directory and starting with `./` or `../`), or a package name. Default: the built-in HTTP handler.
   * Example: `new URL('./handler.js', import.meta.url)`.
   */
  readonly handler?: string | URL | undefined;
  /** A cloneable value for the handler's `setup`. It is copied when the engine is created. Default `undefined`. */
  readonly handlerData?: unknown;
  /** Options of the built-in HTTP handler, copied when the engine is created. Default `{}`. */
  readonly http?: HttpOptions | undefined;
  /** Worker threads: an integer from 1 to 256. Default `os.availableParallelism()`. Never more than `concurrency`. */
  readonly threads?: number | undefined;
  /**
   * Items in work over all threads: an integer from 1 to 65 536.
   * Default: with `rate` the smallest `limit`, at most 256; without it 8 per thread.
   */
  readonly concurrency?: number | undefined;
  /** What the upstream allows: one limit, or a list of limits that all hold. Default: none. */
  readonly rate?: RateLimit | readonly RateLimit[] | undefined;
  /**
   * How long an attempt may take once its tokens are due, in milliseconds: more than 0, at most 2 147 483 647.
   * Default 30 000.
   */
  readonly timeoutMs?: number | undefined;
  /** What is run again, and when. */
  readonly retry?: RetryOptions | undefined;
  /**
   * What a rate-limit error does to the idempotent requests in flight: `'cancel'` (default) aborts them and runs them
   * again later, `'drain'` lets them finish.
   */
  readonly onRateLimit?: 'cancel' | 'drain' | undefined;
  /** The circuit breaker is not built yet: only `false`. */
  readonly circuit?: false | undefined;
  /**
   * How long a handler that was cancelled may ignore its signal before its thread is terminated, in milliseconds,
   * from 0 to 2 147 483 647. Default 1000.
   */
  readonly cancelGraceMs?: number | undefined;
  /**
   * How far past `timeoutMs` a handler may run before its thread is terminated, in milliseconds,
   * from 0 to 2 147 483 647. Default 1000.
   */
  readonly killGraceMs?: number | undefined;
  /**
   * How long a thread may take to import the handler module and run its `setup`, in milliseconds: more than 0, at most
   * 2 147 483 647. Default 30 000.
   */
  readonly setupTimeoutMs?: number | undefined;
  /** Memory limits of each thread in megabytes, more than 0, as in `node:worker_threads`. Default: Node's own. */
  readonly resourceLimits?: Readonly<ResourceLimits> | undefined;
}

/** Options of `run` and `stream`. */
export interface RunOptions {
  /** Aborts the batch: finished items keep their outcomes, the others get `ABORTED`. */
  readonly signal?: AbortSignal | undefined;
  /** Called with the progress of this batch, at most every 100 ms. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /**
   * May the items of this batch be sent twice? Default: as the handler or the item itself says.
   */
  readonly idempotent?: boolean | undefined;
}

/** How `close` treats what still runs. */
export interface CloseOptions {
  /** `'drain'` (default) lets what was taken on finish; `'abort'` ends it with `ABORTED`. */
  readonly mode?: 'drain' | 'abort' | undefined;
}

/** A `RateLimit` with every field filled. */
export interface ResolvedRateLimit {
  readonly limit: number;
  readonly windowMs: number;
  readonly safetyMargin: number;
  readonly arrivalWithinMs: number;
  /** 0: none. */
  readonly spacingMs: number;
  readonly straggleMs: number;
  readonly initial: 'full' | 'empty';
  /** Requests that may be in a window: `limit` less the safety margin, at least 1. */
  readonly tokens: number;
}

/** `RetryOptions` with every field filled. */
export interface ResolvedRetry {
  readonly scope: 'unfinished' | 'batch';
  readonly maxAttempts: number;
  readonly maxRefusals: number;
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
  readonly jitter: number;
  readonly maxRetryAfterMs: number;
}

/** `EngineOptions`, checked, with every field filled. */
export interface ResolvedOptions {
  /** The handler module. `builtin` names the built-in handler, if it is one. */
  readonly handler: { readonly url: string; readonly builtin: 'http' | undefined };
  readonly handlerData: unknown;
  readonly http: HttpOptions;
  /** The module of `http.dispatcher`. */
  readonly dispatcherUrl: string | undefined;
  readonly threads: number;
  readonly concurrency: number;
  /** Empty: no limit. */
  readonly rate: readonly ResolvedRateLimit[];
  readonly timeoutMs: number;
  readonly retry: ResolvedRetry;
  readonly onRateLimit: 'cancel' | 'drain';
  readonly cancelGraceMs: number;
  readonly killGraceMs: number;
  readonly setupTimeoutMs: number;
  readonly resourceLimits: ResourceLimits | undefined;
}

/** `RunOptions`, checked. */
export interface ResolvedRunOptions {
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: Progress) => void) | undefined;
  readonly idempotent: boolean | undefined;
}

/** Every default that is a plain value. `threads`, `concurrency` and `straggleMs` follow from other values. */
export const DEFAULTS = Object.freeze({
  timeoutMs: 30_000,
  onRateLimit: 'cancel',
  cancelGraceMs: 1000,
  killGraceMs: 1000,
  setupTimeoutMs: 30_000,
  /** Items in work per thread, without a rate limit. */
  itemsPerThread: 8,
  /** Items in work, with a rate limit that allows more than that. */
  maxItemsWithRate: 256,
  rate: Object.freeze({
    safetyMargin: 1,
    arrivalWithinMs: Number.POSITIVE_INFINITY,
    spacing: 'none',
    initial: 'full',
  }),
  retry: Object.freeze({
    scope: 'unfinished',
    maxAttempts: 3,
    maxRefusals: 5,
    initialMs: 1000,
    factor: 2,
    maxMs: 32_000,
    jitter: 0.1,
    maxRetryAfterMs: 120_000,
  }),
} as const);

const BUILTIN_HTTP_URL = new URL('../workers/http.js', import.meta.url).href;

/**
 * Check the options of an engine and fill in the defaults.
 *
 * @param options what the user gave
 * @param cwd absolute path of the folder from which modules are resolved
 * @throws InvalidOptionError for the first option that is unknown, out of range or of the wrong type
 */
export function resolveOptions(options: EngineOptions | undefined, cwd: string): ResolvedOptions {
  const given = parseOptions(engineOptionsSchema, options);
  const http = cloned<HttpOptions>('http', given.http ?? {});
  const rate = resolveRate(given.rate);
  const wantedThreads = given.threads ?? Math.min(availableParallelism(), MAX_THREADS);
  const concurrency = given.concurrency ?? defaultConcurrency(rate, wantedThreads);
  return Object.freeze({
    handler: Object.freeze(resolveHandler(given.handler, cwd)),
    handlerData: cloned('handlerData', given.handlerData),
    http: Object.freeze(http),
    dispatcherUrl:
      http.dispatcher === undefined ? undefined : resolveModuleUrl('http.dispatcher', http.dispatcher, cwd),
    threads: Math.min(wantedThreads, concurrency),
    concurrency,
    rate: Object.freeze(rate),
    timeoutMs: given.timeoutMs ?? DEFAULTS.timeoutMs,
    retry: Object.freeze(resolveRetry(given.retry ?? {})),
    onRateLimit: given.onRateLimit ?? DEFAULTS.onRateLimit,
    cancelGraceMs: given.cancelGraceMs ?? DEFAULTS.cancelGraceMs,
    killGraceMs: given.killGraceMs ?? DEFAULTS.killGraceMs,
    setupTimeoutMs: given.setupTimeoutMs ?? DEFAULTS.setupTimeoutMs,
    resourceLimits: given.resourceLimits && Object.freeze(given.resourceLimits),
  });
}

/**
 * Check the options of a run.
 * @throws InvalidOptionError for the first option that is unknown or of the wrong type
 */
export function resolveRunOptions(options: RunOptions | undefined): ResolvedRunOptions {
  const { signal, onProgress, idempotent } = parseOptions(runOptionsSchema, options);
  return Object.freeze({ signal, onProgress: onProgress as RunOptions['onProgress'], idempotent });
}

/**
 * Check the options of `close`.
 * @throws InvalidOptionError for an option that is unknown or of the wrong type
 */
export function resolveCloseOptions(options: CloseOptions | undefined): { readonly mode: 'drain' | 'abort' } {
  return { mode: parseOptions(closeOptionsSchema, options).mode ?? 'drain' };
}

function resolveHandler(handler: unknown, cwd: string): ResolvedOptions['handler'] {
  const url = handler === undefined ? BUILTIN_HTTP_URL : resolveModuleUrl('handler', handler, cwd);
  return { url, builtin: url === BUILTIN_HTTP_URL ? 'http' : undefined };
}

function defaultConcurrency(rate: readonly ResolvedRateLimit[], threads: number): number {
  if (rate.length === 0) return threads * DEFAULTS.itemsPerThread;
  return Math.min(DEFAULTS.maxItemsWithRate, ...rate.map(({ limit }) => limit));
}

function resolveRate(rate: RateLimit | readonly RateLimit[] | undefined): ResolvedRateLimit[] {
  if (rate === undefined) return [];
  const limits = 'limit' in rate ? [rate] : rate;
  return limits.map((limit) => Object.freeze(resolveRateLimit(limit)));
}

function resolveRateLimit(given: RateLimit): ResolvedRateLimit {
  const { limit, windowMs } = given;
  const safetyMargin = given.safetyMargin ?? DEFAULTS.rate.safetyMargin;
  const tokens = tokensOf(limit, safetyMargin);
  const spacing = given.spacing ?? DEFAULTS.rate.spacing;
  return {
    limit,
    windowMs,
    safetyMargin,
    arrivalWithinMs: given.arrivalWithinMs ?? DEFAULTS.rate.arrivalWithinMs,
    spacingMs: spacing === 'none' ? 0 : spacing === 'even' ? windowMs / tokens : spacing,
    straggleMs: given.straggleMs ?? windowMs,
    initial: given.initial ?? DEFAULTS.rate.initial,
    tokens,
  };
}

/** 0.29 * 100 is 28.999999999999996: the product of two roundings is lifted by as much before it is cut. */
function tokensOf(limit: number, safetyMargin: number): number {
  return Math.max(1, Math.floor(limit * safetyMargin * (1 + 2 * Number.EPSILON)));
}

function resolveRetry(given: Partial<ResolvedRetry>): ResolvedRetry {
  const { initialMs, maxMs } = given;
  if (initialMs !== undefined && maxMs !== undefined && maxMs < initialMs) {
    throw invalidOption(['retry', 'maxMs'], maxMs, `at least "retry.initialMs", which is ${initialMs}`);
  }
  return {
    ...DEFAULTS.retry,
    ...given,
    initialMs: initialMs ?? Math.min(DEFAULTS.retry.initialMs, maxMs ?? Number.POSITIVE_INFINITY),
    maxMs: maxMs ?? Math.max(DEFAULTS.retry.maxMs, initialMs ?? 0),
  };
}

function cloned<T>(option: string, value: T): T {
  try {
    return structuredClone(value);
  } catch {
    // The error of structuredClone quotes the value, which may be a secret: it is not passed on.
    throw invalidOption([option], value, 'a value that can be cloned to other threads: no functions, symbols, streams');
  }
}
