import type { ControlBlock } from '../shared/control-block.ts';

/** Timers know only milliseconds, and are late by up to about two on a machine that has nothing else to do. */
const TIMER_GRAIN_NS = 2_000_000n;

/**
 * How late a start may be without putting off those after it: a quarter of the gap, so that what a busy thread loses now
 * and then is made up for; at least the grain of timers, which is in every start that was waited for.
 */
export function allowedLatenessNs(gapNs: bigint): bigint {
  const quarterNs = gapNs / 4n;
  return quarterNs > TIMER_GRAIN_NS ? quarterNs : TIMER_GRAIN_NS;
}

/**
 * Even spacing: one shared word per limit says when the next start may be, and whoever starts moves it on. It is the
 * theoretical arrival time of GCRA, kept by compare-and-exchange.
 *
 *     due          now
 *      |-- late ----|
 *      |------------- gap -------------|         late by less than is allowed: nobody else is put off
 *          |--------|                            the most that is allowed
 *          |------------- gap -------------|     later than that: the next one is put off by the rest
 *
 * Nothing is reserved: a start and the move are one step, at the time of the start. So spacing holds between starts,
 * and not between what threads meant to do: a thread that is late, stops waiting or dies has no start to itself, and
 * another one that waits takes it.
 *
 * Each start s counts from c, where s - lateness <= c <= s, and the next counts from c + gap or later. So of any starts in
 * a row the last one is at least n * gap - lateness after the first, n starts later.
 */
export class StartSlots {
  readonly #words: BigInt64Array;
  readonly #at: number;
  readonly #gapNs: bigint;
  readonly #latenessNs: bigint;

  constructor(
    block: Pick<ControlBlock, 'words' | 'layout'>,
    index: number,
    gapNs: bigint,
    latenessNs = allowedLatenessNs(gapNs),
  ) {
    const at = block.layout.nextStart[index];
    if (at === undefined) throw new RangeError(`The control block has no limit ${index}.`);
    this.#words = block.words;
    this.#at = at;
    this.#gapNs = gapNs;
    this.#latenessNs = latenessNs;
  }

  /** When the next start may be. */
  get nextNs(): bigint {
    return Atomics.load(this.#words, this.#at);
  }

  /**
   * Start now, if that may be.
   * @param dueNs Since when this start has been awaited: its timer was set for then. `nowNs` or later if it was not.
   * @returns false if it is too early (then see `nextNs`).
   */
  start(nowNs: bigint, dueNs: bigint): boolean {
    let nextNs = Atomics.load(this.#words, this.#at);
    while (nextNs <= nowNs) {
      let countsFromNs = nextNs > dueNs ? nextNs : dueNs;
      if (countsFromNs > nowNs) countsFromNs = nowNs;
      if (countsFromNs < nowNs - this.#latenessNs) countsFromNs = nowNs - this.#latenessNs;
      // Race: two threads want to start. One does, the other sees that it has to wait for one gap.
      const before = Atomics.compareExchange(this.#words, this.#at, nextNs, countsFromNs + this.#gapNs);
      if (before === nextNs) return true;
      nextNs = before;
    }
    return false;
  }
}
