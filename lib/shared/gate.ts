import type { ControlBlock } from './control-block.ts';
import { GENERATION, PAUSED_UNTIL_NS } from './layout.ts';

/** The largest number that a shared word can hold: for ever. */
const FOREVER_NS = 2n ** 63n - 1n;

/**
 * The gate: a generation that every chunk of work carries, and the time until which the upstream wants quiet.
 *
 * The gate is open for the work of the current generation and closed for all older work. Closing it is one step, from
 * g to g + 1; it is open again as soon as the main thread hands out work of generation g + 1, which it does when the
 * barrier and the backoff are over. So there is no word that a dead thread could leave closed.
 */
export class Gate {
  readonly #ints: Int32Array;
  readonly #words: BigInt64Array;

  constructor(block: Pick<ControlBlock, 'ints' | 'words'>) {
    this.#ints = block.ints;
    this.#words = block.words;
  }

  /** The current generation: work of any older one must not start a request. */
  get generation(): number {
    // Atomic, so that a lane sees a close by another thread at its next look and not whenever the compiler likes.
    return Atomics.load(this.#ints, GENERATION);
  }

  /** True while work of this generation may start requests. */
  isOpenFor(generation: number): boolean {
    return Atomics.load(this.#ints, GENERATION) === generation;
  }

  /**
   * Close the gate for work of `generation`.
   * @returns true for the one caller that closed it; false for all who detected the same event.
   */
  close(generation: number): boolean {
    // Race: several threads hear of the same event, or one hears of an old event late. Exactly one step is taken, and
    // only from the generation in which the refused request was sent.
    return Atomics.compareExchange(this.#ints, GENERATION, generation, (generation + 1) | 0) === generation;
  }

  /** Until when the upstream asked for quiet; 0 if it did not. */
  get pausedUntilNs(): bigint {
    return Atomics.load(this.#words, PAUSED_UNTIL_NS);
  }

  /** Ask for quiet until `untilNs`; a later wish that is already there stays. */
  pauseUntil(untilNs: bigint): void {
    // A word drops what is beyond 64 bits, and the longest hint of all would become a short one.
    if (untilNs > FOREVER_NS) {
      this.pauseUntil(FOREVER_NS);
      return;
    }
    let seen = Atomics.load(this.#words, PAUSED_UNTIL_NS);
    while (seen < untilNs) {
      // Race: two detectors with different hints. The longer one must win in either order.
      const before = Atomics.compareExchange(this.#words, PAUSED_UNTIL_NS, seen, untilNs);
      if (before === seen) return;
      seen = before;
    }
  }

  /** Forget the wish. Only the main thread, between barrier and going on, when no detector can be at work. */
  clearPause(): void {
    Atomics.store(this.#words, PAUSED_UNTIL_NS, 0n);
  }
}
