/** What is mutated, and which tests may kill it. */
export interface Room {
  /** The folder whose modules are mutated. */
  readonly sources: string;
  /**
   * Folders and single files of tests. Which of them run a mutant's line is measured before, and the quickest of those
   * are asked first, so a slow one costs little where a quick one kills.
   */
  readonly tests: readonly string[];
}

export const ROOMS: readonly Room[] = [
  { sources: 'lib/limit', tests: ['test/limit'] },
  { sources: 'lib/shared', tests: ['test/shared'] },
  { sources: 'lib/recover', tests: ['test/recover'] },
  { sources: 'lib/batch', tests: ['test/batch'] },
];

/** Too slow to be asked once per mutant; what they would find, quicker tests have to. */
export const NEVER_ASKED = ['test/limit/servers.test.ts'];

/** Share of the mutants that tests must kill, without those that are explained. */
export const LEAST_SCORE = 0.9;
