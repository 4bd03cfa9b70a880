/** How many attempts are looked back on. */
const WINDOW = 100;
/** Fewer than this say nothing. */
const MINIMUM = 10;
/** Below this share of successes, waits get longer. */
const LOW_RATE = 0.2;
/** By how much. */
const STRETCH = 2;

/** The last 100 attempts that the upstream answered or let down: how many succeeded, and what that means for waits. */
export class SuccessRate {
  readonly #results = new Uint8Array(WINDOW);
  #next = 0;
  #count = 0;
  #successes = 0;

  addSuccesses(count: number): void {
    for (let i = Math.min(count, WINDOW); i > 0; i--) this.#add(1);
  }

  addFailure(): void {
    this.#add(0);
  }

  /** By how much a wait is to be longer: 2 while fewer than 20% of the last 100 attempts succeeded, else 1. */
  get stretch(): number {
    return this.#count >= MINIMUM && this.#successes < LOW_RATE * this.#count ? STRETCH : 1;
  }

  #add(result: 0 | 1): void {
    if (this.#count === WINDOW) this.#successes -= this.#results[this.#next] ?? 0;
    else this.#count++;
    this.#results[this.#next] = result;
    this.#successes += result;
    this.#next = (this.#next + 1) % WINDOW;
  }
}
