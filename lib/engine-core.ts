import type { EventEmitter } from 'node:events';
import { performance } from 'node:perf_hooks';
import { BroadcastChannel } from 'node:worker_threads';
import { Tracer } from './audit/tracer.ts';
import type { Batch } from './batch/batch.ts';
import { Dispatcher } from './batch/dispatcher.ts';
import { reserveOf } from './batch/reserve.ts';
import { type BatchCounts, Totals } from './batch/totals.ts';
import { lostRecords } from './batch/trace-chunk.ts';
import { Watchdog } from './batch/watchdog.ts';
import { callSafely } from './call-safely.ts';
import { EngineClosedError } from './errors.ts';
import type { EngineEvents } from './events.ts';
import { Limiter } from './limit/limiter.ts';
import { planLimits } from './limit/plan.ts';
import { type ThreadHandle, ThreadPool } from './pool/thread-pool.ts';
import type { Broadcast } from './protocol.ts';
import { CircuitBreaker } from './recover/circuit-breaker.ts';
import { Credentials } from './recover/credentials.ts';
import { systemPauseClock } from './recover/pause-clock.ts';
import { Recovery } from './recover/recovery.ts';
import { RecoveryTable } from './recover/recovery-table.ts';
import { SuccessRate } from './recover/success-rate.ts';
import type { ResolvedOptions } from './resolve-options.ts';
import { CircuitCounters } from './shared/circuit-counters.ts';
import { createControlBlock } from './shared/control-block.ts';
import { Gate } from './shared/gate.ts';
import { createLatencyHistogram, latencyOf } from './shared/latency.ts';
import { EngineStatistics } from './statistics/engine-statistics.ts';
import { threadSetupOf } from './thread-setup.ts';

/** How often the watchdog looks, while there is work. */
const TICK_MS = 50;
const PROGRESS_MS = 100;

/** The main thread's side of an engine: what owns the shared memory, the threads, the batches and their recovery. */
export class EngineCore {
  readonly options: ResolvedOptions;
  readonly dispatcher: Dispatcher;
  readonly recovery: Recovery;
  readonly pool: ThreadPool;
  readonly limiter: Limiter;
  readonly gate: Gate;
  readonly table: RecoveryTable;
  readonly breaker: CircuitBreaker | undefined;
  readonly credentials: Credentials;
  readonly statistics: EngineStatistics;
  readonly successRate = new SuccessRate();
  readonly waitUs = createLatencyHistogram();
  readonly serviceUs = createLatencyHistogram();
  /** Counts of batches that are over. */
  readonly #totals = new Totals();
  workerExits = 0;
  /** Set when no thread can take up work. */
  failure: Error | undefined;
  readonly #counters: CircuitCounters | undefined;
  readonly #tracer: Tracer | undefined;
  readonly #channel: BroadcastChannel;
  readonly #emitter: EventEmitter;
  readonly #watchdog: Watchdog;
  readonly #progressDueMs = new Map<Batch, number>();
  /** Of aborted batches. A timer keeps its batch, with all items and outcomes, so it ends with it. */
  readonly #graces = new WeakMap<Batch, NodeJS.Timeout>();
  #tick: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #retryDueMs = Number.POSITIVE_INFINITY;
  #onIdle: (() => void)[] = [];
  #onReady: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];

  constructor(options: ResolvedOptions, emitter: EventEmitter) {
    this.options = options;
    this.#emitter = emitter;
    this.#watchdog = new Watchdog({ ...options, tickMs: TICK_MS });
    // First: its file may not be writable.
    this.#tracer = options.trace === undefined ? undefined : new Tracer(options.trace);
    const limits = planLimits(options.rate);
    const block = createControlBlock({
      tokens: limits.map(({ tokens }) => tokens),
      slots: 2 * options.concurrency,
      threads: options.threads,
    });
    this.limiter = new Limiter(block, limits, 0);
    this.limiter.fill(process.hrtime.bigint());
    this.gate = new Gate(block);
    this.table = new RecoveryTable(options.recovery);
    this.#counters = options.circuit && new CircuitCounters(block, options.circuit);
    const channelName = `sluicegate-${crypto.randomUUID()}`;
    this.#channel = new BroadcastChannel(channelName);
    this.#channel.unref();
    this.#channel.onmessage = () => this.recovery.notice();

    const nowMs = () => performance.now();
    this.statistics = new EngineStatistics(options, block, () => {
      const { sent: callsSent, ...counts } = this.counts;
      return { callsSent, ...counts, waitMs: latencyOf(this.waitUs), durationMs: latencyOf(this.serviceUs) };
    });
    this.breaker = this.#makeBreaker(nowMs);
    this.credentials = new Credentials({
      initial: options.credentials,
      refresh: options.onRefreshCredentials,
      timeoutMs: options.credentialsTimeoutMs,
      onSettled: (reason, ok) => this.emit('credentials', { reason, ok }),
    });
    this.dispatcher = new Dispatcher({
      block,
      lanes: options.concurrency,
      reserve: reserveOf(options),
      timeoutMs: options.timeoutMs,
      nowMs,
      successRate: this.successRate,
      tracer: this.#tracer,
      credentials: () => this.credentials.current,
      countsForCircuit: (record) => this.table.countsForCircuit(record, options.circuit?.countRateLimits),
      onTimeout: (isProbe) => this.#onTimeout(isProbe),
      onProbe: (result) => this.recovery.onProbe(result),
      onBatchOver: (batch) => this.#onBatchOver(batch),
    });
    this.recovery = new Recovery({
      gate: this.gate,
      dispatcher: this.dispatcher,
      rules: options.retry,
      mode: options.onRateLimit,
      timeoutMs: options.timeoutMs,
      cancelGraceMs: options.cancelGraceMs,
      stretch: () => this.stretch,
      breaker: this.breaker,
      credentials: this.credentials,
      events: {
        rateLimited: (event) => this.emit('rateLimited', event),
        paused: (event) => {
          this.statistics.onPaused(event);
          this.emit('paused', event);
        },
        resumed: (event) => this.emit('resumed', event),
      },
      clock: systemPauseClock,
      random: Math.random,
      broadcast: (generation, cancels) =>
        this.#channel.postMessage({ kind: 'gate', generation, cancels } satisfies Broadcast),
      kill: (thread, because) => this.pool.kill(thread, because),
    });
    this.pool = new ThreadPool(
      options,
      threadSetupOf(options, { block, limits, channel: channelName, waitUs: this.waitUs, serviceUs: this.serviceUs }),
      {
        onReady: () => {
          this.dispatcher.pump();
          this.#settleReady();
        },
        onMessage: (thread, message) => {
          // Also at a reply: the thread that closed the gate may have died before it could say so.
          this.recovery.notice();
          if (message.kind === 'reply') this.dispatcher.onReply(thread, message);
          else if (message.kind === 'replies')
            for (const reply of message.replies) this.dispatcher.onReply(thread, reply);
          else if (message.kind === 'unreadable') this.dispatcher.onUnreadable(thread, message.number);
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

  /** What was counted since the engine was made. */
  get counts(): BatchCounts {
    return this.#totals.with(this.dispatcher.batches);
  }

  /** By how much backoffs are longer than usual. */
  get stretch(): number {
    return this.options.retry.adaptive ? this.successRate.stretch : 1;
  }

  /** Take on a batch. */
  start(batch: Batch): void {
    if (this.failure !== undefined) {
      batch.endWith(this.failure);
      return;
    }
    if (this.credentials.isInsideHook) {
      batch.endWith(new Error('onRefreshCredentials used its own engine, which sends nothing before it has returned.'));
      return;
    }
    // Referenced: while there is work the process stays.
    this.#tick ??= setInterval(() => this.#onTick(), TICK_MS);
    this.#progressDueMs.set(batch, batch.milestones ? Infinity : performance.now() + PROGRESS_MS);
    if (batch.pending > 0) this.recovery.prepare();
    this.dispatcher.add(batch);
    this.recovery.admit(batch);
    this.dispatcher.endIfDone(batch);
  }

  /** End a batch now: its items in work are told, and are waited for only as long as a handler may take to obey. */
  abort(batch: Batch): void {
    if (batch.isOver || batch.isAborted) return;
    batch.abort();
    this.#channel.postMessage({ kind: 'abort', batch: batch.id } satisfies Broadcast);
    this.dispatcher.endIfDone(batch);
    if (batch.isOver) return;
    // Not longer: its threads are the watchdog's, and other batches may have items in them.
    const grace = setTimeout(() => {
      batch.abandonClaimed();
      this.dispatcher.endIfDone(batch);
    }, this.options.cancelGraceMs).unref();
    this.#graces.set(batch, grace);
  }

  /** An item of a batch waits to be tried again, or a group of items for its turn. */
  scheduleRetry(delayMs: number): void {
    const dueMs = performance.now() + delayMs;
    if (dueMs >= this.#retryDueMs) return;
    this.#retryDueMs = dueMs;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#releaseDue(), Math.min(Math.ceil(delayMs), 2 ** 31 - 1));
  }

  /** A stream has brought more items. */
  feed(batch: Batch): void {
    if (batch.isOver) return;
    this.recovery.prepare();
    this.recovery.admit(batch);
    this.dispatcher.endIfDone(batch);
    this.dispatcher.pump();
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
    await this.statistics.close();
    await this.#tracer?.close([...this.dispatcher.chunks].flatMap(lostRecords));
  }

  #makeBreaker(nowMs: () => number): CircuitBreaker | undefined {
    const rules = this.options.circuit;
    const counters = this.#counters;
    if (rules === undefined || counters === undefined) return undefined;
    return new CircuitBreaker({
      rules,
      counters,
      nowMs,
      onChange: (from, to, openMs) => {
        const event = { from, to, ...(openMs === undefined ? {} : { openMs }) };
        this.statistics.onCircuit(event);
        this.emit('circuit', event);
      },
    });
  }

  /** A thread that was ended because of a handler cannot count that itself. */
  #onTimeout(isProbe: boolean): void {
    if (isProbe) this.recovery.onProbe('failure');
    else if (this.#counters?.addFailure(process.hrtime.bigint())) this.recovery.trip();
  }

  #settleReady(): void {
    const { failure } = this;
    if (failure === undefined && this.pool.ready.length < this.options.threads) return;
    for (const waiting of this.#onReady.splice(0)) {
      if (failure === undefined) waiting.resolve();
      else waiting.reject(failure);
    }
  }

  #onTick(): void {
    this.#restIfIdle();
    this.recovery.notice();
    this.statistics.harvest();
    this.pool.maintain();
    const overdue = this.#watchdog.look(this.dispatcher.chunks, process.hrtime.bigint());
    for (const [thread, because] of overdue) this.pool.kill(thread, because);
    this.recovery.enforceBarrier();
    this.dispatcher.stealTails();
    // A stream whose reader or source rests has no work, and must not keep the process from ending.
    if (!this.dispatcher.hasWork) this.#tick?.unref();
    const nowMs = performance.now();
    for (const [batch, dueMs] of this.#progressDueMs) {
      if (nowMs < dueMs) continue;
      this.#progressDueMs.set(batch, nowMs + PROGRESS_MS);
      this.reportProgress(batch);
    }
  }

  /** Tell those who want to know how far a batch is. */
  reportProgress(batch: Batch): void {
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
      nextMs = Math.min(nextMs, batch.nextDueMs ?? nextMs);
    }
    if (nextMs < Number.POSITIVE_INFINITY) this.scheduleRetry(Math.max(0, nextMs - performance.now()));
    this.dispatcher.pump();
  }

  #onBatchOver(batch: Batch): void {
    clearTimeout(this.#graces.get(batch));
    if (this.#progressDueMs.delete(batch) && !batch.milestones?.includes(batch.done)) this.reportProgress(batch);
    this.statistics.onBatchOver(batch);
    this.#totals.add(batch);
    if (this.dispatcher.batches.size > 0) return;
    this.#restIfIdle();
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  #onThreadExit(thread: ThreadHandle, exitCode: number): void {
    this.statistics.harvest();
    const nowNs = process.hrtime.bigint();
    this.limiter.reclaim(thread.threadId, nowNs);
    this.#tracer?.exited(thread.threadId, nowNs);
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
