import type { Outcome } from '../types.ts';
import type { Batch, OutcomeSink } from './batch.ts';

/** Most items that are between the source and the reader of a stream, unless there are more lanes. */
const MAX_LOOK_AHEAD = 4_096;

export interface OutcomeStreamOptions {
  readonly source: Iterator<unknown> | AsyncIterator<unknown>;
  readonly lanes: number;
  /** There is more to hand out. */
  readonly pump: () => void;
  /** The source has ended: the batch is over when all its items are done. */
  readonly endIfDone: (batch: Batch) => void;
  /** The source has failed: what is in work ends. */
  readonly abort: (batch: Batch) => void;
}

/**
 * Between a source of items and a reader of outcomes: pulls items while there is room and gives outcomes as they come.
 * What is between the two is bounded, so a slow reader slows the source, and an endless source needs no endless memory.
 */
export class OutcomeStream implements OutcomeSink {
  readonly #options: OutcomeStreamOptions;
  #batch: Batch | undefined;
  #ready: Outcome[] = [];
  #readyHead = 0;
  #delivered = 0;
  #isFeeding = false;
  #isExhausted = false;
  #isPumpDue = false;
  #isOver = false;
  #error: unknown;
  #hasError = false;
  #wake: (() => void) | undefined;

  constructor(options: OutcomeStreamOptions) {
    this.#options = options;
  }

  put(outcome: Outcome): void {
    this.#ready.push(outcome);
    this.#wakeUp();
  }

  end(error?: Error): void {
    this.#isOver = true;
    if (error !== undefined) this.#fail(error);
    this.#wakeUp();
  }

  /** Say which batch the items are for. Before anything else. */
  attach(batch: Batch): void {
    this.#batch = batch;
  }

  /** Pull items and give outcomes, until the batch is over. */
  async *outcomes(): AsyncGenerator<Outcome, void, undefined> {
    this.#feed();
    for (;;) {
      for (let next = this.#take(); next !== undefined; next = this.#take()) {
        yield next;
        this.#delivered++;
        this.#feed();
      }
      if (this.#isOver) break;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#hasError) throw this.#error;
  }

  /** Pull nothing more: the batch was aborted, or the reader has left. */
  stop(): void {
    if (this.#isExhausted) return;
    this.#exhaust();
    // Not awaited: a generator that is in the middle of a wait would come back only after it.
    try {
      const returned = this.#options.source.return?.();
      if (returned instanceof Promise) returned.catch(() => {});
    } catch {
      // The reader has left: nobody is there to be told that the source's own clean-up failed.
    }
  }

  #take(): Outcome | undefined {
    const outcome = this.#ready[this.#readyHead];
    if (outcome === undefined) return undefined;
    this.#readyHead++;
    // Threads that are always ahead of the reader never let it run empty: what was read must go all the same.
    if (this.#readyHead * 2 >= this.#ready.length) {
      this.#ready = this.#ready.slice(this.#readyHead);
      this.#readyHead = 0;
    }
    return outcome;
  }

  get #hasRoom(): boolean {
    const batch = this.#batch;
    if (batch === undefined || this.#isExhausted) return false;
    const least = 2 * this.#options.lanes;
    const most = Math.max(least, MAX_LOOK_AHEAD);
    const wanted = least * batch.sizing.size;
    return batch.queue.nextIndex - this.#delivered < Math.min(wanted, most);
  }

  #feed(): void {
    if (this.#isFeeding || !this.#hasRoom) return;
    this.#isFeeding = true;
    void this.#pull();
  }

  async #pull(): Promise<void> {
    try {
      while (this.#hasRoom) {
        const pulled = this.#options.source.next();
        const result = pulled instanceof Promise || 'then' in pulled ? await pulled : pulled;
        // While the source was busy the batch may have been stopped; what comes now is not part of it.
        if (this.#isExhausted) return;
        if (result.done === true) this.#exhaust();
        else this.#push(result.value);
      }
    } catch (error) {
      // The same holds for an error: a source that shares the batch's signal fails because of it.
      if (this.#isExhausted) return;
      this.#fail(error);
      this.#exhaust();
      if (this.#batch !== undefined) this.#options.abort(this.#batch);
    } finally {
      this.#isFeeding = false;
    }
  }

  #push(item: unknown): void {
    this.#batch?.queue.push(item);
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    // Once per turn of the event loop: what a quick source brings in one turn becomes chunks, not single items.
    setImmediate(() => {
      this.#isPumpDue = false;
      this.#options.pump();
    });
  }

  #exhaust(): void {
    const batch = this.#batch;
    if (this.#isExhausted || batch === undefined) return;
    this.#isExhausted = true;
    batch.total = batch.queue.nextIndex;
    this.#options.endIfDone(batch);
  }

  #fail(error: unknown): void {
    if (this.#hasError) return;
    this.#hasError = true;
    this.#error = error;
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
