import { rateFieldOf } from './rate-field.ts';
import { parseResetTime } from './reset-time.ts';
import { parseHttpDate, parseRetryAfter } from './retry-after.ts';
import { type Member, parseMembers } from './structured-fields.ts';

/** Fields of an answer: names in lower case; a field that came several times is an array. */
type Headers = Readonly<Record<string, string | readonly string[]>>;

/** What an answer says of the upstream's rate limit. Times are whole milliseconds above 0. */
export interface RateHints {
  /** When to come back: `Retry-After`. */
  readonly retryAfterMs?: number;
  /**
   * A quota is used up (0 is left), and is whole again after so long; of several such quotas the last. For a refusal
   * without one, the same of the quotas that do not say what is left.
   */
  readonly quotaResetMs?: number;
  /** How many hints were malformed. */
  readonly ignored: number;
}

/** One quota of the upstream, as far as the answer tells. */
interface Quota {
  remaining?: number;
  /** When it is whole again, in milliseconds from now; 0 if that has passed. */
  resetMs?: number;
  /** The same from a field that needs no clock, such as `X-RateLimit-Reset-After`: it is the better one. */
  resetAfterMs?: number;
  /** The length of its window: the longest that a reset can take. */
  windowMs?: number;
}

/**
 * Whether an answer may have hints: a quick look at the names, for answers that come by the ten thousand.
 *
 * @param headers `unknown`, because a handler may return answers without any
 */
export function mayHaveRateHints(headers: unknown): headers is Headers {
  if (typeof headers !== 'object' || headers === null) return false;
  for (const name of Object.keys(headers)) {
    if (name === 'retry-after' || name.includes('limit')) return true;
  }
  return false;
}

/**
 * The hints of an answer: `Retry-After` (RFC 9110, 10.2.3), `RateLimit` and `RateLimit-Policy`
 * (draft-ietf-httpapi-ratelimit-headers, its present form and the older ones), and fields of the pattern
 * `[X-|vendor-]RateLimit-[kind-]Remaining[-kind]`, the same with `-Reset`.
 *
 * - A quota counts only if 0 is left of it. For a refusal without such a quota, those count that do not say what is left.
 *   One with something left says nothing about when to come back.
 * - Dates are read by the server's own clock, its `Date` field. Whether a number is a delay or a moment is told by its
 *   size: see `parseResetTime`.
 * - Of several values the longest counts, because a hint is never shortened. Zero and the past are no hint.
 * - An answer out of a cache (`Age` above 0) speaks of quotas of another time: only its `Retry-After` counts.
 *
 * Takes time in proportion to the length of the fields, whatever is in them.
 *
 * @param nowMs the time, in milliseconds since 1970, for answers without a valid `Date`
 * @param isRefusal the answer is a refusal by the rate limit
 */
export function readRateHints(headers: Headers, nowMs: number, isRefusal = false): RateHints {
  const date = valuesOf(headers, 'date')[0];
  const reader = new Reader((typeof date === 'string' ? parseHttpDate(date, nowMs) : undefined) ?? nowMs);
  const retryAfterMs = reader.retryAfter(valuesOf(headers, 'retry-after'));
  const isCached = valuesOf(headers, 'age').some((age) => typeof age === 'string' && Number(age) > 0);
  if (!isCached) reader.quotas(headers);
  const quotaResetMs = reader.lastReset(0) ?? (isRefusal ? reader.lastReset(undefined) : undefined);
  // Zero says as little as nothing.
  return {
    ...(retryAfterMs ? { retryAfterMs } : {}),
    ...(quotaResetMs ? { quotaResetMs } : {}),
    ignored: reader.ignored,
  };
}

/** `unknown`, because a handler may return anything. */
function valuesOf(headers: Headers, name: string): readonly unknown[] {
  if (!Object.hasOwn(headers, name)) return [];
  const value: unknown = headers[name];
  return Array.isArray(value) ? value : [value];
}

/** Collects what one answer says. Nothing here throws; what is malformed is counted. */
class Reader {
  ignored = 0;
  readonly #clockMs: number;
  /** By name: a `Map`, because the upstream chooses the names. */
  readonly #quotas = new Map<string, Quota>();

  constructor(clockMs: number) {
    this.#clockMs = clockMs;
  }

  /** The longest of the values, 0 for "now". */
  retryAfter(values: readonly unknown[]): number | undefined {
    let longestMs: number | undefined;
    for (const value of values) longestMs = longer(longestMs, this.#read(value, parseRetryAfter));
    return longestMs;
  }

  quotas(headers: Headers): void {
    for (const name of Object.keys(headers)) {
      if (!name.includes('limit')) continue;
      const values = valuesOf(headers, name);
      if (name === 'ratelimit') this.#serviceLimits(values);
      else if (name === 'ratelimit-policy') this.#policies(values);
      else this.#plainField(name, values);
    }
  }

  /**
   * When the last of the quotas is whole again of which so much is left; `undefined`: those that do not say what is left.
   * @returns 0 if that has passed; `undefined` if none of them says when
   */
  lastReset(remaining: 0 | undefined): number | undefined {
    let lastMs: number | undefined;
    for (const quota of this.#quotas.values()) {
      if (quota.remaining !== remaining) continue;
      // The window is a bound for what is known to be used up, not a hint in itself.
      const windowMs = remaining === 0 ? quota.windowMs : undefined;
      lastMs = longer(lastMs, quota.resetAfterMs ?? quota.resetMs ?? windowMs);
    }
    return lastMs;
  }

  /** `RateLimit: "default";r=0;t=30`, or in older drafts `limit=100, remaining=0, reset=30`. */
  #serviceLimits(values: readonly unknown[]): void {
    for (const { name, value, params } of this.#members(values)) {
      if (value === undefined) {
        const quota = this.#quota(name);
        if (params.has('r')) this.#setRemaining(quota, params.get('r'));
        if (params.has('t')) this.#setReset(quota, 'resetMs', params.get('t'));
      } else if (name === 'remaining') {
        this.#setRemaining(this.#quota(''), value);
      } else if (name === 'reset') {
        this.#setReset(this.#quota(''), 'resetMs', value);
      }
    }
  }

  /** `RateLimit-Policy: "default";q=100;w=60`. In older drafts nothing says whose window it is: `100;w=60`. */
  #policies(values: readonly unknown[]): void {
    for (const { name, params } of this.#members(values)) {
      if (params.has('w')) this.#setReset(this.#quota(name), 'windowMs', params.get('w'));
    }
  }

  #members(values: readonly unknown[]): readonly Member[] {
    if (values.length === 0) return [];
    const members = values.every((value) => typeof value === 'string') ? parseMembers(values.join(', ')) : undefined;
    if (members === undefined) this.ignored++;
    return members ?? [];
  }

  /** A field whose name says what it is. One that came several times tells of several quotas, in the same order. */
  #plainField(name: string, values: readonly unknown[]): void {
    const field = rateFieldOf(name);
    if (field === undefined) return;
    const { kind, says } = field;
    for (const [position, value] of values.entries()) {
      const quota = this.#quota(position === 0 ? kind : `${kind} ${position}`);
      if (says === 'remaining') this.#setRemaining(quota, value);
      else this.#setReset(quota, says, value);
    }
  }

  #quota(name: string): Quota {
    let quota = this.#quotas.get(name);
    if (quota === undefined) {
      quota = {};
      this.#quotas.set(name, quota);
    }
    return quota;
  }

  #setRemaining(quota: Quota, value: unknown): void {
    const remaining = this.#read(value, parseRemaining);
    if (remaining !== undefined) quota.remaining = Math.min(quota.remaining ?? remaining, remaining);
  }

  #setReset(quota: Quota, slot: 'resetMs' | 'resetAfterMs' | 'windowMs', value: unknown): void {
    const ms = this.#read(value, parseResetTime);
    if (ms !== undefined) quota[slot] = Math.max(quota[slot] ?? ms, ms);
  }

  #read(value: unknown, parse: (text: string, nowMs: number) => number | undefined): number | undefined {
    const parsed = typeof value === 'string' ? parse(value, this.#clockMs) : undefined;
    if (parsed === undefined) this.ignored++;
    return parsed;
  }
}

/** `0`, `299.0`, and `76;w=21600`, which names its window. */
function parseRemaining(text: string): number | undefined {
  const match = /^ *(\d{1,15}(?:\.\d{1,6})?) *(?:;|$)/.exec(text);
  return match === null ? undefined : Number(match[1]);
}

function longer(one: number | undefined, other: number | undefined): number | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return Math.max(one, other);
}
