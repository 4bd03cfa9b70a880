import { performance } from 'node:perf_hooks';
import { collectYoungGarbage } from './collect-garbage.ts';
import { median, type Spread, spreadColumns, spreadOf } from './spread.ts';
import type { Failure, Row } from './suite.ts';
import { describeError, within } from './within.ts';

/** One of several that do the same work. */
export interface Contender {
  readonly name: string;
  /** How many items one run works on. */
  readonly items: number;
  run(): Promise<unknown>;
  /** How long the last run took, where the contender can tell better than the clock around it. */
  ownMs?(): number;
}

export interface Timing {
  readonly name: string;
  readonly items: number;
  /** Milliseconds of a run. All NaN of one that failed. */
  readonly ms: Spread;
  /** The runs in their order: the n-th of every contender were neighbours. */
  readonly samplesMs: readonly number[];
  /** CPU time of all threads of the process. What other processes do changes it far less than the time on the clock. */
  readonly samplesCpuMs: readonly number[];
  /** Why it could not be measured to the end. */
  readonly error: string | undefined;
}

export interface Alternation {
  /** Timed runs of each contender. */
  readonly rounds: number;
  /** Runs of each contender before that, at least, not counted. */
  readonly warmUps: number;
  /**
   * The least time that each contender works before that. Runs of different lengths would not warm up alike. Default
   * 0.
   */
  readonly warmUpMs?: number;
  /** The longest that a run may take. Default 30 s. */
  readonly runLimitMs?: number;
  /** Default: that of the process. */
  readonly clockMs?: () => number;
}

const RUN_LIMIT_MS = 30_000;

/**
 * Time contenders in turn, A B A B, so that whatever changes meanwhile meets all of them. Who begins changes from round
 * to round, so that nobody always has the same one before it. One that fails, or does not come to an end, is out; the
 * others go on.
 */
export async function alternate(contenders: readonly Contender[], alternation: Alternation): Promise<Timing[]> {
  const { rounds, warmUps, warmUpMs = 0, runLimitMs = RUN_LIMIT_MS, clockMs = () => performance.now() } = alternation;
  const runners = contenders.map((contender) => new Runner(contender, runLimitMs, clockMs));
  let turn = 0;
  const round = async (isDue: (runner: Runner) => boolean, isTimed: boolean) => {
    for (const runner of rotated(runners, turn++)) {
      if (runner.error === undefined && isDue(runner)) await runner.run(isTimed);
    }
  };
  const isCold = ({ warmUps: runs, warmUpMs: ms }: Runner) => runs < warmUps || ms < warmUpMs;
  while (runners.some((runner) => runner.error === undefined && isCold(runner))) await round(isCold, false);
  for (let done = 0; done < rounds; done++) await round(() => true, true);
  return runners.map((runner) => runner.timing());
}

/** The same in the same order, but another one begins. */
export function rotated<Item>(items: readonly Item[], by: number): Item[] {
  const start = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

class Runner {
  readonly #contender: Contender;
  readonly #limitMs: number;
  readonly #clockMs: () => number;
  readonly #ms: number[] = [];
  readonly #cpuMs: number[] = [];
  warmUps = 0;
  warmUpMs = 0;
  error: string | undefined;

  constructor(contender: Contender, limitMs: number, clockMs: () => number) {
    this.#contender = contender;
    this.#limitMs = limitMs;
    this.#clockMs = clockMs;
  }

  async run(isTimed: boolean): Promise<void> {
    // One's garbage is not another one's cost.
    collectYoungGarbage();
    const cpuBefore = process.cpuUsage();
    const startedMs = this.#clockMs();
    try {
      await within(this.#limitMs, this.#contender.run());
    } catch (error) {
      this.error = describeError(error);
      return;
    }
    const elapsedMs = this.#clockMs() - startedMs;
    const { user, system } = process.cpuUsage(cpuBefore);
    if (isTimed) {
      this.#ms.push(this.#contender.ownMs?.() ?? elapsedMs);
      this.#cpuMs.push((user + system) / 1e3);
    } else {
      this.warmUps++;
      this.warmUpMs += elapsedMs;
    }
  }

  timing(): Timing {
    const { name, items } = this.#contender;
    const isWhole = this.error === undefined;
    return {
      name,
      items,
      // What came before a failure is no figure to be compared.
      ms: spreadOf(isWhole ? this.#ms : []),
      samplesMs: isWhole ? this.#ms : [],
      samplesCpuMs: isWhole ? this.#cpuMs : [],
      error: this.error,
    };
  }
}

/** The figures of a timing: items per second, and the spread of its runs. */
export function timingRow(timing: Timing): Row {
  const { name, items, ms, samplesCpuMs, error } = timing;
  if (error !== undefined) return { contender: name, items, failed: error };
  return {
    contender: name,
    items,
    'items/s': Math.round(perSecond(timing)),
    'CPU us/item': (median(samplesCpuMs) / items) * 1e3,
    ...spreadColumns(ms, 'ms'),
    runs: ms.samples,
  };
}

/** Items per second, by the median; NaN of one that failed. */
export function perSecond({ items, ms }: Timing): number {
  return (items / ms.median) * 1e3;
}

/** The quickest first, those that failed last. */
export function byItemsPerSecond(timings: readonly Timing[]): Timing[] {
  return timings.toSorted((a, b) => (perSecond(b) || 0) - (perSecond(a) || 0));
}

/** Those that failed, for the summary of the run. */
export function failuresOf(timings: readonly Timing[]): Failure[] {
  return timings.flatMap(({ name, error }) => (error === undefined ? [] : [{ who: name, error }]));
}
