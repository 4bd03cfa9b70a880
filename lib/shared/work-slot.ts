import type { ControlBlock } from './control-block.ts';
import { SLOT, slotIndex } from './layout.ts';

/**
 * One chunk of work, as the thread that runs it and the main thread see it: how many of its items have been started,
 * and what the one in work has reached. The lane claims items one by one; the main thread may close the chunk at any
 * moment and take back all that was not claimed. When a thread dies, this line tells what was in its hands.
 *
 * Only one chunk uses a slot at a time: the main thread gives a slot out again after the chunk's last reply or after
 * the thread's exit, so no stale lane can touch it.
 */
export class WorkSlot {
  readonly #ints: Int32Array;
  readonly #words: BigInt64Array;
  readonly #at: number;

  constructor(block: Pick<ControlBlock, 'ints' | 'words' | 'layout'>, slot: number) {
    this.#ints = block.ints;
    this.#words = block.words;
    this.#at = slotIndex(block.layout, slot);
  }

  /** Make the slot ready for a new chunk. Main thread, while no thread has the slot. */
  reset(): void {
    // The message that carries the chunk orders these stores before anything that the thread does.
    this.#ints.fill(0, this.#at, this.#at + 8);
    this.#words[this.#at / 2 + SLOT.deadlineNs] = 0n;
  }

  /** Claim item `position`. False if the main thread has closed the chunk before it. Lane only. */
  claim(position: number): boolean {
    // Race: the main thread closes the chunk (steals its tail, ends its batch) at the same moment. Either the item is
    // claimed, and then it is in the count that main sees, or main took it, and then it is never run here.
    return Atomics.compareExchange(this.#ints, this.#at + SLOT.cursor, position, position + 1) === position;
  }

  /**
   * Close the chunk: from now on no further item of it can be claimed.
   * @returns how many items were claimed before.
   */
  close(): number {
    let seen = Atomics.load(this.#ints, this.#at + SLOT.cursor);
    while (seen >= 0) {
      // Race: the lane claims one more item in between; then look again and close after that one.
      const before = Atomics.compareExchange(this.#ints, this.#at + SLOT.cursor, seen, -1 - seen);
      if (before === seen) return seen;
      seen = before;
    }
    return -1 - seen;
  }

  /** How many items have been claimed. */
  get started(): number {
    const cursor = Atomics.load(this.#ints, this.#at + SLOT.cursor);
    return cursor >= 0 ? cursor : -1 - cursor;
  }

  /** What the item in work has reached: bits of `WORK`, 0 if there is none. */
  get work(): number {
    return Atomics.load(this.#ints, this.#at + SLOT.work);
  }

  set work(bits: number) {
    // Atomic, so that the watchdog and, after a death, the main thread see the last state and not an older one.
    Atomics.store(this.#ints, this.#at + SLOT.work, bits);
  }

  /** When the item in work must be done, or a few milliseconds later; of no meaning while none is in work. */
  get deadlineNs(): bigint {
    return Atomics.load(this.#words, this.#at / 2 + SLOT.deadlineNs);
  }

  set deadlineNs(ns: bigint) {
    // 64 bits at once: the watchdog must not see half of a time.
    Atomics.store(this.#words, this.#at / 2 + SLOT.deadlineNs, ns);
  }

  get sent(): number {
    return Atomics.load(this.#ints, this.#at + SLOT.sent);
  }

  get refused(): number {
    return Atomics.load(this.#ints, this.#at + SLOT.refused);
  }

  get cancelled(): number {
    return Atomics.load(this.#ints, this.#at + SLOT.cancelled);
  }

  countSent(): void {
    Atomics.add(this.#ints, this.#at + SLOT.sent, 1);
  }

  countRefused(): void {
    Atomics.add(this.#ints, this.#at + SLOT.refused, 1);
  }

  countCancelled(): void {
    Atomics.add(this.#ints, this.#at + SLOT.cancelled, 1);
  }
}
