import type { FaultConditions, FaultEffect, ResolvedFault } from './fault-options.ts';
import { type Random, seededRandom } from './random.ts';

/** A fault that strikes a request. `use()` counts it against `times`. */
export interface PickedFault {
  readonly effect: FaultEffect;
  readonly after: FaultConditions['after'];
  use(): void;
}

interface ArmedFault extends PickedFault {
  readonly when: FaultConditions;
  readonly at: ReadonlySet<number> | undefined;
  timesLeft: number;
}

/** Decides which fault a request meets. Draws only for faults that the other conditions match. */
export class FaultPicker {
  readonly #faults: readonly ArmedFault[];
  readonly #random: Random;

  constructor(faults: readonly ResolvedFault[], seed: number) {
    this.#random = seededRandom(seed);
    this.#faults = faults.map(({ when, effect }) => ({
      effect,
      after: when.after,
      when,
      at: when.at && new Set(when.at),
      timesLeft: when.times,
      use() {
        this.timesLeft--;
      },
    }));
  }

  /** The first fault that matches. `n` is the number of the request, or 0 if it is not counted. */
  pick(n: number, method: string, pathname: string): PickedFault | undefined {
    for (const fault of this.#faults) {
      const { methods, path, probability } = fault.when;
      if (fault.timesLeft <= 0) continue;
      if (n === 0 && path === undefined) continue;
      if (fault.at && !fault.at.has(n)) continue;
      if (methods && !methods.includes(method)) continue;
      if (path !== undefined && !matchesPath(path, pathname)) continue;
      if (probability < 1 && this.#random() >= probability) continue;
      return fault;
    }
    return undefined;
  }
}

function matchesPath(pattern: string, pathname: string): boolean {
  return pattern.endsWith('*') ? pathname.startsWith(pattern.slice(0, -1)) : pathname === pattern;
}
