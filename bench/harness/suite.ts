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
  readonly measured: number;
  readonly unit: string;
  readonly met: boolean;
}

export interface PartResult {
  readonly tables: readonly Table[];
  readonly targets: readonly Target[];
}

/** A piece of a suite that can run alone: `npm run bench -- suite/part`. */
export interface Part {
  readonly name: string;
  readonly title: string;
  run(): Promise<PartResult>;
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
