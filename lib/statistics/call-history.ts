/** How many seconds are kept. */
export const HISTORY_SECONDS = 300;

/** Calls of the last seconds, and the most that there ever were in one. Seconds are those of `process.hrtime`. */
export class CallHistory {
  /** A second stands at its place modulo their number. */
  readonly #seconds = new Float64Array(HISTORY_SECONDS).fill(-1);
  readonly #counts = new Float64Array(HISTORY_SECONDS);
  /** The most calls in one second. */
  max = 0;

  /** Add calls of a second. Seconds come in order, but for some at the end that come again. */
  add(second: number, calls: number): void {
    const at = second % HISTORY_SECONDS;
    const known = this.#seconds[at] ?? -1;
    // Out of the window already: only if nobody looked for minutes, and then as good as we can tell.
    if (known > second) {
      this.max = Math.max(this.max, calls);
      return;
    }
    const count = known === second ? (this.#counts[at] ?? 0) + calls : calls;
    this.#seconds[at] = second;
    this.#counts[at] = count;
    this.max = Math.max(this.max, count);
  }

  /** The calls of each second from `from` to `to`, both included. */
  between(from: number, to: number): number[] {
    return Array.from({ length: to - from + 1 }, (_, i) => {
      const at = (from + i) % HISTORY_SECONDS;
      return this.#seconds[at] === from + i ? (this.#counts[at] ?? 0) : 0;
    });
  }
}
