import { randomUUID } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import { performance } from 'node:perf_hooks';
import { BroadcastChannel } from 'node:worker_threads';
import type { Batch } from './batch/batch.ts';
import { Dispatcher } from './batch/dispatcher.ts';
import { blameOverdue } from './batch/overdue.ts';
import { describeValue, EngineClosedError } from './errors.ts';
import type { EngineEvents } from './events.ts';
import { Limiter } from './limit/limiter.ts';
import { planLimits } from './limit/plan.ts';
import type { ResolvedOptions } from './options.ts';
import { type ThreadHandle, ThreadPool } from './pool/thread-pool.ts';
import type { Broadcast } from './protocol.ts';
import { Recovery } from './recover/recovery.ts';
import { createControlBlock } from './shared/control-block.ts';
import { Gate } from './shared/gate.ts';
import { createLatencyHistogram } from './shared/latency.ts';

/** How often the watchdog looks, while there is work. */
const TICK_MS = 50;
const PROGRESS_MS = 100;
/** With a limit, chunks in reserve cover a main thread that is blocked for this long. */
const RESERVE_SECONDS = 0.25;

/** The main thread's side of an engine: what owns the shared memory, the threads, the batches and their recovery. */
export class EngineCore {
  readonly options: ResolvedOptions;
  readonly dispatcher: Dispatcher;
  readonly recovery: Recovery;
  readonly pool: ThreadPool;
  readonly limiter: Limiter;
  readonly waitUs = createLatencyHistogram();
  readonly serviceUs = createLatencyHistogram();
  /** Counts of batches that are over. */
  readonly totals = { succeeded: 0, failed: 0, sent: 0, refused: 0, cancelled: 0, retried: 0, batches: 0 };
  workerExits = 0;
  /** Set when no thread can take up work. */
  failure: Error | undefined;
  readonly #gate: Gate;
  readonly #channel: BroadcastChannel;
  readonly #emitter: EventEmitter;
  readonly #progressDueMs = new Map<Batch, number>();
  #tick: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #retryDueMs = Number.POSITIVE_INFINITY;
  #onIdle: (() => void)[] = [];
  #onReady: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];

  constructor(options: ResolvedOptions, emitter: EventEmitter) {
    this.options = options;
    this.#emitter = emitter;
    const limits = planLimits(options.rate);
    const block = createControlBlock({ tokens: limits.map(({ tokens }) => tokens), slots: 2 * options.concurrency });
    this.limiter = new Limiter(block, limits, 0);
    this.limiter.fill(process.hrtime.bigint());
    this.#gate = new Gate(block);
    const channelName = `sluicegate-${randomUUID()}`;
    this.#channel = new BroadcastChannel(channelName);
    this.#channel.unref();
    this.#channel.onmessage = () => this.recovery.notice();

    const nowMs = () => performance.now();
    this.dispatcher = new Dispatcher({
      block,
      lanes: options.concurrency,
      reserve: reserveOf(options),
      timeoutMs: options.timeoutMs,
      nowMs,
      onBatchOver: (batch) => this.#onBatchOver(batch),
    });
    this.recovery = new Recovery({
      gate: this.#gate,
      dispatcher: this.dispatcher,
      rules: options.retry,
      mode: options.onRateLimit,
      cancelGraceMs: options.cancelGraceMs,
      events: {
        rateLimited: (event) => this.emit('rateLimited', event),
        paused: (event) => this.emit('paused', event),
        resumed: (event) => this.emit('resumed', event),
      },
      nowMs,
      random: Math.random,
      broadcast: (generation) => this.#broadcast({ kind: 'gate', generation }),
      kill: (thread, because) => this.pool.kill(thread, because),
    });
    this.pool = new ThreadPool(
      {
        threads: options.threads,
        concurrency: options.concurrency,
        resourceLimits: options.resourceLimits,
        setupTimeoutMs: options.setupTimeoutMs,
      },
      {
        buffer: block.buffer,
        layout: block.layout,
        limits,
        channel: channelName,
        handlerUrl: options.handler.url,
        handlerData: options.handlerData,
        http: options.http,
        dispatcherUrl: options.dispatcherUrl,
        timeoutMs: options.timeoutMs,
        acquireTimeoutMs: acquireTimeoutOf(options),
        onRateLimit: options.onRateLimit,
        waitUs: this.waitUs,
        serviceUs: this.serviceUs,
      },
      {
        onReady: () => {
          this.dispatcher.pump();
          this.#settleReady();
        },
        onMessage: (thread, message) => {
          // Also at a reply: the thread that closed the gate may have died before it could say so.
          this.recovery.notice();
          if (message.kind === 'reply') this.dispatcher.onReply(thread, message);
        },
        onExit: (thread, code) => this.#onThreadExit(thread, code),
        onGone: (thread) => {
          this.recovery.notice();
          this.dispatcher.onThreadGone(thread);
        },
        onNotSent: (chunkId, thread, error) => this.dispatcher.onNotSent(chunkId, thread, error),
        onFailed: (error) => {
          this.failure = error;
          this.dispatcher.failAll(error);
          this.#settleReady();
        },
      },
    );
    this.dispatcher.attach(this.pool);
  }

  /** Take on a batch. */
  start(batch: Batch): void {
    if (this.failure !== undefined) {
      batch.endWith(this.failure);
      return;
    }
    // Referenced: while there is work the process stays.
    this.#tick ??= setInterval(() => this.#onTick(), TICK_MS);
    this.#progressDueMs.set(batch, performance.now() + PROGRESS_MS);
    this.dispatcher.add(batch);
    this.recovery.refuseIfTooLong(batch);
    this.dispatcher.endIfDone(batch);
  }

  /** End a batch now: its items in work are told, and are waited for only as long as a handler may take to obey. */
  abort(batch: Batch): void {
    if (batch.isOver || batch.isAborted) return;
    batch.abort();
    this.#broadcast({ kind: 'abort', batch: batch.id });
    this.dispatcher.endIfDone(batch);
    if (batch.isOver) return;
    // Not longer: its threads are the watchdog's, and other batches may have items in them.
    setTimeout(() => {
      batch.abandonClaimed();
      this.dispatcher.endIfDone(batch);
    }, this.options.cancelGraceMs).unref();
  }

  /** An item of a batch waits to be tried again. */
  scheduleRetry(delayMs: number): void {
    const dueMs = performance.now() + delayMs;
    if (dueMs >= this.#retryDueMs) return;
    this.#retryDueMs = dueMs;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#releaseDue(), Math.min(Math.ceil(delayMs), 2 ** 31 - 1));
  }

  /** A batch has more to hand out. */
  noteWork(batch: Batch): void {
    this.dispatcher.noteWork(batch);
    this.#tick?.ref();
  }

  emit<E extends keyof EngineEvents>(event: E, data: EngineEvents[E]): void {
    // One by one: what one listener throws must not keep the event from the others.
    for (const listener of this.#emitter.rawListeners(event)) callSafely(() => listener.call(this.#emitter, data));
  }

  /** Resolves when all threads are ready; rejects when they never will be. */
  ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#onReady.push({ resolve, reject });
      this.#settleReady();
    });
  }

  /** Resolves when no batch is left. */
  idle(): Promise<void> {
    if (this.dispatcher.batches.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  /** End all threads and free everything. No batch may be left. */
  async destroy(): Promise<void> {
    this.failure ??= new EngineClosedError();
    this.#settleReady();
    this.recovery.close();
    this.#stopTimers();
    this.#channel.close();
    await this.pool.destroy();
  }

  #settleReady(): void {
    const { failure } = this;
    if (failure === undefined && this.pool.ready.length < this.options.threads) return;
    for (const waiting of this.#onReady.splice(0)) {
      if (failure === undefined) waiting.resolve();
      else waiting.reject(failure);
    }
  }

  #broadcast(message: Broadcast): void {
    this.#channel.postMessage(message);
  }

  #onTick(): void {
    this.#restIfIdle();
    this.recovery.notice();
    this.pool.maintain();
    this.#killOverdue();
    this.recovery.enforceBarrier();
    this.dispatcher.stealTails();
    // A stream whose reader or source rests has no work, and must not keep the process from ending.
    if (!this.dispatcher.hasWork) this.#tick?.unref();
    const nowMs = performance.now();
    for (const [batch, dueMs] of this.#progressDueMs) {
      if (nowMs < dueMs) continue;
      this.#progressDueMs.set(batch, nowMs + PROGRESS_MS);
      this.#reportProgress(batch);
    }
  }

  /** A lane that is past its deadline for so long does not run its own timers any more, or its handler ignores them. */
  #killOverdue(): void {
    const overdueNs = process.hrtime.bigint() - BigInt(Math.ceil(this.options.killGraceMs * 1e6));
    for (const thread of blameOverdue(this.dispatcher.chunks, overdueNs)) {
      this.pool.kill(thread, 'a handler that ignored its timeout');
    }
  }

  #reportProgress(batch: Batch): void {
    const { onProgress } = batch;
    const isHeard = this.#emitter.listenerCount('progress') > 0;
    if (onProgress === undefined && !isHeard) return;
    const progress = batch.progress(!this.dispatcher.isOpen);
    if (onProgress !== undefined) callSafely(() => onProgress(progress));
    if (isHeard) this.emit('progress', { ...progress, batch: batch.id });
  }

  #releaseDue(): void {
    this.#retryDueMs = Number.POSITIVE_INFINITY;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const batch of this.dispatcher.batches) {
      batch.releaseDue();
      nextMs = Math.min(nextMs, batch.delayed.nextDueMs ?? nextMs);
    }
    if (nextMs < Number.POSITIVE_INFINITY) this.scheduleRetry(Math.max(0, nextMs - performance.now()));
    this.dispatcher.pump();
  }

  #onBatchOver(batch: Batch): void {
    if (this.#progressDueMs.delete(batch)) this.#reportProgress(batch);
    this.totals.batches++;
    this.totals.succeeded += batch.done - batch.failed;
    this.totals.failed += batch.failed;
    this.totals.sent += batch.counts.sent;
    this.totals.refused += batch.counts.refused;
    this.totals.cancelled += batch.counts.cancelled;
    this.totals.retried += batch.counts.retried;
    if (this.dispatcher.batches.size > 0) return;
    this.#restIfIdle();
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  #onThreadExit(thread: ThreadHandle, exitCode: number): void {
    this.limiter.reclaim(thread.threadId, process.hrtime.bigint());
    this.workerExits++;
    this.emit('workerExit', {
      threadId: thread.threadId,
      exitCode,
      reason: thread.killedBecause ?? thread.cause?.message ?? `exit code ${exitCode}`,
    });
  }

  /** Not as soon as there is no batch: an aborted one may have left handlers that never come back. */
  #restIfIdle(): void {
    if (this.dispatcher.isIdle) this.#stopTimers();
  }

  #stopTimers(): void {
    clearInterval(this.#tick);
    this.#tick = undefined;
    clearTimeout(this.#retryTimer);
    this.#retryDueMs = Number.POSITIVE_INFINITY;
  }
}

/** Chunks that may wait in threads: one per lane; with a limit no more than it lets through in a moment. */
function reserveOf({ rate, concurrency }: ResolvedOptions): number {
  const perSecond = Math.min(...rate.map(({ tokens, windowMs }) => (tokens * 1e3) / windowMs));
  return Math.max(1, Math.min(concurrency, Math.ceil(perSecond * RESERVE_SECONDS)));
}

/**
 * The longest wait for a further token that can still come to a good end: all lanes ask for one, and each token comes
 * back after the longest attempt and the longest rest. What waits longer waits for itself.
 */
function acquireTimeoutOf({ rate, concurrency, timeoutMs }: ResolvedOptions): number {
  let longestMs = timeoutMs;
  for (const { tokens, windowMs, straggleMs } of rate) {
    const turns = Math.ceil(concurrency / tokens) + 1;
    longestMs = Math.max(longestMs, turns * (timeoutMs + windowMs + straggleMs));
  }
  return longestMs;
}

/** Call code of the user that must not be able to break the engine: what it throws becomes a warning of the process. */
function callSafely(call: () => unknown): void {
  try {
    const returned = call();
    if (returned instanceof Promise) returned.catch(warn);
  } catch (error) {
    warn(error);
  }
}

function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(`A listener threw ${describeValue(error)}.`));
}
