import type { LoopScenario } from '../loop/scenario.ts';

/** A loop that failed once, and what was wrong then. */
export interface KeptLoop {
  readonly why: string;
  readonly scenario: LoopScenario;
}

/**
 * Loops that failed, shrunk: each is run again with every run of the tests. These were found by breaking what recovers
 * on purpose, in the way that `why` tells. Add those that a failing test prints, with what was wrong.
 */
export const KEPT_LOOPS: readonly KeptLoop[] = [];
