import type { Environment } from './environment.ts';
import type { Chart, Failure, Row, Target } from './suite.ts';

/** What `latest.json` holds. */
export interface PlainResults {
  readonly environment: Environment;
  readonly elapsedMs: number;
  readonly isQuick: boolean;
  /** False while there are parts to come, or if the run was ended before. */
  readonly isComplete: boolean;
  readonly suites: readonly PlainSuite[];
}

/** Rows, notes, targets and charts of all parts in one list each, with the part and the table that they stand in. */
export interface PlainSuite {
  readonly name: string;
  readonly title: string;
  readonly parts: readonly {
    readonly name: string;
    readonly title: string;
    readonly elapsedMs: number;
    readonly failures: readonly Failure[];
    readonly error: string | undefined;
  }[];
  readonly rows: readonly Row[];
  readonly notes: readonly { readonly part: string; readonly table: string; readonly note: string }[];
  readonly targets: readonly Target[];
  readonly charts: readonly (Chart & { readonly part: string })[];
}
