import type { ControlBlock } from '../shared/control-block.ts';

/**
 * Even spacing: one shared word per limit says when the next start may be, and whoever starts moves it on by one gap.
 * It is the "time of next permission" of a leaky bucket without burst, kept by compare-and-exchange.
 */
export class StartSlots {
  readonly #words: BigInt64Array;
  readonly #at: number;
  readonly #gapNs: bigint;

  constructor(block: Pick<ControlBlock, 'words' | 'layout'>, index: number, gapNs: bigint) {
    const at = block.layout.nextStart[index];
    if (at === undefined) throw new RangeError(`The control block has no limit ${index}.`);
    this.#words = block.words;
    this.#at = at;
    this.#gapNs = gapNs;
  }

  /** From when on the next slot can be reserved: it must be at most one gap ahead, so that an aborted lane holds up nobody. */
  get reservableAtNs(): bigint {
    return Atomics.load(this.#words, this.#at) - this.#gapNs;
  }

  /**
   * Reserve the next slot.
   * @returns when the start may be (now or up to one gap ahead); undefined if the slot is further away.
   */
  reserve(nowNs: bigint): bigint | undefined {
    let nextNs = Atomics.load(this.#words, this.#at);
    for (;;) {
      const startNs = nextNs > nowNs ? nextNs : nowNs;
      if (startNs - nowNs > this.#gapNs) return undefined;
      // Race: two threads want the same slot. One gets it, the other looks at the one after it.
      const before = Atomics.compareExchange(this.#words, this.#at, nextNs, startNs + this.#gapNs);
      if (before === nextNs) return startNs;
      nextNs = before;
    }
  }
}
