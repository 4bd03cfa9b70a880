import type { Arrival, ArrivalOutcome } from './types.ts';

/** Outcomes by the number that stands for them in a column. */
const OUTCOMES = ['pending', 'ok', 'refused', 'injected', 'aborted'] as const satisfies readonly ArrivalOutcome[];

const OUTCOME_NUMBER: Readonly<Record<ArrivalOutcome, number>> = {
  pending: 0,
  ok: 1,
  refused: 2,
  injected: 3,
  aborted: 4,
};
const MAX_PATH_LENGTH = 512;
const MAX_KEY_LENGTH = 128;
const FIRST_CAPACITY = 1024;
const NOT_ANSWERED = -1;

/** Arrivals as columns, for the way between threads. Times are nanoseconds after `originNs`. */
export interface ArrivalColumns {
  readonly originNs: bigint;
  readonly count: number;
  readonly atNs: Float64Array;
  readonly answeredAtNs: Float64Array;
  readonly status: Uint16Array;
  readonly outcome: Uint8Array;
  readonly methods: readonly string[];
  readonly paths: readonly string[];
  readonly keys: readonly (string | undefined)[];
}

/**
 * Every counted request in the order of arrival. Up to `maxArrivals` are kept, in columns that grow by doubling; the
 * rest is only counted.
 */
export class Journal {
  readonly #originNs: bigint;
  readonly #maxArrivals: number;
  #total = 0;
  #refused = 0;
  #injected = 0;
  #ok = 0;
  #aborted = 0;
  #firstAtNs = 0;
  #lastAtNs = 0;

  #recorded = 0;
  #atNs = new Float64Array(FIRST_CAPACITY);
  #answeredAtNs = new Float64Array(FIRST_CAPACITY);
  #status = new Uint16Array(FIRST_CAPACITY);
  #outcome = new Uint8Array(FIRST_CAPACITY);
  #usedQuota = new Uint8Array(FIRST_CAPACITY);
  readonly #methods: string[] = [];
  readonly #paths: string[] = [];
  readonly #keys: (string | undefined)[] = [];

  /** @param originNs hrtime that all times are relative to */
  constructor(originNs: bigint, maxArrivals: number) {
    this.#originNs = originNs;
    this.#maxArrivals = maxArrivals;
  }

  get total(): number {
    return this.#total;
  }

  /** A counted request has arrived. Returns its number, from 1 on. */
  arrive(atNs: number, method: string, path: string, key: string | undefined): number {
    if (this.#total === 0) this.#firstAtNs = atNs;
    this.#lastAtNs = atNs;
    if (this.#recorded < this.#maxArrivals) {
      const slot = this.#recorded++;
      if (slot === this.#atNs.length) this.#grow();
      this.#atNs[slot] = atNs;
      this.#answeredAtNs[slot] = NOT_ANSWERED;
      this.#methods.push(method);
      this.#paths.push(path.slice(0, MAX_PATH_LENGTH));
      this.#keys.push(key?.slice(0, MAX_KEY_LENGTH));
    }
    return ++this.#total;
  }

  /** What the limiter and the faults decided when request `n` arrived. */
  decide(n: number, decision: 'accepted' | 'refused' | 'injected', usedQuota: boolean): void {
    if (decision === 'refused') this.#refused++;
    if (decision === 'injected') this.#injected++;
    if (n > this.#recorded) return;
    this.#usedQuota[n - 1] = usedQuota ? 1 : 0;
    if (decision !== 'accepted') this.#outcome[n - 1] = OUTCOME_NUMBER[decision];
  }

  /** The answer to request `n` is about to leave. */
  answer(n: number, status: number, answeredAtNs: number, accepted: boolean): void {
    if (accepted) this.#ok++;
    if (n > this.#recorded) return;
    if (accepted) this.#outcome[n - 1] = OUTCOME_NUMBER.ok;
    this.#status[n - 1] = status;
    this.#answeredAtNs[n - 1] = answeredAtNs;
  }

  /** The client of request `n`, which was accepted, went away before the answer. */
  abort(n: number): void {
    this.#aborted++;
    if (n <= this.#recorded) this.#outcome[n - 1] = OUTCOME_NUMBER.aborted;
  }

  summary(windowNs: number) {
    const atNs = this.#atNs.subarray(0, this.#recorded);
    const usedQuotaAtNs = atNs.filter((_, index) => this.#usedQuota[index] === 1);
    const spanNs = this.#lastAtNs - this.#firstAtNs;
    return {
      total: this.#total,
      ok: this.#ok,
      refused: this.#refused,
      injected: this.#injected,
      aborted: this.#aborted,
      pending: this.#total - this.#ok - this.#refused - this.#injected - this.#aborted,
      maxInWindow: mostInWindow(atNs, windowNs),
      maxAcceptedInWindow: mostInWindow(usedQuotaAtNs, windowNs),
      ratePerSecond: spanNs > 0 ? ((this.#total - 1) / spanNs) * 1e9 : 0,
      firstAtNs: this.#total > 0 ? this.#originNs + BigInt(this.#firstAtNs) : undefined,
      lastAtNs: this.#total > 0 ? this.#originNs + BigInt(this.#lastAtNs) : undefined,
      unrecorded: this.#total - this.#recorded,
    };
  }

  columns(): ArrivalColumns {
    return {
      originNs: this.#originNs,
      count: this.#recorded,
      atNs: this.#atNs.slice(0, this.#recorded),
      answeredAtNs: this.#answeredAtNs.slice(0, this.#recorded),
      status: this.#status.slice(0, this.#recorded),
      outcome: this.#outcome.slice(0, this.#recorded),
      methods: this.#methods,
      paths: this.#paths,
      keys: this.#keys,
    };
  }

  #grow(): void {
    const capacity = this.#atNs.length * 2;
    this.#atNs = copyInto(new Float64Array(capacity), this.#atNs);
    this.#answeredAtNs = copyInto(new Float64Array(capacity), this.#answeredAtNs);
    this.#status = copyInto(new Uint16Array(capacity), this.#status);
    this.#outcome = copyInto(new Uint8Array(capacity), this.#outcome);
    this.#usedQuota = copyInto(new Uint8Array(capacity), this.#usedQuota);
  }
}

function copyInto<T extends Float64Array | Uint16Array | Uint8Array>(target: T, source: T): T {
  target.set(source);
  return target;
}

/** Most of these times, which are in order, in any half-open window `[t, t + windowNs)`. */
export function mostInWindow(sortedNs: Float64Array, windowNs: number): number {
  let most = 0;
  let first = 0;
  sortedNs.forEach((atNs, last) => {
    while (atNs - (sortedNs[first] ?? atNs) >= windowNs) first++;
    most = Math.max(most, last - first + 1);
  });
  return most;
}

/** One object per arrival. */
export function arrivalsOf(columns: ArrivalColumns): Arrival[] {
  return Array.from({ length: columns.count }, (_, index) => {
    const answeredAtNs = columns.answeredAtNs[index] ?? NOT_ANSWERED;
    return {
      n: index + 1,
      atNs: columns.originNs + BigInt(columns.atNs[index] ?? 0),
      method: columns.methods[index] ?? '',
      path: columns.paths[index] ?? '',
      key: columns.keys[index],
      outcome: OUTCOMES[columns.outcome[index] ?? 0] ?? 'pending',
      status: columns.status[index] ?? 0,
      answeredAtNs: answeredAtNs === NOT_ANSWERED ? undefined : columns.originNs + BigInt(answeredAtNs),
    };
  });
}
