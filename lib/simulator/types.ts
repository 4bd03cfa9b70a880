import type { KisErrorCode } from './kis/codes.ts';
import type { Algorithm } from './limiters.ts';

/** How a refusal by the rate limit looks on the wire. `egw-...` are the variants of KIS' error EGW00201. */
export const REFUSALS = ['egw-500', 'egw-200', 'egw-message', 'egw-message-only', 'egw-text', '429'] as const;

/**
 * - `egw-500`: HTTP 500 with `rt_cd`, `msg1`, `msg_cd`, as KIS documents it
 * - `egw-200`: the same with HTTP 200
 * - `egw-message`: HTTP 500, with a further field `message: "EGW00201"`
 * - `egw-message-only`: HTTP 500, nothing but `message: "EGW00201"`
 * - `egw-text`: HTTP 500, the code is missing, only `msg1` tells
 * - `429`: HTTP 429 with `Retry-After`: the window in whole seconds, rounded up
 */
export type Refusal = (typeof REFUSALS)[number];

/** Every kind of fault. */
export const FAULT_KINDS = [
  'refuse',
  '429',
  '503',
  'status',
  'kis',
  'reset',
  'hang',
  'truncated',
  'malformed-json',
  'html-500',
  'slow-body',
  'huge-body',
  'gzip',
  'truncated-gzip',
  'wrong-length',
] as const;

export type FaultKind = (typeof FAULT_KINDS)[number];

interface FaultBase {
  /** Number of the request that meets the fault, or several. The first counted request is 1. Default: any. */
  readonly at?: number | readonly number[];
  /** Chance from 0 to 1 for each request that the other conditions match. Default 1. */
  readonly probability?: number;
  /** Only these methods. Default: all. */
  readonly methods?: readonly string[];
  /**
   * Only this path, without its query. One that ends in `*` matches every path that starts so. Default: any, but a
   * request that is not counted (the token endpoints) meets only faults that name a path.
   */
  readonly path?: string;
  /** At most so many times. Default: no limit. */
  readonly times?: number;
  /**
   * When the fault strikes.
   * - `arrival`: before anything else. It uses no quota, nothing is executed, no service time passes.
   * - `executed`: the request was counted by the limiter and executed and has taken its service time; then the answer
   *   goes wrong. If the limiter refuses it, it is a plain refusal and no fault.
   *
   * Default: `arrival` for `refuse`, `429`, `503`, and for `kis` with a code by which the gateway turns a request away;
   * otherwise `executed`.
   */
  readonly after?: 'arrival' | 'executed';
}

/** `Retry-After`: whole seconds, a date so many milliseconds from now, or exactly this text. */
export type RetryAfter = number | { readonly dateInMs: number } | string;

/** Refuse the request as the rate limit would. `variant` defaults to the simulator's `refusal`. */
export interface RefuseFault extends FaultBase {
  readonly kind: 'refuse';
  readonly variant?: Refusal;
}

/** HTTP 429 or 503. `retryAfter` defaults to none for 429 and to one second for 503. */
export interface RetryAfterFault extends FaultBase {
  readonly kind: '429' | '503';
  readonly retryAfter?: RetryAfter;
}

/** Any status from 200 to 599, with a JSON body. Default body: `{ "error": <text of the status> }`. */
export interface StatusFault extends FaultBase {
  readonly kind: 'status';
  readonly status: number;
  readonly body?: unknown;
}

/**
 * An error of KIS by its code: with `rt_cd`, or as the token endpoints word it if the request is for one of these.
 * `status` defaults to the one that KIS uses for it.
 */
export interface KisFault extends FaultBase {
  readonly kind: 'kis';
  readonly code: KisErrorCode;
  readonly status?: number;
}

/**
 * - `reset`: the connection is torn down with RST
 * - `hang`: no answer, ever
 * - `truncated`: half of the body, less than Content-Length says, then the connection ends
 * - `malformed-json`: 200 and all of the body, which is no JSON although it says so
 * - `html-500`: HTTP 500 with a page of HTML
 * - `gzip`: the right answer, compressed
 * - `truncated-gzip`: complete as HTTP, but the compressed data stops half-way
 * - `wrong-length`: Content-Length is smaller than the body, so what is left over stands in the connection as garbage
 */
export interface PlainFault extends FaultBase {
  readonly kind:
    | 'reset'
    | 'hang'
    | 'truncated'
    | 'malformed-json'
    | 'html-500'
    | 'gzip'
    | 'truncated-gzip'
    | 'wrong-length';
}

/** The right answer, its body dripping over `durationMs` (default 1000). */
export interface SlowBodyFault extends FaultBase {
  readonly kind: 'slow-body';
  readonly durationMs?: number;
}

/** 200 with a JSON string of exactly `bytes` bytes (default 64 MiB), chunked: its length is not told beforehand. */
export interface HugeBodyFault extends FaultBase {
  readonly kind: 'huge-body';
  readonly bytes?: number;
}

/** Something that goes wrong on purpose. Of several that match, the first in the list strikes. */
export type Fault = RefuseFault | RetryAfterFault | StatusFault | KisFault | PlainFault | SlowBodyFault | HugeBodyFault;

/** The KIS endpoints. */
export interface KisOptions {
  /** Must requests under `/uapi/` carry a valid token, `appkey`, `appsecret` and the right `tr_id`? Default true. */
  readonly checkHeaders?: boolean;
  /** The only app key that is accepted. Default: any. */
  readonly appKey?: string;
  /** The only app secret that is accepted. Default: any. */
  readonly appSecret?: string;
  /** A token is issued at most once in this time per app key, otherwise EGW00133. Default 60 000; 0 turns it off. */
  readonly tokenIntervalMs?: number;
  /** How long a token lives. Default 24 hours. */
  readonly tokenLifetimeMs?: number;
  /** When the request of this number arrives, every token issued so far has expired. Default: never. */
  readonly expireTokensAt?: number;
  /** Asking again within this time gives the same token. Default 6 hours. */
  readonly tokenReuseMs?: number;
  /** Do requests to `/oauth2/` count against the rate limit? Default false. */
  readonly countTokenRequests?: boolean;
  /** Is there `intstock-multprice`? Paper trading has none: EGW02006. Default true. */
  readonly multiPrice?: boolean;
  /** Well-formed symbols that nobody knows. Default `['000000', 'UNKNOWN']`. */
  readonly unknownSymbols?: readonly string[];
}

/** Everything has a default; `startSimulator()` alone is KIS with 20 requests per second. */
export interface SimulatorOptions {
  /** Requests per window, 1 to 1 000 000. Default 20. */
  readonly limit?: number;
  /** Length of the window. Default 1000. */
  readonly windowMs?: number;
  /**
   * - `sliding-log` (default): exact; no window of this length, wherever it begins, gets more than `limit`
   * - `fixed`: windows one after the other, each with a counter
   * - `sliding-counter`: the estimate from two such counters, weighted (HAProxy, Cloudflare, many Redis limiters); the new request
   *   is counted before the comparison. HAProxy counts refused ones as well: `countRefused: true`
   * - `token-bucket`: holds `burst` tokens at most (default: `limit`), refilled steadily: almost twice the limit in one window
   * - `gcra`: one request each window / limit, with `burst` requests (default 1) of tolerance: nginx `burst=1 nodelay`
   * - `none`: refuses nothing
   */
  readonly algorithm?: Algorithm;
  /** See `algorithm`. Only for `token-bucket` (1 or more) and `gcra` (0 or more). */
  readonly burst?: number;
  /** Where windows of `fixed` and `sliding-counter` begin, from the start of the simulator on. Default 0. */
  readonly fixedPhaseMs?: number;
  /** Do refused requests use quota? Only for `fixed`, `sliding-log` and `sliding-counter`. Default false. */
  readonly countRefused?: boolean;
  /**
   * Time from the end of an accepted request to its answer: fixed, or uniform between two bounds, rounded to whole
   * milliseconds. Below half a millisecond the answer is sent at once, without a timer. Default `[5, 30]`.
   */
  readonly serviceTimeMs?: number | readonly [number, number];
  /** The same for refusals and faults at `arrival`. Default 0. */
  readonly refusalTimeMs?: number;
  /** How the limiter's refusals look. Default `egw-500`. */
  readonly refusal?: Refusal;
  /** Default: none. */
  readonly faults?: readonly Fault[];
  /** Same seed, same order of requests: same service times and faults. Default 1. */
  readonly seed?: number;
  /** The KIS endpoints, or `false` for a server that has only plain ones. Default: on. */
  readonly kis?: KisOptions | boolean;
  /** Port on 127.0.0.1. Default 0: any that is free. */
  readonly port?: number;
  /** How long an idle connection is kept, as announced in `Keep-Alive`. Default 60 000. */
  readonly keepAliveMs?: number;
  /** Arrivals that are remembered; later ones are only counted. Default 500 000 (some 40 MB with short paths). */
  readonly maxArrivals?: number;
}

/**
 * What became of a request.
 * - `pending`: not answered yet
 * - `ok`: accepted and answered (the answer may still be an error of the API, such as an expired token)
 * - `refused`: refused by the limiter
 * - `injected`: met a fault, whatever it did to the answer
 * - `aborted`: accepted, but the client went away before the answer
 */
export type ArrivalOutcome = 'pending' | 'ok' | 'refused' | 'injected' | 'aborted';

/** A counted request, as the server saw it. */
export interface Arrival {
  /** 1 for the first one since the start or the last `reset()`. */
  readonly n: number;
  /** When its headers were in: `process.hrtime.bigint()`, the same clock in every thread of the process. */
  readonly atNs: bigint;
  readonly method: string;
  /** With its query; cut after 512 characters. */
  readonly path: string;
  /** The request's `x-item` header, so that a test can tell items apart; cut after 128 characters. */
  readonly key: string | undefined;
  readonly outcome: ArrivalOutcome;
  /** HTTP status of the answer; 0 if there was none. */
  readonly status: number;
  /** When the answer began to leave; `undefined` if there was none. */
  readonly answeredAtNs: bigint | undefined;
}

/** A domestic order that was executed: `POST /uapi/domestic-stock/v1/trading/order-cash`. */
export interface Order {
  /** Order number (`ODNO`). */
  readonly orderNumber: string;
  /** Number of the request that placed it. */
  readonly n: number;
  readonly symbol: string;
  readonly quantity: string;
  readonly side: 'buy' | 'sell';
  /** The request's `x-item` header. */
  readonly key: string | undefined;
}

/** Numbers since the start or the last `reset()`. */
export interface SimulatorStats {
  /** Counted requests: `ok + refused + injected + aborted + pending`. */
  readonly total: number;
  readonly ok: number;
  readonly refused: number;
  readonly injected: number;
  readonly aborted: number;
  readonly pending: number;
  /** Most arrivals in any half-open window `[t, t + windowMs)`, refused ones included. Exact. */
  readonly maxInWindow: number;
  /** The same for those that used quota: neither refused nor met by a fault at `arrival`. */
  readonly maxAcceptedInWindow: number;
  /** `(total - 1) / (last - first)`, per second; 0 for fewer than two arrivals. */
  readonly ratePerSecond: number;
  readonly firstAtNs: bigint | undefined;
  readonly lastAtNs: bigint | undefined;
  /** How often each kind of fault struck. */
  readonly faults: Readonly<Partial<Record<FaultKind, number>>>;
  /** Orders executed. */
  readonly orders: number;
  /** Requests to token endpoints that were not counted. */
  readonly tokenRequests: number;
  /** Answers that carried a token, new or not, since the start. */
  readonly tokensIssued: number;
  /** Connections open now. */
  readonly openSockets: number;
  /** Connections accepted since the start. */
  readonly connections: number;
  /** Arrivals past `maxArrivals`: counted above, but missing in `arrivals()` and in both maxima. */
  readonly unrecorded: number;
}

/** A running simulator. Every method but `close` rejects with code `SIMULATOR_CLOSED` once it is closed. */
export interface Simulator {
  /** `http://127.0.0.1:<port>`, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  stats(): Promise<SimulatorStats>;
  /** Every counted request in the order of arrival. */
  arrivals(): Promise<Arrival[]>;
  /** Orders executed, in order. */
  orders(): Promise<Order[]>;
  /**
   * As after the start, but sockets, tokens, faults in force and limit stay: arrivals, quota used, orders and numbers
   * are forgotten, the random sequence begins again, `times` of the faults too.
   */
  reset(): Promise<void>;
  /** Replace the faults. Numbers in `at` go on counting from the start or the last `reset()`. */
  setFaults(faults: readonly Fault[]): Promise<void>;
  /** Change the limit. Quota used so far is forgotten. */
  setLimit(limit: number): Promise<void>;
  /** Every token issued so far has expired: requests with one get EGW00123. */
  expireToken(): Promise<void>;
  /** Destroy all sockets, answered or not, and end the thread. Always comes back; may be called again. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
