import type { Clock } from '../../lib/limit/waiter.ts';

/** Something that will happen, unless it is cancelled. */
export interface Event {
  readonly atNs: number;
  /** Of events at one time the one that was added first happens first. */
  readonly order: number;
  /** Undefined once it was cancelled. */
  callback: (() => void) | undefined;
}

/** Above this Node's timers fire after one millisecond. */
const MAX_TIMER_MS = 2 ** 31 - 1;

const isBefore = (a: Event, b: Event): boolean => a.atNs < b.atNs || (a.atNs === b.atNs && a.order < b.order);

/**
 * A world with a time of its own: events happen in the order of their times, and no time passes in between. They are
 * kept in a binary heap, and their times are Numbers (whole nanoseconds up to 2^53), so that millions of requests can be
 * simulated in seconds.
 */
export class VirtualTime {
  readonly #heap: Event[] = [];
  #now: number;
  #nowNs: bigint;
  #added = 0;

  constructor(nowNs: bigint) {
    this.#now = Number(nowNs);
    this.#nowNs = nowNs;
  }

  get nowNs(): bigint {
    return this.#nowNs;
  }

  /** The same as a Number, which is exact. */
  get now(): number {
    return this.#now;
  }

  /** Let something happen at a time that is not over yet. */
  at(atNs: bigint, callback: () => void): Event {
    return this.after(Number(atNs) - this.#now, callback);
  }

  /** Let something happen in so many nanoseconds. */
  after(ns: number, callback: () => void): Event {
    if (ns < 0) throw new RangeError('This time has passed.');
    if (!Number.isInteger(ns)) throw new RangeError(`${ns} ns are not whole.`);
    const event = { atNs: this.#now + ns, order: this.#added++, callback };
    const heap = this.#heap;
    let place = heap.length;
    while (place > 0) {
      const parent = heap[(place - 1) >> 1];
      if (parent === undefined || !isBefore(event, parent)) break;
      heap[place] = parent;
      place = (place - 1) >> 1;
    }
    heap[place] = event;
    return event;
  }

  cancel(event: Event): void {
    event.callback = undefined;
  }

  /**
   * Let time go on until nothing is left to happen.
   * @param steps Of those who wait for a promise: all that follows from an event, over so many of them, happens before the next.
   */
  async run(maxEvents = 100_000, steps = 1): Promise<void> {
    for (let count = 0; ; count++) {
      const event = this.#next(Number.POSITIVE_INFINITY);
      if (event === undefined) return;
      if (count === maxEvents) throw new Error(`Something still happens after ${maxEvents} events.`);
      event();
      // What was promised to somebody reaches them before anything else happens.
      for (let step = 0; step < steps; step++) await undefined;
    }
  }

  /** Let time go on up to a given moment. */
  async runUntil(untilNs: bigint): Promise<void> {
    for (let event = this.#next(Number(untilNs)); event !== undefined; event = this.#next(Number(untilNs))) {
      event();
      await undefined;
    }
    this.#set(Number(untilNs));
  }

  /** Go on to the next event that happens until then. */
  #next(untilNs: number): (() => void) | undefined {
    for (let event = this.#heap[0]; event !== undefined && event.atNs <= untilNs; event = this.#heap[0]) {
      this.#removeFirst();
      if (event.callback === undefined) continue;
      this.#set(event.atNs);
      return event.callback;
    }
    return undefined;
  }

  #set(nowNs: number): void {
    if (nowNs === this.#now) return;
    this.#now = nowNs;
    this.#nowNs = BigInt(nowNs);
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      let event = heap[child];
      const right = heap[child + 1];
      if (event !== undefined && right !== undefined && isBefore(right, event)) {
        child++;
        event = right;
      }
      if (event === undefined || !isBefore(event, last)) break;
      heap[place] = event;
      place = child;
    }
    heap[place] = last;
  }
}

/**
 * A thread's clock in virtual time, with timers like those of Node: whole milliseconds, early or late by `errorNs`, and
 * at once if they are too long. It notes what is asked of it.
 */
export class VirtualClock implements Clock {
  readonly #time: VirtualTime;
  readonly #errorNs: () => number;
  readonly #live = new Set<Event>();
  mostTimersAtOnce = 0;
  readonly delaysMs: number[] = [];

  constructor(time: VirtualTime, errorNs: () => number = () => 0) {
    this.#time = time;
    this.#errorNs = errorNs;
  }

  get timers(): number {
    return this.#live.size;
  }

  nowNs(): bigint {
    return this.#time.nowNs;
  }

  setTimer(callback: () => void, ms: number): unknown {
    this.delaysMs.push(ms);
    const wholeMs = ms >= 1 && ms <= MAX_TIMER_MS ? Math.trunc(ms) : 1;
    const event = this.#time.after(Math.max(0, wholeMs * 1e6 + this.#errorNs()), () => {
      this.#live.delete(event);
      callback();
    });
    this.#live.add(event);
    this.mostTimersAtOnce = Math.max(this.mostTimersAtOnce, this.#live.size);
    return event;
  }

  /** The thread is dead: no timer of its will fire. */
  stop(): void {
    for (const timer of this.#live) this.clearTimer(timer);
  }

  clearTimer(timer: unknown): void {
    if (this.#live.delete(timer as Event)) this.#time.cancel(timer as Event);
  }
}
