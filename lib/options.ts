import type { ResourceLimits } from 'node:worker_threads';
import type { DynamicBatchOptions } from './batch/dynamic-batch.ts';
import type { Progress } from './batch/progress.ts';
import type { RefreshRequest } from './recover/credentials.ts';
import type { StatisticsOptions } from './statistics/options.ts';
import type { HttpOptions, LocalizedText, RecoveryRule } from './types.ts';

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
  /** Double the waits, up to `maxMs`, while fewer than 20% of the last 100 attempts succeeded. Default `true`. */
  readonly adaptive?: boolean | undefined;
}

/**
 * When the circuit breaker opens and closes. Server errors, network errors and timeouts are failures (see the recovery
 * table); what the request itself is to blame for is not, and neither is what was cancelled or aborted.
 */
export interface CircuitOptions {
  /** Failures in a row, over all threads, that open it: an integer from 1 to 1 000 000. Default 10. */
  readonly failureThreshold?: number | undefined;
  /** The share of failures in the last `windowMs` that opens it: more than 0, at most 1. Default 0.5. */
  readonly failureRate?: number | undefined;
  /** Fewer calls than this say nothing about the share of failures: an integer from 1 to 1 000 000. Default 100. */
  readonly minimumCalls?: number | undefined;
  /** How far back the share of failures looks, in milliseconds, from 1 to 2 147 483 647. Default 60 000. */
  readonly windowMs?: number | undefined;
  /** Whether refusals by the rate limit are failures, too. Default `false`. */
  readonly countRateLimits?: boolean | undefined;
  /** Successes in the half-open state that close it: an integer from 1 to 1 000 000. Default 3. */
  readonly successThreshold?: number | undefined;
  /** Items in work while it is half-open, over all threads together: an integer from 1 to 65 536. Default 3. */
  readonly halfOpenProbes?: number | undefined;
  /** How long it stays open, in milliseconds, from 1 to 2 147 483 647. Default 60 000. */
  readonly openMs?: number | undefined;
  /** Each time that it opens again without having been closed, it stays open so many times as long: 1 to 100. Default 2. */
  readonly openFactor?: number | undefined;
  /** The longest time that it stays open, not less than `openMs`. Default 600 000, or `openMs` if that is more. */
  readonly maxOpenMs?: number | undefined;
  /**
   * What happens to items while it is open. `'wait'` (default): a batch waits for the half-open state once, if that comes
   * within `timeoutMs`; otherwise its items end with `CIRCUIT_OPEN`. `'fail'`: they end at once.
   */
  readonly whenOpen?: 'wait' | 'fail' | undefined;
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
  /**
   * Whether an answer that is no refusal, but says that the quota is used up, stops the engine until the quota is whole
   * again. `'normal'` (default): only if the engine has no `rate`, because with one it would halve the throughput.
   * `'strict'`: always. The hints of a refusal always count.
   */
  readonly hints?: 'normal' | 'strict' | undefined;
  /** The circuit breaker, or `false` for none. Default: on, with the defaults of its options. */
  readonly circuit?: false | CircuitOptions | undefined;
  /** Rules for errors, before those of the built-in recovery table. Default: none. */
  readonly recovery?: readonly RecoveryRule[] | undefined;
  /** Language of the messages for people in errors (`userMessage`). Default `'en'`. */
  readonly locale?: keyof LocalizedText | undefined;
  /**
   * What handlers find as `context.credentials`: a cloneable value, copied when the engine is created. The built-in HTTP
   * handler takes its `headers` and adds them to each request. Default `undefined`.
   */
  readonly credentials?: unknown;
  /**
   * Gets new credentials, on the main thread and once for all threads: when there are none and the first batch starts,
   * when the upstream refuses them (action `refresh-credentials` of a rule), and when `refreshCredentials` is called.
   * Nothing is sent while it is at work. If it fails, the batches that need them end with `CREDENTIALS`.
   */
  readonly onRefreshCredentials?: ((request: RefreshRequest) => unknown) | undefined;
  /** How long that may take, in milliseconds: more than 0, at most 2 147 483 647. Default 120 000. */
  readonly credentialsTimeoutMs?: number | undefined;
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
  /** Save the engine's statistics to a file, at an interval and when it closes. Default: not. */
  readonly statistics?: StatisticsOptions | undefined;
  /**
   * Write a trace to this file, which is made or emptied: one JSON line for each attempt, see `TraceLine`. Absolute or from
   * the working directory, or a `file:` URL. It is whole when the engine has closed. Default: none.
   */
  readonly trace?: string | URL | undefined;
  /** Memory limits of each thread in megabytes, more than 0, as in `node:worker_threads`. Default: Node's own. */
  readonly resourceLimits?: Readonly<ResourceLimits> | undefined;
}

/** Options of `run` and `stream`. */
export interface RunOptions {
  /** Aborts the batch: finished items keep their outcomes, the others get `ABORTED`. */
  readonly signal?: AbortSignal | undefined;
  /** Called with the progress of this batch, at most every 100 ms (or see `progressInterval`) and once at its end. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /**
   * Report progress each time that so many more items are done, and not as time goes by: an integer from 1 to
   * 1 000 000 000. Default: by time.
   */
  readonly progressInterval?: number | undefined;
  /**
   * Hand the items out in groups of so many: an integer from 1 to 1 000 000. The next group starts when every item of
   * the one before has its outcome and `batchDelayMs` has passed. With `dynamicBatch` the size of the first group,
   * within its bounds; default then 50. Default otherwise: all items at once.
   *
   * With `retry.scope: 'batch'` it is the group in work that starts over, each group with its own rounds. In a stream, a
   * group is what the source gives next; each of its items starts as it comes.
   */
  readonly batchSize?: number | undefined;
  /**
   * The wait between two groups in milliseconds, from 0 to 2 147 483 647. Default 0. With `dynamicBatch` the first such
   * wait, within its bounds; default then 1000.
   */
  readonly batchDelayMs?: number | undefined;
  /**
   * Let the size of groups and the wait between them follow how the upstream fares: `true`, or options. Default
   * `false`.
   */
  readonly dynamicBatch?: boolean | DynamicBatchOptions | undefined;
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
