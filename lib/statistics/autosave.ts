import type { ResolvedStatistics } from './options.ts';
import type { Statistics } from './statistics.ts';

export interface AutosaveOptions {
  readonly options: ResolvedStatistics;
  /** What to save: called right before. */
  readonly take: () => Statistics;
  /** A save failed. The next one is tried all the same. */
  readonly onError: (error: unknown) => void;
  readonly dateMs: () => number;
  /** Call `tick` every so many milliseconds, until the function that is returned is called. Must not keep the process. */
  readonly every?: (tick: () => void, ms: number) => () => void;
}

/** Saves statistics at an interval, and a last time at the end. */
export class Autosave {
  readonly #options: AutosaveOptions;
  readonly #stop: () => void;
  /** The save that runs. It never rejects. */
  #saving: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: AutosaveOptions) {
    this.#options = options;
    this.#stop = (options.every ?? everyUnref)(() => this.#tick(), options.options.intervalMs);
  }

  /** Stop, and save a last time. Never rejects; calling it again gives the same promise. */
  close(): Promise<void> {
    this.#stop();
    this.#closed ??= Promise.resolve(this.#saving).then(() => this.#save());
    return this.#closed;
  }

  /** A disk that is slower than the interval misses some, and no queue grows. */
  #tick(): void {
    if (this.#closed !== undefined) return;
    this.#saving ??= this.#save().finally(() => {
      this.#saving = undefined;
    });
  }

  async #save(): Promise<void> {
    const { dateMs, onError, options, take } = this.#options;
    try {
      // Loaded when first needed: most engines never save.
      const { saveStatistics } = await import('./save.ts');
      await saveStatistics(take(), options.path, options, dateMs());
    } catch (error) {
      onError(error);
    }
  }
}

function everyUnref(tick: () => void, ms: number): () => void {
  const timer = setInterval(tick, ms).unref();
  return () => clearInterval(timer);
}
