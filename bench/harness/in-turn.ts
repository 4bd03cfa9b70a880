import { type Alternation, alternate, type Contender, failuresOf, type Timing } from './alternate.ts';
import type { Failure } from './suite.ts';
import { describeError, within } from './within.ts';

const OPEN_LIMIT_MS = 30_000;
const AFTER_LIMIT_MS = 30_000;
const CLOSE_LIMIT_MS = 10_000;

/** A contender that has to be opened first: it may fail there, and is known by its name all the same. */
export interface Opener {
  readonly name: string;
  readonly items: number;
  open(): Promise<Opened> | Opened;
}

export interface Opened {
  run(): Promise<unknown>;
  /** Something to look at that would disturb the timing: once, when all rounds are over, one contender at a time. */
  after?(): Promise<unknown>;
  close(): Promise<unknown>;
}

export interface InTurn {
  /** In the order of the openers. */
  readonly timings: readonly Timing[];
  /** Of opening, running and closing. */
  readonly failures: readonly Failure[];
}

/** Open contenders, time them in turn and close them. What fails is a timing without figures. */
export async function timeInTurn(openers: readonly Opener[], alternation: Alternation): Promise<InTurn> {
  const opened = new Map<string, Opened>();
  const contenders: Contender[] = [];
  for (const { name, items, open } of openers) {
    try {
      const one = await within(OPEN_LIMIT_MS, call(open));
      opened.set(name, one);
      contenders.push({ name, items, run: () => one.run() });
    } catch (error) {
      contenders.push({ name, items, run: () => Promise.reject(error) });
    }
  }
  const timings = await alternate(contenders, alternation);
  const failures = failuresOf(timings);
  const failedNames = new Set(failures.map(({ who }) => who));
  const attempt = async (who: string, limitMs: number, step: () => unknown) => {
    try {
      await within(limitMs, call(step));
    } catch (error) {
      failures.push({ who, error: describeError(error) });
    }
  };
  for (const [name, one] of opened) {
    if (!failedNames.has(name)) await attempt(`${name}: afterwards`, AFTER_LIMIT_MS, () => one.after?.());
  }
  await Promise.all(
    [...opened].map(([name, one]) => attempt(`${name}: to close it`, CLOSE_LIMIT_MS, () => one.close())),
  );
  return { timings, failures };
}

/** What it throws is a rejection, too. */
async function call<Result>(step: () => Promise<Result> | Result): Promise<Result> {
  return step();
}
