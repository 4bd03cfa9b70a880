import { nsFromMs } from '../limit/plan.ts';

/** When the upstream may have counted one request, as seen from our side. All times are of one monotonic clock. */
export interface RequestTimes {
  /** The earliest moment at which it can have left, even in part. */
  readonly fromNs: bigint;
  /** When all of it had left, not before `fromNs`; undefined if nobody told. */
  readonly sentNs: bigint | undefined;
  /** When it was answered or given up on. */
  readonly endNs: bigint;
  readonly isAnswered: boolean;
}

/** The limit to be checked, and what is assumed of the network and the upstream. */
export interface AuditOptions {
  /** Requests that may be counted in any window: an integer from 1 on. */
  readonly limit: number;
  /** Length of the window in milliseconds, more than 0. */
  readonly windowMs: number;
  /**
   * The longest that a request travels before it is counted, in milliseconds from 0 on. Default `Infinity`: nothing is
   * assumed, it may be counted up to the moment of its answer. Only where the moment of sending is known.
   */
  readonly arrivalWithinMs?: number | undefined;
  /**
   * How long after we gave up on a request it may still be counted, in milliseconds from 0 on. Default `windowMs`, as
   * for the engine's limits.
   */
  readonly straggleMs?: number | undefined;
}

/** The window in which the most requests can have been counted; of several the earliest. */
export interface WorstWindow {
  /** The window is `[startNs, startNs + windowNs)`. */
  readonly startNs: bigint;
  readonly windowNs: bigint;
  /** How many requests can have been counted in it, all of them in one and the same course of events. */
  readonly count: number;
  /** Which ones: their places, from 0 on, in the order in which they were given. */
  readonly places: readonly number[];
}

/** What the times of all requests say. */
export interface AuditVerdict {
  /** True if no server can have counted more than `limit` in any window. */
  readonly holds: boolean;
  /** Requests that were sent, or may have been. */
  readonly sent: number;
  readonly answered: number;
  readonly abandoned: number;
  /** When the first of them can have left; undefined without any. */
  readonly firstNs: bigint | undefined;
  /** Undefined if nothing was sent. */
  readonly worst: WorstWindow | undefined;
}

const FIRST_CAPACITY = 1024;

/**
 * Decides from times alone whether a server with an exact sliding window can have counted too many requests.
 *
 * Request i was counted at one moment c_i of its interval [s_i, e_i]:
 * - s_i is the earliest moment at which a part of it can have left: a server may count a request by its head,
 * - e_i is when it was answered, or `straggleMs` after it was given up on, and in any case not more than
 *   `arrivalWithinMs` after all of it had left, where that is known.
 *
 * The question is whether moments can be chosen so that more than N of them are in one window [t, t + W). One end of the
 * window belongs to it and the other does not: requests that are counted exactly W apart are not in one window.
 *
 * The answer is exact, both ways. For a fixed t, request i can be counted in [t, t + W) if and only if its interval has a
 * point in common with it, that is if s_i < t + W and e_i >= t; and max(s_i, t) is such a point. What one request does
 * restricts no other, so all that can be in the window can be in it together. The most that any server can have counted
 * is the largest number, over all t, of requests with t in (s_i - W, e_i].
 *
 * That number is looked for at ends e_j only: move any t up to the first e_i >= t of the requests in its window. None of
 * them leaves (each has e_i >= the new t), and none is lost at the other end (s_i < t + W still holds for a larger t). At
 * t = e_j it is #{s_i < e_j + W} - #{e_i < e_j}, because whoever has e_i < e_j also has s_i < e_j + W. With starts and
 * ends sorted apart from each other, both counts only grow with j: two pointers, O(n log n) for the sorting and O(n) for
 * the sweep.
 *
 * What the token bucket promises is what this asks for. Requests that use one token after each other have
 * e_i + W <= s_k, so their (s - W, e] have no t in common, and no t has more requests than there are tokens.
 *
 * Requests may come in any order. Each needs 16 bytes, and as many again while they are sorted: 32 MB for a million.
 */
export class Auditor {
  readonly #limit: number;
  readonly #windowNs: bigint;
  readonly #arrivalWithinNs: bigint | undefined;
  readonly #straggleNs: bigint;
  #fromNs = new BigInt64Array(FIRST_CAPACITY);
  #toNs = new BigInt64Array(FIRST_CAPACITY);
  #sent = 0;
  #answered = 0;

  constructor({ limit, windowMs, arrivalWithinMs = Number.POSITIVE_INFINITY, straggleMs = windowMs }: AuditOptions) {
    this.#limit = limit;
    // All are rounded up, as the engine does it: the audit may become stricter by that, never laxer.
    this.#windowNs = nsFromMs(windowMs);
    this.#arrivalWithinNs = Number.isFinite(arrivalWithinMs) ? nsFromMs(arrivalWithinMs) : undefined;
    this.#straggleNs = nsFromMs(straggleMs);
  }

  /** Take one more request into account. */
  add(request: RequestTimes): void {
    if (this.#sent === this.#fromNs.length) {
      this.#fromNs = doubled(this.#fromNs);
      this.#toNs = doubled(this.#toNs);
    }
    this.#fromNs[this.#sent] = request.fromNs;
    this.#toNs[this.#sent] = this.#latestNs(request);
    this.#sent++;
    if (request.isAnswered) this.#answered++;
  }

  /** The verdict about all requests so far. */
  verdict(): AuditVerdict {
    const startsNs = this.#fromNs.slice(0, this.#sent).sort();
    const worst = this.#worstOf(startsNs);
    return {
      holds: worst === undefined || worst.count <= this.#limit,
      sent: this.#sent,
      answered: this.#answered,
      abandoned: this.#sent - this.#answered,
      firstNs: startsNs[0],
      worst,
    };
  }

  #worstOf(startsNs: BigInt64Array): WorstWindow | undefined {
    const endsNs = this.#toNs.slice(0, this.#sent).sort();
    let startNs: bigint | undefined;
    let most = 0;
    let started = 0;
    for (let ended = 0; ended < endsNs.length; ended++) {
      // Of equal ends the first one has the true number, the others less, which does no harm.
      const endNs = endsNs[ended] ?? 0n;
      const beforeNs = endNs + this.#windowNs;
      for (let next = startsNs[started]; next !== undefined && next < beforeNs; next = startsNs[started]) started++;
      if (started - ended > most) {
        most = started - ended;
        startNs = endNs;
      }
    }
    if (startNs === undefined) return undefined;
    return { startNs, windowNs: this.#windowNs, count: most, places: this.#placesIn(startNs) };
  }

  /** Which requests can have been counted in the window that begins then. */
  #placesIn(startNs: bigint): number[] {
    const beforeNs = startNs + this.#windowNs;
    const places: number[] = [];
    for (let place = 0; place < this.#sent; place++) {
      if ((this.#fromNs[place] ?? 0n) < beforeNs && (this.#toNs[place] ?? 0n) >= startNs) places.push(place);
    }
    return places;
  }

  /** The last moment at which the upstream can have counted it. */
  #latestNs({ sentNs, endNs, isAnswered }: RequestTimes): bigint {
    const latestNs = isAnswered ? endNs : endNs + this.#straggleNs;
    if (this.#arrivalWithinNs === undefined || sentNs === undefined) return latestNs;
    const arrivedNs = sentNs + this.#arrivalWithinNs;
    if (arrivedNs < latestNs) return arrivedNs;
    return latestNs;
  }
}

function doubled(column: BigInt64Array): BigInt64Array<ArrayBuffer> {
  const larger = new BigInt64Array(column.length * 2);
  larger.set(column);
  return larger;
}

/**
 * Can any server have counted more than `limit` of these requests in a window of `windowMs`? See `Auditor` for what is
 * asked exactly, and why the answer is.
 */
export function audit(requests: Iterable<RequestTimes>, options: AuditOptions): AuditVerdict {
  const auditor = new Auditor(options);
  for (const request of requests) auditor.add(request);
  return auditor.verdict();
}
