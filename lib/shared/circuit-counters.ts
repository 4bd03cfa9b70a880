import type { ControlBlock } from './control-block.ts';
import { BUCKETS, FAILURES_IN_ROW, FIRST_BUCKET } from './layout.ts';

/** When failures are too many. */
export interface FailureLimits {
  /** Failures in a row. */
  readonly failureThreshold: number;
  /** Share of failures among the calls of the window, 0 to 1. */
  readonly failureRate: number;
  /** Fewer calls than this in the window say nothing about their share of failures. */
  readonly minimumCalls: number;
  readonly windowMs: number;
}

const COUNT_BITS = 20n;
const COUNT_MASK = (1n << COUNT_BITS) - 1n;
const TAG_MASK = (1n << 24n) - 1n;
/** How far behind a clock reading may be, in buckets: a thread can stand still for a while after it looked. */
const MAX_LATE_BUCKETS = BigInt(16 * BUCKETS);

/** One eighth of the window: its number (modulo 2^24), and what happened in it. */
interface Bucket {
  readonly tag: bigint;
  readonly calls: bigint;
  readonly failures: bigint;
}

function unpack(word: bigint): Bucket {
  const bits = BigInt.asUintN(64, word);
  return { tag: bits >> (2n * COUNT_BITS), calls: (bits >> COUNT_BITS) & COUNT_MASK, failures: bits & COUNT_MASK };
}

function pack({ tag, calls, failures }: Bucket): bigint {
  return BigInt.asIntN(64, (tag << (2n * COUNT_BITS)) | (calls << COUNT_BITS) | failures);
}

/** A bucket with more calls in it. A bucket that is full is halved first: the share of failures stays. */
function withMore(bucket: Bucket, calls: bigint, failures: bigint): Bucket {
  let { calls: allCalls, failures: allFailures } = bucket;
  const added = calls > COUNT_MASK / 2n ? COUNT_MASK / 2n : calls;
  if (allCalls + added > COUNT_MASK) {
    allCalls >>= 1n;
    allFailures >>= 1n;
  }
  return { tag: bucket.tag, calls: allCalls + added, failures: allFailures + failures };
}

/**
 * What the threads know together about failures: how many there were in a row, and their share in the recent past (a
 * window in eight buckets, so it covers between seven and eight eighths of its length). Whether they are too many is
 * decided in the thread that adds one, so that a main thread that is busy delays nobody.
 */
export class CircuitCounters {
  readonly #ints: Int32Array;
  readonly #words: BigInt64Array;
  readonly #limits: FailureLimits;
  readonly #bucketNs: bigint;

  constructor(block: Pick<ControlBlock, 'ints' | 'words'>, limits: FailureLimits) {
    this.#ints = block.ints;
    this.#words = block.words;
    this.#limits = limits;
    this.#bucketNs = BigInt(Math.max(1, Math.ceil((limits.windowMs * 1e6) / BUCKETS)));
  }

  /** A call has failed. True if there are too many failures now. */
  addFailure(nowNs: bigint): boolean {
    this.#add(1n, 1n, nowNs);
    // Race: several threads fail at once. Each must get a count of its own, or none would see the last one.
    const inRow = Atomics.add(this.#ints, FAILURES_IN_ROW, 1) + 1;
    return inRow >= this.#limits.failureThreshold || this.#isRateTooHigh(nowNs);
  }

  /** A call has succeeded. To be called at once; it ends a row of failures. */
  endRow(): void {
    // Only a load in the usual case, so that threads without failures do not write to one line.
    if (Atomics.load(this.#ints, FAILURES_IN_ROW) === 0) return;
    // Race: a failure at the same time. Either order of the two is a true history.
    Atomics.store(this.#ints, FAILURES_IN_ROW, 0);
  }

  /** So many calls have succeeded. May be called later, for many at once. */
  addSuccesses(count: number, nowNs: bigint): void {
    this.#add(BigInt(count), 0n, nowNs);
  }

  get failuresInRow(): number {
    return Atomics.load(this.#ints, FAILURES_IN_ROW);
  }

  /** Calls and failures of the window that ends now. */
  recent(nowNs: bigint): { readonly calls: number; readonly failures: number } {
    const now = nowNs / this.#bucketNs;
    let calls = 0;
    let failures = 0;
    for (let i = 0; i < BUCKETS; i++) {
      const bucket = unpack(Atomics.load(this.#words, FIRST_BUCKET + i));
      const age = (now - bucket.tag) & TAG_MASK;
      if (age >= BigInt(BUCKETS)) continue;
      calls += Number(bucket.calls);
      failures += Number(bucket.failures);
    }
    return { calls, failures };
  }

  /** Forget everything. Main thread, while no call is in flight that could be counted. */
  reset(): void {
    Atomics.store(this.#ints, FAILURES_IN_ROW, 0);
    for (let i = 0; i < BUCKETS; i++) Atomics.store(this.#words, FIRST_BUCKET + i, 0n);
  }

  #isRateTooHigh(nowNs: bigint): boolean {
    const { calls, failures } = this.recent(nowNs);
    return calls >= this.#limits.minimumCalls && failures >= this.#limits.failureRate * calls;
  }

  #add(calls: bigint, failures: bigint, nowNs: bigint): void {
    const number = nowNs / this.#bucketNs;
    const tag = number & TAG_MASK;
    const at = FIRST_BUCKET + Number(number % BigInt(BUCKETS));
    let seen = Atomics.load(this.#words, at);
    for (;;) {
      const bucket = unpack(seen);
      // A clock reading of just before: its call belongs to the bucket that has begun since. Of no more than just before,
      // or a bucket that was left alone for half of all tags would look like the future, and stay.
      const isCurrent = ((bucket.tag - tag) & TAG_MASK) <= MAX_LATE_BUCKETS && bucket.calls > 0n;
      const base = isCurrent ? bucket : { tag, calls: 0n, failures: 0n };
      // Race: others count in the same bucket, or begin it. No count may be lost, and a bucket begins empty once.
      const before = Atomics.compareExchange(this.#words, at, seen, pack(withMore(base, calls, failures)));
      if (before === seen) return;
      seen = before;
    }
  }
}
