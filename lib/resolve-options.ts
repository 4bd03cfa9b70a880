import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import type { ResourceLimits } from 'node:worker_threads';
import type { GroupRules } from './batch/feeder.ts';
import { resolveGroups } from './batch/group-options.ts';
import type { Progress } from './batch/progress.ts';
import { HTTP_HANDLER } from './files.ts';
import { resolveModuleUrl } from './module-url.ts';
import type { CloseOptions, EngineOptions, RateLimit, RunOptions } from './options.ts';
import {
  closeOptionsSchema,
  engineOptionsSchema,
  invalidOption,
  MAX_THREADS,
  parseOptions,
  runOptionsSchema,
} from './options-schema.ts';
import type { RefreshRequest } from './recover/credentials.ts';
import type { ResolvedStatistics } from './statistics/options.ts';
import { resolveStatistics } from './statistics/schema.ts';
import type { HttpOptions, LocalizedText, RecoveryRule } from './types.ts';

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
  readonly adaptive: boolean;
}

/** `CircuitOptions` with every field filled. */
export interface ResolvedCircuit {
  readonly failureThreshold: number;
  readonly failureRate: number;
  readonly minimumCalls: number;
  readonly windowMs: number;
  readonly countRateLimits: boolean;
  readonly successThreshold: number;
  readonly halfOpenProbes: number;
  readonly openMs: number;
  readonly openFactor: number;
  readonly maxOpenMs: number;
  readonly whenOpen: 'wait' | 'fail';
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
  readonly hints: 'normal' | 'strict';
  readonly circuit: ResolvedCircuit | undefined;
  readonly recovery: readonly RecoveryRule[];
  readonly locale: keyof LocalizedText;
  readonly credentials: unknown;
  readonly onRefreshCredentials: ((request: RefreshRequest) => unknown) | undefined;
  readonly credentialsTimeoutMs: number;
  readonly cancelGraceMs: number;
  readonly killGraceMs: number;
  readonly setupTimeoutMs: number;
  readonly statistics: ResolvedStatistics | undefined;
  /** An absolute path. */
  readonly trace: string | undefined;
  readonly resourceLimits: ResourceLimits | undefined;
}

/** `RunOptions`, checked. */
export interface ResolvedRunOptions {
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: Progress) => void) | undefined;
  /** undefined: by time. */
  readonly progressInterval: number | undefined;
  /** undefined: all items at once. */
  readonly groups: GroupRules | undefined;
  readonly idempotent: boolean | undefined;
}

/** Every default that is a plain value. `threads`, `concurrency` and `straggleMs` follow from other values. */
export const DEFAULTS = Object.freeze({
  timeoutMs: 30_000,
  onRateLimit: 'cancel',
  hints: 'normal',
  locale: 'en',
  credentialsTimeoutMs: 120_000,
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
    adaptive: true,
  }),
  circuit: Object.freeze({
    failureThreshold: 10,
    failureRate: 0.5,
    minimumCalls: 100,
    windowMs: 60_000,
    countRateLimits: false,
    successThreshold: 3,
    halfOpenProbes: 3,
    openMs: 60_000,
    openFactor: 2,
    maxOpenMs: 600_000,
    whenOpen: 'wait',
  }),
} as const);

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
    hints: given.hints ?? DEFAULTS.hints,
    circuit: resolveCircuit(given.circuit ?? {}),
    recovery: given.recovery ?? [],
    locale: given.locale ?? DEFAULTS.locale,
    credentials: cloned('credentials', given.credentials),
    onRefreshCredentials: given.onRefreshCredentials as EngineOptions['onRefreshCredentials'],
    credentialsTimeoutMs: given.credentialsTimeoutMs ?? DEFAULTS.credentialsTimeoutMs,
    cancelGraceMs: given.cancelGraceMs ?? DEFAULTS.cancelGraceMs,
    killGraceMs: given.killGraceMs ?? DEFAULTS.killGraceMs,
    setupTimeoutMs: given.setupTimeoutMs ?? DEFAULTS.setupTimeoutMs,
    statistics: given.statistics && resolveStatistics(given.statistics, cwd),
    trace: given.trace === undefined ? undefined : resolve(cwd, given.trace),
    resourceLimits: given.resourceLimits && Object.freeze(given.resourceLimits),
  });
}

/**
 * Check the options of a run.
 * @throws InvalidOptionError for the first option that is unknown, of the wrong type, or does not go with another
 */
export function resolveRunOptions(options: RunOptions | undefined): ResolvedRunOptions {
  const given = parseOptions(runOptionsSchema, options);
  return Object.freeze({
    signal: given.signal,
    onProgress: given.onProgress as RunOptions['onProgress'],
    progressInterval: given.progressInterval,
    groups: resolveGroups(given),
    idempotent: given.idempotent,
  });
}

/**
 * Check the options of `close`.
 * @throws InvalidOptionError for an option that is unknown or of the wrong type
 */
export function resolveCloseOptions(options: CloseOptions | undefined): { readonly mode: 'drain' | 'abort' } {
  return { mode: parseOptions(closeOptionsSchema, options).mode ?? 'drain' };
}

function resolveHandler(handler: unknown, cwd: string): ResolvedOptions['handler'] {
  const url = handler === undefined ? HTTP_HANDLER.href : resolveModuleUrl('handler', handler, cwd);
  return { url, builtin: url === HTTP_HANDLER.href ? 'http' : undefined };
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

function resolveCircuit(given: false | Partial<ResolvedCircuit>): ResolvedCircuit | undefined {
  if (given === false) return undefined;
  const { openMs, maxOpenMs } = given;
  if (openMs !== undefined && maxOpenMs !== undefined && maxOpenMs < openMs) {
    throw invalidOption(['circuit', 'maxOpenMs'], maxOpenMs, `at least "circuit.openMs", which is ${openMs}`);
  }
  return Object.freeze({
    ...DEFAULTS.circuit,
    ...given,
    openMs: openMs ?? Math.min(DEFAULTS.circuit.openMs, maxOpenMs ?? Number.POSITIVE_INFINITY),
    maxOpenMs: maxOpenMs ?? Math.max(DEFAULTS.circuit.maxOpenMs, openMs ?? 0),
  });
}

function cloned<T>(option: string, value: T): T {
  try {
    return structuredClone(value);
  } catch {
    // The error of structuredClone quotes the value, which may be a secret: it is not passed on.
    throw invalidOption([option], value, 'a value that can be cloned to other threads: no functions, symbols, streams');
  }
}
