/**
 * The rate limits that servers enforce, as pure decisions: time is passed in, nothing is read or waited for.
 *
 * All times are whole nanoseconds on one clock that never runs backwards, as Numbers (exact for 104 days). All
 * arithmetic is on integers, so a decision exactly on a boundary comes out the same way every time.
 */

/** The kinds of limits; see `SimulatorOptions.algorithm` for what each one allows. */
export const ALGORITHMS = ['fixed', 'sliding-log', 'sliding-counter', 'token-bucket', 'gcra', 'none'] as const;

export type Algorithm = (typeof ALGORITHMS)[number];

/** What a limiter needs to know, with every default filled in. */
export interface LimiterSettings {
  readonly algorithm: Algorithm;
  /** Requests per window. */
  readonly limit: number;
  readonly windowNs: number;
  /** Bucket size for `token-bucket`, tolerance in requests for `gcra`. */
  readonly burst: number;
  /** Where windows of `fixed` and `sliding-counter` begin: at `phaseNs + k * windowNs`. */
  readonly phaseNs: number;
  /** Do refused requests use quota as well? Only for the algorithms that count. */
  readonly countRefused: boolean;
}

export interface Limiter {
  /** Decide on a request that arrives now, and count it. `nowNs` must not be smaller than in the call before. */
  admit(nowNs: number): boolean;
}

/** The limiter that the settings ask for, with nothing counted yet. */
export function createLimiter(settings: LimiterSettings): Limiter {
  const { limit, windowNs, burst } = settings;
  switch (settings.algorithm) {
    case 'fixed':
      return new FixedWindow(settings);
    case 'sliding-log':
      return new SlidingLog(settings);
    case 'sliding-counter':
      return new SlidingCounter(settings);
    case 'token-bucket':
      return new Bucket(limit, windowNs, burst);
    case 'gcra':
      return new Bucket(limit, windowNs, burst + 1);
    case 'none':
      return { admit: () => true };
  }
}

/** At most `limit` requests in each window `[phase + kW, phase + (k + 1)W)`; up to twice that across a boundary. */
class FixedWindow implements Limiter {
  readonly #settings: LimiterSettings;
  #windowIndex = Number.NEGATIVE_INFINITY;
  #count = 0;

  constructor(settings: LimiterSettings) {
    this.#settings = settings;
  }

  admit(nowNs: number): boolean {
    const { limit, windowNs, phaseNs, countRefused } = this.#settings;
    const windowIndex = Math.floor((nowNs - phaseNs) / windowNs);
    if (windowIndex !== this.#windowIndex) {
      this.#windowIndex = windowIndex;
      this.#count = 0;
    }
    const admitted = this.#count < limit;
    if (admitted || countRefused) this.#count++;
    return admitted;
  }
}

/**
 * The exact sliding window: a request at t is refused if `limit` requests were counted in `(t - W, t]`. One that was
 * counted exactly W ago is out of the window, so no half-open window `[s, s + W)` ever holds more than `limit`.
 */
class SlidingLog implements Limiter {
  readonly #windowNs: number;
  readonly #countRefused: boolean;
  /** The last `limit` counted requests, as a ring; the slot to be written next holds the oldest of them. */
  readonly #countedAtNs: Float64Array;
  #next = 0;

  constructor(settings: LimiterSettings) {
    this.#windowNs = settings.windowNs;
    this.#countRefused = settings.countRefused;
    this.#countedAtNs = new Float64Array(settings.limit).fill(Number.NEGATIVE_INFINITY);
  }

  admit(nowNs: number): boolean {
    const oldestNs = this.#countedAtNs[this.#next] ?? Number.NEGATIVE_INFINITY;
    const admitted = nowNs - oldestNs >= this.#windowNs;
    if (admitted || this.#countRefused) {
      this.#countedAtNs[this.#next] = nowNs;
      this.#next = (this.#next + 1) % this.#countedAtNs.length;
    }
    return admitted;
  }
}

/**
 * The estimate from two counters, `previous * (W - elapsed) / W + current`, as HAProxy's `http_req_rate`, Cloudflare's
 * and many Redis limiters compute it. The new request is in `current` before the comparison with `limit`.
 */
class SlidingCounter implements Limiter {
  readonly #settings: LimiterSettings;
  #windowIndex = Number.NEGATIVE_INFINITY;
  #previous = 0;
  #current = 0;

  constructor(settings: LimiterSettings) {
    this.#settings = settings;
  }

  admit(nowNs: number): boolean {
    const { limit, windowNs, phaseNs, countRefused } = this.#settings;
    const windowIndex = Math.floor((nowNs - phaseNs) / windowNs);
    if (windowIndex !== this.#windowIndex) {
      this.#previous = windowIndex === this.#windowIndex + 1 ? this.#current : 0;
      this.#current = 0;
      this.#windowIndex = windowIndex;
    }
    const elapsedNs = nowNs - phaseNs - windowIndex * windowNs;
    // Both sides times W, to stay with integers.
    const estimate = this.#previous * (windowNs - elapsedNs) + (this.#current + 1) * windowNs;
    const admitted = estimate <= limit * windowNs;
    if (admitted || countRefused) this.#current++;
    return admitted;
  }
}

/**
 * A bucket of `capacity` requests that refills steadily with `limit` per W and starts full. GCRA with a tolerance of
 * b requests is the same law seen from the other side (its theoretical arrival time is the bucket's missing content),
 * with a capacity of b + 1; so is nginx `limit_req burst=b nodelay`.
 */
class Bucket implements Limiter {
  readonly #limit: number;
  readonly #windowNs: number;
  readonly #capacity: number;
  /** What the bucket lacks, in units of 1 / W request: a request takes W of them, `limit` of them refill each ns. */
  #missing = 0;
  #atNs = 0;

  constructor(limit: number, windowNs: number, capacityRequests: number) {
    this.#limit = limit;
    this.#windowNs = windowNs;
    this.#capacity = capacityRequests * windowNs;
  }

  admit(nowNs: number): boolean {
    // A long pause may take the product past 2^53: then it is inexact, but far beyond anything that can be missing.
    this.#missing = Math.max(0, this.#missing - (nowNs - this.#atNs) * this.#limit);
    this.#atNs = nowNs;
    if (this.#missing + this.#windowNs > this.#capacity) return false;
    this.#missing += this.#windowNs;
    return true;
  }
}
