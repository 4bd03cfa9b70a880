import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, within } from './within.ts';

/** Distance between the starts of runs that go side by side, so that their bursts do not meet. */
const STAGGER_MS = 83;
/** Runs that are made ready at the same time: more would only be in each other's way. */
const OPENING = 4;

/** How long a run may take to be made ready, and to be measured. */
export interface SideLimits {
  readonly openMs: number;
  readonly measureMs: number;
}

const LIMITS: SideLimits = { openMs: 90_000, measureMs: 120_000 };

/** Something that waits most of the time, so that it can be measured while others are. */
export interface SideRun<Result> {
  measure(): Promise<Result>;
  close(): Promise<void>;
}

export type Opener<Result> = () => Promise<SideRun<Result>>;

/** What a run came to, or why it did not. */
export type SideResult<Result> =
  | { readonly result: Result; readonly error?: never }
  | { readonly error: string; readonly result?: never };

/** Runs that are ready to start. */
export class SideRuns<Result> {
  readonly #runs: readonly SideResult<SideRun<Result>>[];
  readonly #limits: SideLimits;

  private constructor(runs: readonly SideResult<SideRun<Result>>[], limits: SideLimits) {
    this.#runs = runs;
    this.#limits = limits;
  }

  /** Open them, some at a time. One that cannot be opened is one that fails; the others do not notice. */
  static async open<Result>(openers: readonly Opener<Result>[], limits = LIMITS): Promise<SideRuns<Result>> {
    const runs: SideResult<SideRun<Result>>[] = [];
    for (let from = 0; from < openers.length; from += OPENING) {
      const opening = openers.slice(from, from + OPENING).map((open) => attempt(limits.openMs, open));
      runs.push(...(await Promise.all(opening)));
    }
    return new SideRuns(runs, limits);
  }

  /** Start one after the other. The results come in the order of the openers. */
  async measure(staggerMs = STAGGER_MS): Promise<SideResult<Result>[]> {
    return Promise.all(
      this.#runs.map(async ({ result: run, error }, place) => {
        if (run === undefined) return { error };
        await sleep(place * staggerMs);
        return attempt(this.#limits.measureMs, () => run.measure());
      }),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#runs.map(async ({ result: run }) => run?.close()));
  }
}

/**
 * Measure runs side by side. All are opened and warmed up before the first one starts, and they start one after the
 * other.
 */
export async function sideBySide<Result>(
  openers: readonly Opener<Result>[],
  staggerMs?: number,
): Promise<SideResult<Result>[]> {
  const runs = await SideRuns.open(openers);
  try {
    return await runs.measure(staggerMs);
  } finally {
    await runs.close();
  }
}

/** The same, but only so many at a time: the next ones are opened when all of these are over. */
export async function inWaves<Result>(
  openers: readonly Opener<Result>[],
  size: number,
  staggerMs?: number,
): Promise<SideResult<Result>[]> {
  const results: SideResult<Result>[] = [];
  for (let from = 0; from < openers.length; from += size) {
    results.push(...(await sideBySide(openers.slice(from, from + size), staggerMs)));
  }
  return results;
}

async function attempt<Result>(limitMs: number, step: () => Promise<Result>): Promise<SideResult<Result>> {
  try {
    return { result: await within(limitMs, step()) };
  } catch (error) {
    return { error: describeError(error) };
  }
}
