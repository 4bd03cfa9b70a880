/** A figure, a word, or nothing. Names of columns carry the unit: `elapsed s`. */
export type Cell = string | number | boolean | undefined;

/** One line of a table. Rows of one table may have different columns. */
export type Row = Readonly<Record<string, Cell>>;

export interface Table {
  readonly title: string;
  readonly rows: readonly Row[];
  /** What is compared, how it was measured, what disturbed it. */
  readonly notes?: readonly string[];
}

/** Something to reach. */
export interface Target {
  readonly name: string;
  /** As text: `<= 4.25`. */
  readonly goal: string;
  /** NaN if it could not be measured. */
  readonly measured: number;
  readonly unit: string;
  readonly met: boolean;
}

/** A plot for the page. Nothing of it is printed on the terminal. */
export interface Chart {
  readonly title: string;
  /** Lines over a number, or bars over names. */
  readonly kind: 'lines' | 'bars';
  readonly xLabel: string;
  readonly yLabel: string;
  readonly x: readonly (number | string)[];
  /** One value for each x. */
  readonly series: readonly { readonly name: string; readonly values: readonly (number | undefined)[] }[];
  /** What to reach or to stay within, drawn across the plot. */
  readonly band?: { readonly from: number; readonly to: number; readonly label: string };
  readonly isLogarithmic?: boolean;
}

/** Who could not be measured, while others of the same part could, and why. */
export interface Failure {
  readonly who: string;
  readonly error: string;
}

export interface PartResult {
  readonly tables: readonly Table[];
  readonly targets: readonly Target[];
  readonly charts?: readonly Chart[];
  /** The run fails with them. Their rows say so, too. */
  readonly failures?: readonly Failure[];
}

/** How a run is meant. */
export interface Mode {
  /** As short as possible, to see that everything works: its figures say nothing. */
  readonly isQuick: boolean;
}

/** A piece of a suite that can run alone: `npm run bench -- suite/part`. */
export interface Part {
  readonly name: string;
  readonly title: string;
  /** It waits for limits nearly all the time: another such part may run beside it. */
  readonly isMostlyIdle?: boolean;
  /** About how long it waits, in seconds: of parts that run side by side, long ones start first. Default 20. */
  readonly aboutS?: number;
  /** After this time it is ended. Default 3 minutes. */
  readonly limitMs?: number;
  run(mode: Mode): Promise<PartResult>;
}

/** The default export of every file directly under `bench/suites/`; the file's name is the suite's. */
export interface Suite {
  readonly title: string;
  /** Run in this order, one at a time. */
  readonly parts: readonly Part[];
}

const DIGITS = 4;

function rounded(value: number): number {
  return Number(value.toFixed(DIGITS));
}

/** A target that is met up to and including `goal`. A figure that is not a number meets nothing. */
export function atMost(name: string, measured: number, goal: number, unit: string): Target {
  return { name, goal: `<= ${goal}`, measured: rounded(measured), unit, met: measured <= goal };
}

/** A target that is met from `goal` on. A figure that is not a number meets nothing. */
export function atLeast(name: string, measured: number, goal: number, unit: string): Target {
  return { name, goal: `>= ${goal}`, measured: rounded(measured), unit, met: measured >= goal };
}

/** A target that is met by this figure only. */
export function exactly(name: string, measured: number, goal: number, unit: string): Target {
  return { name, goal: `= ${goal}`, measured: rounded(measured), unit, met: measured === goal };
}
