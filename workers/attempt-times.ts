import type { TracedRequest } from '../lib/protocol.ts';

/**
 * When one request of an attempt left and when it ended. The times are the very ones that its tokens get: another look
 * at the clock would be later, and an audit of exact limits sees the difference.
 */
export class RequestClock {
  readonly request: number;
  readonly fromNs: bigint;
  sentNs: bigint | undefined;
  endNs: bigint | undefined;
  isAnswered = false;

  constructor(request: number, fromNs: bigint) {
    this.request = request;
    this.fromNs = fromNs;
  }

  /** As for its tokens, nothing counts after its end. */
  sent(nowNs: bigint): void {
    if (this.endNs === undefined) this.sentNs ??= nowNs;
  }

  answered(nowNs: bigint): void {
    this.end(nowNs, true);
  }

  end(nowNs: bigint, isAnswered: boolean): void {
    if (this.endNs !== undefined) return;
    this.endNs = nowNs;
    this.isAnswered = isAnswered;
  }
}

/** The times of all requests of one attempt, for the trace. */
export class AttemptTimes {
  readonly #requests: RequestClock[] = [];

  /** The next request may leave from now on; the first one is the one that the call of the handler stands for. */
  open(nowNs: bigint): RequestClock {
    const clock = new RequestClock(this.#requests.length, nowNs);
    this.#requests.push(clock);
    return clock;
  }

  /** Requests that have not ended end as their tokens do. */
  settle(how: 'answered' | 'abandoned' | 'notSent', nowNs: bigint): void {
    for (const clock of this.#requests) {
      if (how !== 'notSent' || clock.sentNs !== undefined) clock.end(nowNs, how === 'answered');
    }
  }

  /** Those that have left, or may have. */
  get traced(): TracedRequest[] {
    const traced: TracedRequest[] = [];
    for (const { request, fromNs, sentNs, endNs, isAnswered } of this.#requests) {
      if (endNs === undefined) continue;
      traced.push({ request, fromNs: sentNs ?? fromNs, isSent: sentNs !== undefined, endNs, isAnswered });
    }
    return traced;
  }
}
