import { Mutex } from 'async-mutex';
import type { Batch } from '../batch/batch.ts';
import { type RetryRules, refusedForGood } from '../batch/decide.ts';
import type { Dispatcher } from '../batch/dispatcher.ts';
import type { ThreadHandle } from '../pool/thread-pool.ts';
import type { Gate } from '../shared/gate.ts';
import { WORK } from '../shared/layout.ts';
import { backoffMs } from './backoff.ts';

/** What recovery tells the engine's listeners. */
export interface RecoveryEvents {
  /** The upstream refused a request; the gate is closed. */
  rateLimited(event: { readonly generation: number }): void;
  /** The barrier has been passed; the engine waits. */
  paused(event: { readonly generation: number; readonly delayMs: number; readonly eventsInRow: number }): void;
  /** The gate is open again. */
  resumed(event: { readonly generation: number; readonly pausedMs: number }): void;
}

export interface RecoveryOptions {
  readonly gate: Gate;
  readonly dispatcher: Dispatcher;
  readonly rules: RetryRules;
  readonly mode: 'cancel' | 'drain';
  readonly cancelGraceMs: number;
  readonly events: RecoveryEvents;
  readonly nowMs: () => number;
  readonly random: () => number;
  /** Tell all threads (again) that the gate is closed. */
  readonly broadcast: (generation: number) => void;
  readonly kill: (thread: ThreadHandle, because: string) => void;
}

/**
 * One rate-limit event, from the closed gate to going on: broadcast again, barrier, backoff, open. Once per event for
 * the whole engine, however many batches it runs and however many requests were refused together.
 */
export class Recovery {
  readonly #options: RecoveryOptions;
  readonly #mutex = new Mutex();
  #handled = 0;
  /** Events in a row in which no item was answered. */
  #eventsInRow = 0;
  /** While the engine waits: until when, on the clock of `nowMs`. */
  #pausedUntilMs = 0;
  #barrier: { readonly generation: number; readonly startedMs: number; readonly passed: () => void } | undefined;
  #endWait: (() => void) | undefined;
  #isClosed = false;
  /** Rate-limit events since the engine was made. */
  events = 0;

  constructor(options: RecoveryOptions) {
    this.#options = options;
  }

  /** How long the engine still waits before it goes on. */
  get pauseLeftMs(): number {
    return Math.max(0, this.#pausedUntilMs - this.#options.nowMs());
  }

  /** Look if the gate was closed. Cheap; called whenever there is a reason to look. */
  notice(): void {
    const { generation } = this.#options.gate;
    if (generation === this.#handled || this.#isClosed) return;
    this.#handled = generation;
    // The mutex makes it certain that the steps of two events never mix. It cannot fail: every step is ours.
    void this.#mutex.runExclusive(() => this.#recover(generation));
  }

  /** The engine is closing: wait for nothing any more. */
  close(): void {
    this.#isClosed = true;
    this.#barrier?.passed();
    this.#endWait?.();
  }

  async #recover(generation: number): Promise<void> {
    const { dispatcher, events, gate, nowMs } = this.#options;
    const startedMs = nowMs();
    dispatcher.close();
    this.events++;
    for (const batch of dispatcher.batches) batch.counts.rateLimitEvents++;
    // The thread that closed the gate may have died before it told the others. Hearing it twice is harmless.
    this.#options.broadcast(generation);
    events.rateLimited({ generation });

    await this.#passBarrier(generation);
    if (this.#isClosed) return;

    this.#eventsInRow = dispatcher.hasAnswered(generation - 1) ? 1 : this.#eventsInRow + 1;
    const hintMs = Math.max(0, Number(gate.pausedUntilNs - process.hrtime.bigint()) / 1e6);
    const delayMs = backoffMs(this.#options.rules, this.#eventsInRow - 1, this.#options.random(), hintMs);
    this.#pausedUntilMs = nowMs() + delayMs;
    for (const batch of [...dispatcher.batches]) this.#prepare(batch, hintMs);
    events.paused({ generation, delayMs, eventsInRow: this.#eventsInRow });

    await this.#wait(delayMs);
    if (this.#isClosed) return;
    gate.clearPause();
    dispatcher.open(generation);
    events.resumed({ generation, pausedMs: nowMs() - startedMs });
  }

  /** Nothing is out now: see what each batch does next. */
  #prepare(batch: Batch, hintMs: number): void {
    const { rules } = batch;
    // A batch answers only for events that it has lived through, not for those that ended the one before it.
    const eventsInRow = Math.min(this.#eventsInRow, batch.counts.rateLimitEvents);
    if (hintMs > rules.maxRetryAfterMs) {
      batch.failUnfinished(tooLong(hintMs, rules.maxRetryAfterMs));
    } else if (rules.scope === 'batch') {
      batch.startOver();
    } else if (eventsInRow >= rules.maxRefusals) {
      const why = `${eventsInRow} rate-limit events in a row without an answered item`;
      batch.failUnfinished(refusedForGood(undefined, why));
    } else {
      batch.rounds++;
    }
    this.#options.dispatcher.endIfDone(batch);
  }

  /** A batch that starts while the engine waits for longer than anybody should: it ends at once. */
  refuseIfTooLong(batch: Batch): void {
    const leftMs = this.pauseLeftMs;
    if (leftMs > batch.rules.maxRetryAfterMs && !this.#options.dispatcher.isOpen) {
      batch.failUnfinished(tooLong(leftMs, batch.rules.maxRetryAfterMs));
    }
  }

  /** No request of an old round overlaps the new round: wait for every chunk of the old generations. */
  #passBarrier(generation: number): Promise<void> {
    return new Promise((resolve) => {
      const passed = () => {
        this.#barrier = undefined;
        this.#options.dispatcher.watchChunks(undefined);
        resolve();
      };
      this.#barrier = { generation, startedMs: this.#options.nowMs(), passed };
      this.#options.dispatcher.watchChunks(() => this.#checkBarrier());
      this.#checkBarrier();
    });
  }

  #checkBarrier(): void {
    if (this.#barrier === undefined) return;
    for (const _ of this.#options.dispatcher.outstandingBelow(this.#barrier.generation)) return;
    this.#barrier.passed();
  }

  /**
   * End threads whose handlers ignore that they were cancelled. Called now and then. A thread that has a request in
   * flight which must not be cancelled is left alone: it ends by its timeout.
   */
  enforceBarrier(): void {
    const barrier = this.#barrier;
    if (barrier === undefined || this.#options.mode === 'drain') return;
    if (this.#options.nowMs() - barrier.startedMs < this.#options.cancelGraceMs) return;
    const late = new Set<ThreadHandle>();
    const spared = new Set<ThreadHandle>();
    for (const { thread, slot } of this.#options.dispatcher.outstandingBelow(barrier.generation)) {
      const { work } = slot;
      if ((work & WORK.called) !== 0 && (work & WORK.idempotent) === 0) spared.add(thread);
      else late.add(thread);
    }
    for (const thread of late) if (!spared.has(thread)) this.#options.kill(thread, 'a handler that ignored its signal');
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const untilMs = this.#options.nowMs() + delayMs;
      let timer: NodeJS.Timeout | undefined;
      const end = () => {
        clearTimeout(timer);
        this.#endWait = undefined;
        resolve();
      };
      const look = () => {
        const leftMs = untilMs - this.#options.nowMs();
        if (leftMs <= 0) end();
        // Unref: batches keep the process alive while there are any; an engine without work must not.
        else timer = setTimeout(look, Math.min(Math.ceil(leftMs), 2 ** 31 - 1)).unref();
      };
      this.#endWait = end;
      look();
    });
  }
}

function tooLong(hintMs: number, maxRetryAfterMs: number) {
  const why = `it asked to wait ${Math.ceil(hintMs)} ms, more than retry.maxRetryAfterMs (${maxRetryAfterMs} ms)`;
  return refusedForGood({ retryAfterMs: Math.ceil(hintMs) }, why);
}
