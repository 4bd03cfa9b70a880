import type { Clock } from '../../lib/limit/waiter.ts';

interface Event {
  readonly atNs: bigint;
  readonly callback: () => void;
}

/** Above this Node's timers fire after one millisecond. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A world with a time of its own: events happen in the order of their times, and no time passes in between. */
export class VirtualTime {
  nowNs: bigint;
  /** The earliest last; of events at one time the first one added happens first. */
  readonly #events: Event[] = [];

  constructor(nowNs: bigint) {
    this.nowNs = nowNs;
  }

  /** Let something happen at a time that is not over yet. */
  at(atNs: bigint, callback: () => void): Event {
    if (atNs < this.nowNs) throw new RangeError('This time has passed.');
    const event = { atNs, callback };
    let place = this.#events.length;
    while (place > 0 && (this.#events[place - 1]?.atNs ?? 0n) <= atNs) place--;
    this.#events.splice(place, 0, event);
    return event;
  }

  cancel(event: Event): void {
    const place = this.#events.indexOf(event);
    if (place !== -1) this.#events.splice(place, 1);
  }

  /** Let time go on until nothing is left to happen. */
  async run(maxEvents = 100_000): Promise<void> {
    for (let count = 0; ; count++) {
      const event = this.#events.pop();
      if (event === undefined) return;
      if (count === maxEvents) throw new Error(`Something still happens after ${maxEvents} events.`);
      this.nowNs = event.atNs;
      event.callback();
      // What was promised to somebody reaches them before anything else happens.
      await undefined;
    }
  }

  /** Let time go on up to a given moment. */
  async runUntil(untilNs: bigint): Promise<void> {
    for (let next = this.#events.at(-1); next !== undefined && next.atNs <= untilNs; next = this.#events.at(-1)) {
      this.#events.pop();
      this.nowNs = next.atNs;
      next.callback();
      await undefined;
    }
    this.nowNs = untilNs;
  }
}

/**
 * A thread's clock in virtual time, with timers like those of Node: whole milliseconds, early or late by `errorNs`, and
 * at once if they are too long. It notes what is asked of it.
 */
export class VirtualClock implements Clock {
  readonly #time: VirtualTime;
  readonly #errorNs: () => bigint;
  readonly #live = new Set<unknown>();
  mostTimersAtOnce = 0;
  readonly delaysMs: number[] = [];

  constructor(time: VirtualTime, errorNs: () => bigint = () => 0n) {
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
    const dueNs = this.#time.nowNs + BigInt(wholeMs) * 1_000_000n + this.#errorNs();
    const event = this.#time.at(dueNs > this.#time.nowNs ? dueNs : this.#time.nowNs, () => {
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
    if (this.#live.delete(timer)) this.#time.cancel(timer as Event);
  }
}
