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
  #resolve: (grant: Grant | undefined) => void = () => {};

  constructor() {
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
  /** A set keeps the order of insertion and forgets a ticket at once. */
  readonly #queue = new Set<Ticket>();
  #timer: unknown;
  #timerAtNs = 0n;

  constructor(limiter: Limiter, clock: Clock = systemClock) {
    this.#limiter = limiter;
    this.#clock = clock;
  }

  /** Lanes that wait. */
  get size(): number {
    return this.#queue.size;
  }

  /** What a request needs: the grant, if it may start this moment and nobody waits before it, otherwise a ticket. */
  acquire(nowNs: bigint): Grant | Ticket {
    const grant = this.#queue.size > 0 ? undefined : this.#limiter.tryAcquire(nowNs);
    if (grant !== undefined) return grant;
    const ticket = new Ticket();
    this.#queue.add(ticket);
    this.#arm(nowNs);
    return ticket;
  }

  /** Leave the queue at once. Costs no token, and gives none to those behind. */
  cancel(ticket: Ticket): void {
    if (!this.#queue.delete(ticket)) return;
    ticket.settle(undefined);
    this.#arm(this.#clock.nowNs());
  }

  /** Grant what can be granted now and set the timer for the rest. Call it after giving a token back. */
  look(): void {
    const nowNs = this.#clock.nowNs();
    for (const ticket of this.#queue) {
      // The first of them was refused, at the last look or when it came: since then it has been due at `retryAtNs`.
      const grant = this.#limiter.tryAcquire(nowNs, this.#limiter.retryAtNs);
      if (grant === undefined) break;
      this.#queue.delete(ticket);
      ticket.settle(grant);
    }
    this.#arm(nowNs);
  }

  #arm(nowNs: bigint): void {
    const atNs = this.#queue.size > 0 ? this.#limiter.retryAtNs : undefined;
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
