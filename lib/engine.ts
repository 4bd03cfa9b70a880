import { EventEmitter } from 'node:events';
import { performance } from 'node:perf_hooks';
import { AbortHub } from './abort-hub.ts';
import { Batch, type OutcomeSink } from './batch/batch.ts';
import { OutcomeStream } from './batch/outcome-stream.ts';
import type { BatchSummary } from './batch/summary.ts';
import { EngineCore } from './engine-core.ts';
import { type EngineStats, statsOf } from './engine-stats.ts';
import { EngineClosedError, InvalidOptionError } from './errors.ts';
import type { EngineEvents } from './events.ts';
import type { CloseOptions, EngineOptions, RunOptions } from './options.ts';
import { kindOf, parseOptions } from './options-schema.ts';
import { type ResolvedRunOptions, resolveCloseOptions, resolveOptions, resolveRunOptions } from './resolve-options.ts';
import type { SaveOptions } from './statistics/options.ts';
import { resolvePath, resolveSave, saveOptionsSchema } from './statistics/schema.ts';
import type { Statistics } from './statistics/statistics.ts';
import type { HttpItem, HttpValue, Outcome } from './types.ts';

/** What `run` resolves to. */
export interface BatchResult<Value = unknown> {
  /** One outcome for each item, in the order of the items. */
  readonly outcomes: readonly Outcome<Value>[];
  readonly summary: BatchSummary;
  /** True if the batch was aborted by its signal or by closing the engine. */
  readonly aborted: boolean;
}

/**
 * Runs batches of items in worker threads, under the upstream's rate limit. Made by `createEngine`. Engines do not share
 * their limit: use one engine per quota.
 */
export class Engine<Item = HttpItem, Value = HttpValue> {
  readonly #emitter = new EventEmitter();
  readonly #core: EngineCore;
  readonly #streams = new Set<OutcomeStream>();
  readonly #signals = new AbortHub();
  #nextBatch = 1;
  #isClosing = false;
  #closed: Promise<void> | undefined;

  /** Use `createEngine`. */
  constructor(options?: EngineOptions) {
    this.#core = new EngineCore(resolveOptions(options, process.cwd()), this.#emitter);
  }

  /**
   * Run items; resolves when every one has its outcome, and never rejects because of one.
   *
   * @param items What the handler takes, one by one. The array is read at once; items are cloned to the threads.
   * @throws InvalidOptionError (as a rejection) if `items` is not an array or an option is wrong.
   * @throws EngineClosedError (as a rejection) after `close`.
   * @throws HandlerLoadError, WorkerStartError (as a rejection) if no thread can take up work.
   */
  async run(items: readonly Item[], options?: RunOptions): Promise<BatchResult<Value>> {
    const resolved = resolveRunOptions(options);
    if (!Array.isArray(items)) throw invalidItems(items, 'an array of items');
    this.#throwIfClosed();
    const outcomes = new Array<Outcome<Value>>(items.length);
    // Array.from also fills holes, which would otherwise be items without an outcome.
    const own = Array.from(items as readonly unknown[]);
    const batch = await new Promise<Batch>((resolve, reject) => {
      const made: Batch = this.#makeBatch(resolved, {
        put: (outcome) => {
          outcomes[outcome.index] = outcome as Outcome<Value>;
        },
        end: (error) => (error === undefined ? resolve(made) : reject(error)),
      });
      made.fill(own);
      this.#start(made, resolved.signal);
    });
    return { outcomes, summary: batch.summary(), aborted: batch.isAborted };
  }

  /**
   * Run items as they come and give outcomes as they finish. What is between the source and the reader is bounded.
   * Leaving the loop early aborts what is still in work. An error of the source is thrown when all outcomes have been
   * given; items in work are then aborted.
   *
   * A stream cannot start over, so it always retries unfinished items, whatever `retry.scope` says.
   *
   * @throws InvalidOptionError if `items` cannot be iterated or an option is wrong.
   * @throws EngineClosedError after `close`.
   */
  stream(
    items: Iterable<Item> | AsyncIterable<Item>,
    options?: RunOptions,
  ): AsyncGenerator<Outcome<Value>, void, undefined> {
    const resolved = resolveRunOptions(options);
    this.#throwIfClosed();
    if (!isIterable(items)) throw invalidItems(items, 'an iterable or an async iterable of items');
    return this.#streamOutcomes(items, resolved) as AsyncGenerator<Outcome<Value>, void, undefined>;
  }

  /**
   * Resolves when all threads are ready to work. Nothing needs it; a program that wants its first batch to run at full
   * speed can wait for it.
   *
   * @throws EngineClosedError, HandlerLoadError, WorkerStartError (as a rejection) if that will not happen.
   */
  async ready(): Promise<void> {
    this.#throwIfClosed();
    await this.#core.ready();
  }

  /**
   * Get new credentials by `onRefreshCredentials`, for all threads: starts nothing more, waits for what is in flight, asks,
   * goes on. Calls at the same time share one.
   *
   * @throws EngineClosedError (as a rejection) after `close`.
   * @throws whatever the hook throws (as a rejection); TypeError if there is none.
   */
  async refreshCredentials(): Promise<void> {
    this.#throwIfClosed();
    await this.#core.recovery.refreshCredentials();
  }

  /** What the engine does at this moment, and did since it was made. */
  stats(): EngineStats {
    return statsOf(this.#core);
  }

  /**
   * What the engine did since it was made: calls per second, errors by kind, the histories of rate-limit events, of the
   * circuit breaker and of batches. Of bounded size, however long it runs.
   */
  statistics(): Statistics {
    return this.#core.statistics.take();
  }

  /**
   * Save `statistics()` to a file, which is replaced in one step.
   *
   * @param path Absolute or from the working directory, or a `file:` URL. In the file name `{date}` becomes the day and
   * `{timestamp}` the moment of the save, in UTC.
   * @returns the path of the file
   * @throws InvalidOptionError (as a rejection) if the path or an option is wrong.
   * @throws StatisticsError (as a rejection) if the file cannot be written, or an old one not removed.
   */
  async saveStatistics(path: string | URL, options?: SaveOptions): Promise<string> {
    const save = resolveSave(parseOptions(saveOptionsSchema, options));
    return this.#core.statistics.save(resolvePath(path, process.cwd()), save);
  }

  /** Listen to an event. A listener that throws becomes a warning of the process. */
  on<E extends keyof EngineEvents>(event: E, listener: (data: EngineEvents[E]) => void): this {
    this.#emitter.on(event, listener);
    return this;
  }

  /** Listen to the next event of a kind only. */
  once<E extends keyof EngineEvents>(event: E, listener: (data: EngineEvents[E]) => void): this {
    this.#emitter.once(event, listener);
    return this;
  }

  /** Listen no more. */
  off<E extends keyof EngineEvents>(event: E, listener: (data: EngineEvents[E]) => void): this {
    this.#emitter.off(event, listener);
    return this;
  }

  /**
   * End the engine: its threads, sockets and timers. Always comes back. Calling it again gives the same promise; calling
   * it with `'abort'` while it drains aborts what is left.
   *
   * @throws InvalidOptionError (as a rejection) for an unknown mode.
   */
  async close(options?: CloseOptions): Promise<void> {
    const { mode } = resolveCloseOptions(options);
    this.#isClosing = true;
    for (const stream of this.#streams) stream.stop();
    if (mode === 'abort') for (const batch of [...this.#core.dispatcher.batches]) this.#core.abort(batch);
    this.#closed ??= this.#core.idle().then(() => this.#core.destroy());
    await this.#closed;
  }

  /** The same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #throwIfClosed(): void {
    if (this.#isClosing) throw new EngineClosedError();
  }

  #makeBatch(options: ResolvedRunOptions, sink: OutcomeSink, scope = this.#core.options.retry.scope): Batch {
    const id = this.#nextBatch++;
    return new Batch({
      id,
      rules: { ...this.#core.options.retry, scope },
      idempotent: options.idempotent,
      onProgress: options.onProgress,
      progressInterval: options.progressInterval,
      groups: options.groups,
      onGroup: (group) => {
        this.#core.statistics.onGroup(id, group);
        this.#core.emit('group', { ...group, batch: id });
      },
      onMilestone: (batch) => this.#core.reportProgress(batch),
      onWait: (delayMs) => this.#core.scheduleRetry(delayMs),
      sink,
      hasLimits: this.#core.options.rate.length > 0,
      nowMs: () => performance.now(),
      random: Math.random,
      table: this.#core.table,
      locale: this.#core.options.locale,
      stretch: () => this.#core.stretch,
      onWork: (batch) => this.#core.noteWork(batch),
      onRetry: (entry, record, delayMs) => {
        this.#core.scheduleRetry(delayMs);
        this.#core.emit('retry', {
          batch: id,
          index: entry.index,
          attempt: entry.attempts,
          code: record.code,
          delayMs,
        });
      },
      onFailure: (index, error) => {
        this.#core.statistics.onFailure(error);
        if (error.actions.includes('notify')) this.#core.emit('notify', { batch: id, index, error });
      },
    });
  }

  #start(batch: Batch, signal: AbortSignal | undefined): void {
    if (signal?.aborted) batch.abort();
    batch.onOver = this.#signals.listen(signal, () => this.#core.abort(batch));
    this.#core.start(batch);
  }

  async *#streamOutcomes(
    items: Iterable<unknown> | AsyncIterable<unknown>,
    options: ResolvedRunOptions,
  ): AsyncGenerator<Outcome, void, undefined> {
    this.#throwIfClosed();
    const source = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
    const stream = new OutcomeStream({
      source,
      lanes: this.#core.options.concurrency,
      pump: () => this.#core.feed(batch),
      endIfDone: (batch) => this.#core.dispatcher.endIfDone(batch),
      abort: (batch) => this.#core.abort(batch),
    });
    const batch = this.#makeBatch(options, stream, 'unfinished');
    stream.attach(batch);
    const listenNoMore = this.#signals.listen(options.signal, () => stream.stop());
    this.#streams.add(stream);
    try {
      this.#start(batch, options.signal);
      if (options.signal?.aborted) stream.stop();
      yield* stream.outcomes();
    } finally {
      listenNoMore();
      stream.stop();
      this.#streams.delete(stream);
      this.#core.abort(batch);
    }
  }
}

/**
 * Make an engine. Its threads start at once; bad options throw at once.
 *
 * @throws InvalidOptionError naming the option, the value and what is allowed.
 */
export function createEngine(options?: EngineOptions & { readonly handler?: undefined }): Engine<HttpItem, HttpValue>;
export function createEngine<Item = unknown, Value = unknown>(options: EngineOptions): Engine<Item, Value>;
export function createEngine(options?: EngineOptions): Engine<unknown, unknown> {
  return new Engine<unknown, unknown>(options);
}

/** What was given may be a single item, with the secrets of one. */
function invalidItems(items: unknown, allowed: string): InvalidOptionError {
  return new InvalidOptionError('items', undefined, allowed, items === undefined ? 'undefined' : kindOf(items));
}

function isIterable(items: unknown): items is Iterable<unknown> | AsyncIterable<unknown> {
  if ((typeof items !== 'object' && typeof items !== 'function') || items === null) return false;
  return Symbol.iterator in items || Symbol.asyncIterator in items;
}
