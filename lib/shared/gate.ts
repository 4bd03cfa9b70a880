import type { ControlBlock } from './control-block.ts';
import { CAUSES, GENERATION, HINTS_IGNORED, PAUSED_UNTIL_NS } from './layout.ts';

/** The largest number that a shared word can hold: for ever. */
const FOREVER_NS = 2n ** 63n - 1n;

/** Why the gate is closed: bits, because several causes may come together. */
export const CAUSE = {
  /** The upstream refused a request as too fast: what is in flight is cancelled, and a backoff follows. */
  refused: 1,
  /** The upstream said with an answer that its quota is used up. */
  quota: 2,
  /** The upstream does not accept the credentials any more, or somebody asked for new ones. */
  credentials: 4,
  /** So much has failed that the circuit breaker opens. */
  circuit: 8,
} as const;

/** One of the causes, by name. */
export type CauseName = keyof typeof CAUSE;

/** The causes among these bits, by name. */
export function namesOfCauses(bits: number): CauseName[] {
  return (Object.keys(CAUSE) as CauseName[]).filter((name) => (bits & CAUSE[name]) !== 0);
}

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
   * @param causes Bits of `CAUSE`. They count also if another caller was first, for as long as the main thread waits for
   * the work of that generation to end.
   * @returns true for the one caller that closed it; false for all who detected the same event.
   */
  close(generation: number, causes: number = CAUSE.refused): boolean {
    // Before the gate: who sees it closed must see why. A thread that dies in between leaves a cause that is true.
    this.#addCauses((generation + 1) | 0, BigInt(causes));
    // Race: several threads hear of the same event, or one hears of an old event late. Exactly one step is taken, and
    // only from the generation in which the refused request was sent.
    return Atomics.compareExchange(this.#ints, GENERATION, generation, (generation + 1) | 0) === generation;
  }

  /** Why the gate was closed: bits of `CAUSE` of all who wanted this generation to begin. */
  causesOf(generation: number): number {
    const word = Atomics.load(this.#words, CAUSES);
    return Number(word >> 8n) === generation ? Number(word & 0xffn) : 0;
  }

  #addCauses(generation: number, causes: bigint): void {
    let seen = Atomics.load(this.#words, CAUSES);
    for (;;) {
      const seenGeneration = Number(seen >> 8n);
      // Late news of an event that is over.
      if (((seenGeneration - generation) | 0) > 0) return;
      const kept = seenGeneration === generation ? seen & 0xffn : 0n;
      const next = (BigInt(generation) << 8n) | kept | causes;
      // Race: detectors with different causes. The word must end with those of all, and with none of an older event.
      const before = Atomics.compareExchange(this.#words, CAUSES, seen, next);
      if (before === seen) return;
      seen = before;
    }
  }

  /** Hints of the upstream that were not understood, or too long to be believed. */
  get hintsIgnored(): number {
    return Atomics.load(this.#ints, HINTS_IGNORED);
  }

  ignoreHints(count: number): void {
    // Race: several threads count at once.
    Atomics.add(this.#ints, HINTS_IGNORED, count);
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
