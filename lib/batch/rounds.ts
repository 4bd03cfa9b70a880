import type { Outcome } from '../types.ts';

/** Finished in this round; and: must not run again when the batch starts over. */
const DONE = 1;
const KEEP = 2;

/**
 * The outcomes of a batch that may start over: held back until the batch is over, because a later round may bring
 * others.
 */
export class Rounds {
  readonly #items: readonly unknown[];
  readonly #marks: Uint8Array;
  readonly #outcomes = new Map<number, Outcome>();

  constructor(items: readonly unknown[]) {
    this.#items = items;
    this.#marks = new Uint8Array(items.length);
  }

  /** Take the latest outcome of each item that has one: no later round changes it any more. */
  takeOutcomes(): Iterable<Outcome> {
    const outcomes = [...this.#outcomes.values()];
    this.#outcomes.clear();
    return outcomes;
  }

  /** An item has its outcome for this round. `keep`: it is not run again in a later one. */
  put(outcome: Outcome, keep: boolean): void {
    this.#marks[outcome.index] = keep ? DONE | KEEP : DONE;
    this.#outcomes.set(outcome.index, outcome);
  }

  /** The success of an earlier round, for an item that did not get so far in this one. */
  earlierSuccess(index: number): Outcome | undefined {
    const outcome = (this.#marks[index] ?? 0) === 0 ? this.#outcomes.get(index) : undefined;
    return outcome?.ok === true ? outcome : undefined;
  }

  /** Begin the next round: what was finished and has to run again. */
  *restart(): Generator<{ readonly index: number; readonly item: unknown; readonly outcome: Outcome }> {
    for (const [index, outcome] of this.#outcomes) {
      if (this.#marks[index] !== DONE) continue;
      this.#marks[index] = 0;
      yield { index, item: this.#items[index], outcome };
    }
  }
}
