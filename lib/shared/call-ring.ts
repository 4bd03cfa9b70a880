import type { ControlBlock } from './control-block.ts';
import { CALL_SECONDS, callsIndex } from './layout.ts';

/*
 * How many calls were started in each second, exactly, over all threads. Every thread has a ring in the control block
 * that only it writes, and knows the time of each call anyway; the main thread reads the rings now and then. A second
 * stays in its ring until the thread comes to the 64th one after it, so a main thread that is blocked for a minute
 * loses nothing.
 *
 *     place of a second = second modulo 64
 *     [ ... | second 1000, 17 calls | second 1001, 18 calls | second 1002, 4 calls so far | second 939, ... | ... ]
 */

const PLACE_MASK = CALL_SECONDS - 1;
const SECOND_NS = 1_000_000_000n;
/** No second: the entry is being used for another one. */
const NONE = -1;

type Block = Pick<ControlBlock, 'ints' | 'layout'>;

/** Counts the calls of one thread, second by second. Only one thread may use a place at a time. */
export class CallCounter {
  readonly #ints: Int32Array;
  readonly #first: number;
  /** Where the count of this second stands. */
  #at = 0;
  #count = 0;
  /** The end of this second. */
  #untilNs = 0n;

  /** @param place Which of the rings: a number below `layout.threads`. */
  constructor(block: Block, place: number) {
    this.#ints = block.ints;
    this.#first = callsIndex(block.layout, place);
  }

  /** A call has started. */
  count(nowNs: bigint): void {
    if (nowNs >= this.#untilNs) this.#enter(nowNs);
    // Not atomic: nobody else writes here, 32 bits are never read by halves, and the reader has time. It is in the
    // memory of all threads at once, so nothing is lost with a thread that dies.
    this.#ints[this.#at] = ++this.#count;
  }

  #enter(nowNs: bigint): void {
    const ints = this.#ints;
    const second = Number(nowNs / SECOND_NS);
    const at = this.#first + 2 * (second & PLACE_MASK);
    this.#at = at + 1;
    this.#untilNs = (BigInt(second) + 1n) * SECOND_NS;
    if (Atomics.load(ints, at) === second) {
      // The thread that had this place before died in this very second.
      this.#count = Atomics.load(ints, at + 1);
      return;
    }
    // Race: the main thread reads this entry now, and must not take the new count for that of the old second. Until both
    // are there, the entry is of no second: the plain store of the next call may be seen before the last of these three
    // on some machines, but never before the second one, which writes to the same word.
    Atomics.store(ints, at, NONE);
    Atomics.store(ints, at + 1, 0);
    Atomics.store(ints, at, second);
    this.#count = 0;
  }
}

/** Reads the rings of all threads. One reader only: what it has read it does not tell again. */
export class CallReader {
  readonly #ints: Int32Array;
  readonly #first: number;
  /** The words of all rings as they were read last. */
  readonly #seen: Int32Array;

  constructor({ ints, layout }: Block) {
    this.#ints = ints;
    this.#first = layout.firstCalls;
    this.#seen = new Int32Array(layout.threads * 2 * CALL_SECONDS);
  }

  /** Calls that were counted since it was called last: pairs of a second (of `process.hrtime`) and a number, in order. */
  read(): [second: number, calls: number][] {
    const ints = this.#ints;
    const seen = this.#seen;
    const found = new Map<number, number>();
    for (let entry = 0; entry < seen.length; entry += 2) {
      const at = this.#first + entry;
      const second = Atomics.load(ints, at);
      const count = Atomics.load(ints, at + 1);
      const isSame = seen[entry] === second;
      if (isSame && seen[entry + 1] === count) continue;
      // Race: the thread uses the entry for another second between these loads. Only if it is still of the same second
      // is the count that of this second; otherwise it is read next time.
      if (second === NONE || Atomics.load(ints, at) !== second) continue;
      const calls = isSame ? count - (seen[entry + 1] ?? 0) : count;
      seen[entry] = second;
      seen[entry + 1] = count;
      if (calls > 0) found.set(second, (found.get(second) ?? 0) + calls);
    }
    return [...found].sort(([a], [b]) => a - b);
  }
}
