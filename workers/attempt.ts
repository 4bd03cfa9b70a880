import { setMaxListeners } from 'node:events';
import { StopError } from '../lib/errors.ts';
import type { Grant } from '../lib/limit/limiter.ts';
import { Ticket, type Waiter } from '../lib/limit/waiter.ts';
import type { HandlerContext, Permit } from '../lib/types.ts';
import type { AttemptTimes, RequestClock } from './attempt-times.ts';
import { LEAVE_HOOK, STOP_HOOK, type StopListener } from './stop-hook.ts';
import type { TokenEnd } from './token-end.ts';

/** Why an attempt was told to stop. Three reasons, never mixed. */
export type StopReason = StopError['code'];

const STOP_MESSAGES: Record<StopReason, string> = {
  CANCELLED: 'Cancelled: the upstream reported its rate limit, and the item will run again.',
  TIMEOUT: 'The attempt took longer than its timeout.',
  ABORTED: 'The batch was aborted.',
};

/** What an attempt needs of the thread it runs in. */
export interface AttemptHost {
  readonly waiter: Waiter | undefined;
  nowNs(): bigint;
  /** The gate has closed: must this attempt stop before it sends anything (more)? */
  mustStop(isSent: boolean): boolean;
  /**
   * A request of this attempt leaves: the one that its call stands for, or a further one. The first one may be told of
   * twice: before its bytes are handed over, and after.
   */
  onSent(which: 'first' | 'further', nowNs: bigint): void;
  /** The clock of the timeout stands still while a further token is awaited. */
  onWaiting(): void;
  onWaited(waitedNs: bigint): void;
}

/**
 * One attempt at one item: the context that the handler gets. It is never used again, so whatever a handler does with
 * it after it has settled reaches no later item.
 */
export class Attempt implements HandlerContext {
  readonly index: number;
  readonly attempt: number;
  readonly threadId: number;
  readonly state: unknown;
  readonly #credentials: unknown;
  readonly #host: AttemptHost;
  /** Where the built-in handlers listen, without the cost of a signal. */
  [STOP_HOOK]: StopListener | undefined = undefined;
  /** For the first request, and those for further ones. */
  readonly #grant: Grant | undefined;
  #furtherGrants: Grant[] | undefined;
  /** Only for a trace. What it notes it notes before the tokens change. */
  readonly #times: AttemptTimes | undefined;
  readonly #firstClock: RequestClock | undefined;
  #controller: AbortController | undefined;
  #stopReason: StopReason | undefined;
  #stopError: StopError | undefined;
  /** Further tokens that the handler waits for; it may ask for several at once. */
  #tickets: Set<Ticket> | undefined;
  /** When the first of them was asked for. */
  #waitingSinceNs = 0n;
  /** The first request was reported as sent. */
  #isFirstSent = false;
  /** Some request was, or was answered. */
  #isSent = false;
  #isAnswered = false;
  #hasFurther = false;
  #isOver = false;

  constructor(
    host: AttemptHost,
    index: number,
    attempt: number,
    threadId: number,
    state: unknown,
    credentials: unknown,
    grant?: Grant,
    times?: AttemptTimes,
    startNs = 0n,
  ) {
    this.#host = host;
    this.index = index;
    this.attempt = attempt;
    this.threadId = threadId;
    this.state = state;
    this.#credentials = credentials;
    this.#grant = grant;
    this.#times = times;
    this.#firstClock = times?.open(startNs);
  }

  // Static, so that none of this is a property that a handler can reach.
  static stop(attempt: Attempt, reason: StopReason): void {
    attempt.#stop(reason);
  }
  static stopReason(attempt: Attempt): StopReason | undefined {
    return attempt.#stopReason;
  }
  static isSent(attempt: Attempt): boolean {
    return attempt.#isSent;
  }
  /** It has gone on to a further request. */
  static hasFurther(attempt: Attempt): boolean {
    return attempt.#hasFurther;
  }
  static settle(attempt: Attempt, how: TokenEnd, nowNs: bigint): boolean {
    return attempt.#settle(how, nowNs);
  }

  /** No property of its own: a context that is logged or returned shows no secret. */
  get credentials(): unknown {
    return this.#credentials;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      // A handler may start many requests with it; more than ten listeners are no leak here.
      setMaxListeners(0, this.#controller.signal);
      if (this.#stopReason !== undefined) this.#controller.abort(this.#reason());
    }
    return this.#controller.signal;
  }

  [LEAVE_HOOK](): void {
    if (!this.#isOver && !this.#isFirstSent) this.#host.onSent('first', this.#host.nowNs());
  }

  sent(): void {
    if (this.#isOver || this.#isFirstSent) return;
    this.#isFirstSent = true;
    this.#isSent = true;
    const nowNs = this.#host.nowNs();
    this.#host.onSent('first', nowNs);
    this.#firstClock?.sent(nowNs);
    this.#grant?.sent(nowNs);
  }

  answered(): void {
    if (this.#isOver || this.#isAnswered) return;
    this.#isAnswered = true;
    this.#isSent = true;
    const grant = this.#grant;
    if (grant === undefined && this.#firstClock === undefined) return;
    const nowNs = this.#host.nowNs();
    this.#firstClock?.answered(nowNs);
    grant?.answered(nowNs);
  }

  throwIfStopped(): void {
    if (this.#stopReason === undefined && this.#host.mustStop(this.#isSent)) this.#stop('CANCELLED');
    if (this.#stopReason !== undefined) throw this.#reason();
    if (this.#isOver) throw new StopError('ABORTED', 'The item has already settled.');
  }

  async acquire(): Promise<Permit> {
    this.throwIfStopped();
    const { grant, clock } = await this.#nextRequest();
    this.#hasFurther = true;
    const host = this.#host;
    let isSent = false;
    return {
      sent: () => {
        if (isSent || this.#isOver) return;
        isSent = true;
        this.#isSent = true;
        const nowNs = host.nowNs();
        host.onSent('further', nowNs);
        clock?.sent(nowNs);
        grant?.sent(nowNs);
      },
      answered: () => {
        if (this.#isOver) return;
        this.#isSent = true;
        const nowNs = host.nowNs();
        clock?.answered(nowNs);
        grant?.answered(nowNs);
      },
    };
  }

  async #nextRequest(): Promise<{ readonly grant: Grant | undefined; readonly clock: RequestClock | undefined }> {
    const { waiter } = this.#host;
    if (waiter === undefined) return { grant: undefined, clock: this.#times?.open(this.#host.nowNs()) };
    const askedNs = this.#host.nowNs();
    let got: Grant | Ticket | undefined = waiter.acquire(askedNs);
    if (got instanceof Ticket) {
      const ticket = got;
      this.#tickets ??= new Set();
      const tickets = this.#tickets;
      if (tickets.size === 0) {
        this.#waitingSinceNs = askedNs;
        this.#host.onWaiting();
      }
      tickets.add(ticket);
      got = await ticket.granted;
      tickets.delete(ticket);
      // Once the attempt has settled, the lane's deadline belongs to another one.
      if (tickets.size === 0 && !this.#isOver) this.#host.onWaited(this.#host.nowNs() - this.#waitingSinceNs);
    }
    if (got === undefined) throw this.#reason();
    try {
      this.throwIfStopped();
    } catch (error) {
      got.giveBack();
      waiter.look();
      throw error;
    }
    this.#furtherGrants ??= [];
    this.#furtherGrants.push(got);
    return { grant: got, clock: this.#times?.open(this.#host.nowNs()) };
  }

  /** One error for all who ask, so that they can tell it from errors of their own. */
  #reason(): StopError {
    const reason = this.#stopReason ?? 'ABORTED';
    this.#stopError ??= new StopError(reason, STOP_MESSAGES[reason]);
    return this.#stopError;
  }

  #stop(reason: StopReason): void {
    if (this.#isOver || this.#stopReason !== undefined) return;
    this.#stopReason = reason;
    this.#cancelTickets();
    this[STOP_HOOK]?.onStop(this.#reason());
    this.#controller?.abort(this.#reason());
  }

  #cancelTickets(): void {
    if (this.#tickets !== undefined) for (const ticket of this.#tickets) this.#host.waiter?.cancel(ticket);
  }

  /** Settle all tokens that are still open. True if one was given back. */
  #settle(how: TokenEnd, nowNs: bigint): boolean {
    this.#isOver = true;
    this.#cancelTickets();
    this.#times?.settle(how, nowNs);
    let gaveBack = settleGrant(this.#grant, how, nowNs);
    for (const grant of this.#furtherGrants ?? []) if (settleGrant(grant, how, nowNs)) gaveBack = true;
    return gaveBack;
  }
}

/** Settle a token that is still open. True if it was given back. */
function settleGrant(grant: Grant | undefined, how: TokenEnd, nowNs: bigint): boolean {
  if (!grant?.isOpen) return false;
  if (how === 'answered') {
    grant.answered(nowNs);
    return false;
  }
  if (how === 'notSent' && !grant.isSent) {
    grant.giveBack();
    return true;
  }
  grant.abandoned(nowNs);
  return false;
}
