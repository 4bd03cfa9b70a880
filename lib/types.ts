import type { ErrorCode } from './errors.ts';

/** What a classifier says of an answer. `rate-limit` means: refused, not executed, safe to send again. */
export type Verdict = 'ok' | 'rate-limit' | 'retry' | 'fatal';

/** A verdict with more to say. */
export interface DetailedVerdict {
  readonly verdict: Verdict;
  /** The upstream's own hint when to come back, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
  /** The code that the item fails with, where it fails. Default: `HTTP_STATUS` for an answer with a status of 400 or more, else `INVALID_RESPONSE`. */
  readonly code?: ErrorCode | undefined;
  /** The message that the item fails with. Must hold no secret. */
  readonly message?: string | undefined;
  /** The upstream's own code for what is wrong, such as `EGW00123`, for the recovery table. At most 64 characters. */
  readonly upstreamCode?: string | undefined;
  /** Whether the upstream may have executed the request, where the answer tells. Default: by the status. */
  readonly possiblyExecuted?: boolean | undefined;
  /** The upstream says that its quota is used up and will be whole again after so many milliseconds. With any verdict. */
  readonly quotaResetMs?: number | undefined;
  /** How many hints of the answer made no sense. They are counted in `stats().hintsIgnored`. */
  readonly ignoredHints?: number | undefined;
}

/** How bad a failure is. */
export type Severity = 'low' | 'medium' | 'high' | 'critical';

/**
 * What is done about an error.
 *
 * - `retry`: try the item again, where that is safe; with `wait` after a backoff, without it at once
 * - `refresh-credentials`: stop, refresh the credentials once for all, then try the item again
 * - `fail-fast`: never try it again
 * - `trip-circuit`: it counts as a failure for the circuit breaker
 * - `notify`: the engine emits `notify` when an item fails with it for good
 */
export type RecoveryAction = 'wait' | 'retry' | 'refresh-credentials' | 'fail-fast' | 'notify' | 'trip-circuit';

/** A text for people, by language. */
export interface LocalizedText {
  readonly ko: string;
  readonly en: string;
}

/** Which errors a rule is for: all conditions that are given must hold; `{}` is for every error. */
export interface ErrorMatch {
  readonly code?: ErrorCode | readonly ErrorCode[] | undefined;
  /** HTTP status: one, several, or a range with both ends. */
  readonly status?: number | readonly number[] | { readonly from: number; readonly to: number } | undefined;
  /** The code of the error underneath, such as `ECONNREFUSED`. */
  readonly networkCode?: string | readonly string[] | undefined;
  /** The upstream's own code, as the classifier gave it. */
  readonly upstreamCode?: string | readonly string[] | undefined;
}

/** One row of the recovery table: what an error means and what is done about it. Plain data. */
export interface RecoveryRule {
  /** A name for the kind of error, such as `ServerError`. */
  readonly type: string;
  readonly when: ErrorMatch;
  readonly severity: Severity;
  readonly actions: readonly RecoveryAction[];
  /** Attempts in all: 1 is never again. Default: `retry.maxAttempts`; for refusals `retry.maxRefusals`. */
  readonly maxAttempts?: number | undefined;
  /** What people are told. */
  readonly message: LocalizedText;
}

/** How the handler's call for one item ended, as a module's `classify` sees it. */
export type Settled<Value = unknown, Item = unknown> =
  | { readonly ok: true; readonly value: Value; readonly item: Item; readonly attempt: number }
  | { readonly ok: false; readonly error: unknown; readonly item: Item; readonly attempt: number };

/** A further token, taken by `context.acquire()` for one more call to the upstream. */
export interface Permit {
  /** The request of this token has left this machine. */
  sent(): void;
  /** The upstream has answered the request of this token. */
  answered(): void;
}

/** What a handler gets beside its item. */
export interface HandlerContext<State = unknown> {
  /** Aborts when the item must stop: cancelled, timed out, or aborted by the user. Created when first read. */
  readonly signal: AbortSignal;
  /** Position of the item in its batch, from 0. */
  readonly index: number;
  /** 1 for the first attempt. */
  readonly attempt: number;
  /** The id of this worker thread. */
  readonly threadId: number;
  /** What the module's `setup` returned in this thread. */
  readonly state: State;
  /** The engine's credentials at this moment: its option, or what `onRefreshCredentials` returned last. */
  readonly credentials: unknown;
  /** Tell the limiter that the request has left this machine: its last byte was handed to the socket. */
  sent(): void;
  /** Tell the limiter that the upstream has answered, so that work after it does not hold the token. */
  answered(): void;
  /** Wait for a further token, for a handler that calls the upstream more than once for an item. */
  acquire(): Promise<Permit>;
  /**
   * Throw if this attempt must not send any more. Call it in the last moment before the request leaves.
   * @throws StopError (the reason of `signal`)
   */
  throwIfStopped(): void;
}

/** The default export of a handler module. */
export type Handler<Item = unknown, Value = unknown, State = unknown> = (
  item: Item,
  context: HandlerContext<State>,
) => Value | Promise<Value>;

/** `classify` of a handler module. Returning `undefined` leaves the verdict to the default rules. */
export type Classify<Value = unknown, Item = unknown> = (
  settled: Settled<Value, Item>,
) => Verdict | DetailedVerdict | undefined;

/** Plain data about the error underneath, at most four deep. */
export interface CauseRecord {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: CauseRecord;
}

/** Why an item failed: plain data that survives threads, JSON and logs, without secrets. */
export interface ErrorRecord {
  /** Stable code; see docs/errors.md. */
  readonly code: ErrorCode;
  /** The kind of error by the recovery table, such as `ServerError`. */
  readonly type: string;
  readonly severity: Severity;
  /** What the recovery table says is to be done about it. */
  readonly actions: readonly RecoveryAction[];
  readonly name: string;
  readonly message: string;
  /** What to tell people, in the engine's `locale`. */
  readonly userMessage: string;
  /** The upstream's own code, if the classifier found one. */
  readonly upstreamCode?: string;
  /** HTTP status of the last answer, if there was one. */
  readonly status?: number;
  /** The upstream's hint when to come back, in milliseconds. */
  readonly retryAfterMs?: number;
  /** Attempts made, refusals by the rate limit not counted. */
  readonly attempts: number;
  /** True if the upstream may have executed the request. */
  readonly possiblyExecuted: boolean;
  /** Where a handler threw, for the code `HANDLER`. */
  readonly stack?: string;
  readonly cause?: CauseRecord;
}

interface OutcomeBase {
  /** Position of the item in its batch, from 0. */
  readonly index: number;
  /** Attempts made, refusals by the rate limit and cancelled ones not counted. */
  readonly attempts: number;
  /** How long the last attempt waited for its tokens and start slot, in milliseconds. */
  readonly waitMs: number;
  /** How long the last attempt's handler ran, in milliseconds. */
  readonly durationMs: number;
  /** The thread that ran the last attempt; -1 if none did. */
  readonly threadId: number;
}

/** An item that succeeded. */
export interface Success<Value = unknown> extends OutcomeBase {
  readonly ok: true;
  readonly value: Value;
}

/** An item that failed. */
export interface Failure extends OutcomeBase {
  readonly ok: false;
  readonly error: ErrorRecord;
}

/** The one and only end of an item. */
export type Outcome<Value = unknown> = Success<Value> | Failure;

/** What the built-in HTTP handler takes. */
export interface HttpItem {
  /** Absolute, or relative to `http.baseUrl`. */
  readonly url: string;
  /** Default `GET`. */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** Added to the query string of `url`; `undefined` values are left out. */
  readonly query?: Readonly<
    Record<string, string | number | boolean | null | undefined | readonly (string | number | boolean)[]>
  >;
  /** A string or bytes are sent as they are; anything else as JSON. */
  readonly body?: unknown;
  /** True if sending it twice does no harm. Default: by method (GET, HEAD, PUT, DELETE, OPTIONS, TRACE are). */
  readonly idempotent?: boolean;
}

/** What the built-in HTTP handler returns. */
export interface HttpValue<Body = unknown> {
  readonly status: number;
  /** Names in lower case; a field that came several times is an array. */
  readonly headers: Record<string, string | string[]>;
  /** Parsed JSON, text, or bytes: see `http.responseType`. */
  readonly body: Body;
}

/** Options of the built-in HTTP handler. All of it is cloned to the threads. */
export interface HttpOptions {
  /** Base for relative `url`s. */
  readonly baseUrl?: string;
  /** Headers of every request; those of an item win. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** `http://[user:password@]host:port` of a proxy. */
  readonly proxy?: string;
  /** As in `tls.connect`: PEM strings or bytes. */
  readonly tls?: {
    readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[];
    readonly cert?: string | Uint8Array;
    readonly key?: string | Uint8Array;
    readonly passphrase?: string;
    readonly servername?: string;
    readonly rejectUnauthorized?: boolean;
  };
  /** Sockets per origin and thread. Default: one per lane of the thread. */
  readonly connections?: number;
  /** Default 10 000. */
  readonly connectTimeoutMs?: number;
  /** How long an idle socket is kept. Default 4 000; the server's own hint wins. */
  readonly keepAliveTimeoutMs?: number;
  /** Largest body that is accepted, after decompression. Default 10 MiB. */
  readonly maxBodyBytes?: number;
  /** Redirects to follow, each for a token of its own. Default 0. */
  readonly maxRedirects?: number;
  /** `auto` (default): JSON is parsed, the rest is text. */
  readonly responseType?: 'auto' | 'json' | 'text' | 'bytes';
  /** A module whose default export is a function `(options) => undici Dispatcher`. */
  readonly dispatcher?: string;
}
