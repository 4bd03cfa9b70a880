import type { Grant, Limiter } from './limiter.ts';

/** Time and one timer, as an argument, so that tests can run in time of their own. */
export interface Clock {
  /** Monotonic, the same in all threads of the process. */
  nowNs(): bigint;
  setTimer(callback: () => void, ms: number): unknown;
  clearTimer(timer: unknown): void;
}

/** The clock of this process: `process.hrtime.bigint()` and Node's timers. */
export const systemClock: Clock = {
  nowNs: () => process.hrtime.bigint(),
  setTimer: (callback, ms) => setTimeout(callback, ms),
  clearTimer: (timer) => clearTimeout(timer as NodeJS.Timeout),
};

/** Above this Node's timers fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A lane's place in the queue. */
export class Ticket {
  /** Resolves to the grant when the request may start, or to undefined when the ticket was cancelled. */
  readonly granted: Promise<Grant | undefined>;
  /** Set while the tokens are there and only the start slot is awaited. */
  grant: Grant | undefined;
  #resolve: (grant: Grant | undefined) => void = () => {};

  constructor(grant: Grant | undefined) {
    this.grant = grant;
    this.granted = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** End the wait. */
  settle(grant: Grant | undefined): void {
    this.#resolve(grant);
  }
}

/**
 * The waiting of one thread: a first-in-first-out queue of lanes and one timer. The timer never grants anything, it
 * only looks again, because timers may fire early. Nothing wakes one thread from another: a token that is held now
 * becomes free a window after its answer at the earliest.
 */
export class Waiter {
  readonly #limiter: Limiter;
  readonly #clock: Clock;
  /** Sets keep the order of insertion and forget a ticket at once. */
  readonly #queue = new Set<Ticket>();
  readonly #due = new Set<Ticket>();
  #timer: unknown;
  #timerAtNs = 0n;

  constructor(limiter: Limiter, clock: Clock = systemClock) {
    this.#limiter = limiter;
    this.#clock = clock;
  }

  /** Lanes that wait for tokens or for their start. */
  get size(): number {
    return this.#queue.size + this.#due.size;
  }

  /** What a request needs: the grant, if it may start this moment and nobody waits before it, otherwise a ticket. */
  acquire(nowNs: bigint): Grant | Ticket {
    const grant = this.#queue.size > 0 ? undefined : this.#limiter.tryAcquire(nowNs);
    if (grant !== undefined && grant.startNs <= nowNs) return grant;
    const ticket = new Ticket(grant);
    (grant === undefined ? this.#queue : this.#due).add(ticket);
    this.#arm(nowNs);
    return ticket;
  }

  /** Leave the queue at once. Costs no token. */
  cancel(ticket: Ticket): void {
    if (!this.#queue.delete(ticket) && !this.#due.delete(ticket)) return;
    ticket.grant?.giveBack();
    ticket.settle(undefined);
    this.look();
  }

  /** Grant what can be granted now and set the timer for the rest. Call it after giving a token back. */
  look(): void {
    const nowNs = this.#clock.nowNs();
    for (const ticket of this.#due) {
      if (ticket.grant !== undefined && ticket.grant.startNs <= nowNs) {
        this.#due.delete(ticket);
        ticket.settle(ticket.grant);
      }
    }
    for (const ticket of this.#queue) {
      const grant = this.#limiter.tryAcquire(nowNs);
      if (grant === undefined) break;
      this.#queue.delete(ticket);
      if (grant.startNs <= nowNs) {
        ticket.settle(grant);
      } else {
        ticket.grant = grant;
        this.#due.add(ticket);
      }
    }
    this.#arm(nowNs);
  }

  #arm(nowNs: bigint): void {
    let atNs = this.#queue.size > 0 ? this.#limiter.retryAtNs : undefined;
    for (const { grant } of this.#due) {
      if (grant !== undefined && (atNs === undefined || grant.startNs < atNs)) atNs = grant.startNs;
    }
    if (this.#timer !== undefined) {
      if (atNs === this.#timerAtNs) return;
      this.#clock.clearTimer(this.#timer);
      this.#timer = undefined;
    }
    if (atNs === undefined) return;
    this.#timerAtNs = atNs;
    const ms = atNs > nowNs ? Math.ceil(Number(atNs - nowNs) / 1e6) : 1;
    this.#timer = this.#clock.setTimer(
      () => {
        this.#timer = undefined;
        this.look();
      },
      Math.min(ms, MAX_TIMER_MS),
    );
  }
}
