import type { MessagePort, Worker } from 'node:worker_threads';
import type { TraceRecord } from '../../lib/audit/trace-line.ts';
import type { Tracer } from '../../lib/audit/tracer.ts';
import { Batch, type BatchOptions } from '../../lib/batch/batch.ts';
import type { Chunk } from '../../lib/batch/chunk.ts';
import { ChunkTable } from '../../lib/batch/chunk-table.ts';
import type { RetryRules } from '../../lib/batch/decide.ts';
import { Dispatcher } from '../../lib/batch/dispatcher.ts';
import type { ErrorCode } from '../../lib/errors.ts';
import { ThreadHandle, type ThreadPool } from '../../lib/pool/thread-pool.ts';
import { type ChunkTask, END, NOT_IDEMPOTENT, type Reply } from '../../lib/protocol.ts';
import type { FailureRecord } from '../../lib/recover/error-record.ts';
import { RecoveryTable } from '../../lib/recover/recovery-table.ts';
import { SuccessRate } from '../../lib/recover/success-rate.ts';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import { createTraceBuffer, TraceCells, TraceReader } from '../../lib/shared/trace-cells.ts';
import { WorkSlot } from '../../lib/shared/work-slot.ts';
import type { ErrorRecord, Outcome } from '../../lib/types.ts';

export const RULES: RetryRules = {
  scope: 'unfinished',
  maxAttempts: 3,
  maxRefusals: 5,
  initialMs: 1_000,
  factor: 2,
  maxMs: 32_000,
  jitter: 0,
  maxRetryAfterMs: 120_000,
};

export const TIMES = { waitMs: 20, durationMs: 5, threadId: 1 };

export const recordOf = (code: ErrorCode = 'NETWORK', possiblyExecuted = false): FailureRecord => ({
  code,
  name: 'ItemError',
  message: 'Gone.',
  possiblyExecuted,
});

export const itemsUpTo = (count: number): string[] => Array.from({ length: count }, (_, index) => `item ${index}`);

/** A batch, and what its user gets to see of it. */
export class PlayedBatch {
  readonly outcomes: Outcome[] = [];
  readonly ends: (Error | undefined)[] = [];
  readonly retries: { readonly index: number; readonly delayMs: number }[] = [];
  readonly failures: { readonly index: number; readonly error: ErrorRecord }[] = [];
  /** How often it said that there is more to hand out. */
  works = 0;
  readonly batch: Batch;

  constructor(id: number, nowMs: () => number, onWork: (batch: Batch) => void, options: Partial<BatchOptions>) {
    this.batch = new Batch({
      id,
      idempotent: undefined,
      sink: { put: (outcome) => this.outcomes.push(outcome), end: (error) => this.ends.push(error) },
      nowMs,
      random: () => 0,
      onProgress: undefined,
      progressInterval: undefined,
      groups: undefined,
      onGroup: () => {},
      onMilestone: () => {},
      onWait: () => {},
      hasLimits: true,
      table: new RecoveryTable([]),
      locale: 'en',
      stretch: () => 1,
      onFailure: (index, error) => this.failures.push({ index, error }),
      onRetry: ({ index }, _, delayMs) => this.retries.push({ index, delayMs }),
      ...options,
      rules: { ...RULES, ...options.rules },
      onWork: (batch) => {
        this.works++;
        onWork(batch);
      },
    });
  }

  /** Index and end of each item that has one, in their order: `ok`, or the code of its error. */
  get results(): [number, string][] {
    return this.outcomes
      .map((outcome): [number, string] => [outcome.index, outcome.ok ? 'ok' : outcome.error.code])
      .sort(([a], [b]) => a - b);
  }
}

/** A chunk as its thread has it. */
export interface Given {
  readonly task: ChunkTask;
  readonly thread: ThreadHandle;
  readonly slot: WorkSlot;
}

/** Ends that come without a value. */
const WITHOUT_RECORD: ReadonlySet<number> = new Set([END.cancelled, END.notStarted]);

/**
 * The main thread's side of an engine, in a time of its own. The threads are played by the test, which does to the
 * shared memory what lanes do, and in the order that the case needs: a real thread could not be held at that step.
 */
export class Stage {
  nowMs = 1_000;
  credentials: unknown = 'credentials';
  readonly block = createControlBlock({ tokens: [], slots: 16 });
  /** For tests of chunks, without the dispatcher, which has one of its own. */
  readonly table = new ChunkTable(this.block);
  readonly successRate = new SuccessRate();
  readonly threads: ThreadHandle[];
  readonly cells: TraceCells[] = [];
  readonly given: Given[] = [];
  readonly over: Batch[] = [];
  /** Items that ignored their timeout: were they probes? */
  readonly timeouts: boolean[] = [];
  readonly probes: string[] = [];
  readonly traced: TraceRecord[] = [];
  readonly lost: { readonly threadId: number; readonly records: readonly TraceRecord[] }[] = [];
  readonly tracer = {
    add: (record: TraceRecord) => this.traced.push(record),
    lose: (threadId: number, records: readonly TraceRecord[]) => this.lost.push({ threadId, records }),
  } as unknown as Tracer;
  readonly pool: ThreadPool;
  readonly dispatcher: Dispatcher;
  #batches = 0;

  constructor(lanes: readonly number[] = [1], { reserve = 0, isTracing = false } = {}) {
    this.threads = lanes.map((count, place) => this.#thread(count, place, isTracing));
    const ready = () => this.threads.filter(({ state }) => state === 'ready');
    this.pool = {
      get ready() {
        return ready();
      },
      send: (task: ChunkTask, thread: ThreadHandle) => {
        this.given.push({ task, thread, slot: new WorkSlot(this.block, task.slot) });
      },
    } as unknown as ThreadPool;
    this.dispatcher = new Dispatcher({
      block: this.block,
      lanes: lanes.reduce((sum, count) => sum + count, 0),
      reserve,
      timeoutMs: 500,
      nowMs: () => this.nowMs,
      successRate: this.successRate,
      tracer: isTracing ? this.tracer : undefined,
      credentials: () => this.credentials,
      countsForCircuit: ({ code }) => code !== 'HANDLER',
      onTimeout: (isProbe) => this.timeouts.push(isProbe),
      onProbe: (result) => this.probes.push(result),
      onBatchOver: (batch) => this.over.push(batch),
    });
    this.dispatcher.attach(this.pool);
  }

  /** A batch that is not handed out yet. */
  batch(items: readonly unknown[] | undefined, options: Partial<BatchOptions> = {}): PlayedBatch {
    const noteWork = (batch: Batch) => this.dispatcher.noteWork(batch);
    const played = new PlayedBatch(++this.#batches, () => this.nowMs, noteWork, options);
    if (items !== undefined) played.batch.fill(items);
    return played;
  }

  /** A batch that is handed out; `size` is how many items a chunk may have. */
  run(items: readonly unknown[], options: Partial<BatchOptions> = {}, size = 1): PlayedBatch {
    const played = this.batch(items, options);
    played.batch.sizing = { itemMs: 1, size };
    this.dispatcher.add(played.batch);
    return played;
  }

  thread(place = 0): ThreadHandle {
    return this.#at(this.threads, place);
  }

  /** What was given to a thread, in the order of giving. */
  gift(number: number): Given {
    return this.#at(this.given, number);
  }

  /** A chunk of the next items of a batch, with a thread. */
  chunk({ batch }: PlayedBatch, count: number, fields: Partial<Parameters<ChunkTable['open']>[0]> = {}): Chunk {
    const work = batch.queue.take(count);
    if (work === undefined) throw new Error('There is no work.');
    const thread = this.thread();
    return this.table.open({
      ...{ batch, work, thread, generation: 0, isAlone: false, isProbe: false, sentAtMs: this.nowMs },
      ...fields,
    });
  }

  /** What a thread says of items of a chunk: all ends at once, values and times made up. */
  reply(id: number, ends: readonly number[], more: Partial<Reply> = {}): Reply {
    return {
      kind: 'reply',
      id,
      from: 0,
      ends,
      values: ends.map((end, n) => {
        const kind = end & ~NOT_IDEMPOTENT;
        if (kind === END.ok) return `value ${n}`;
        return WITHOUT_RECORD.has(kind) ? undefined : recordOf();
      }),
      waitsMs: ends.map((_, n) => n + 1),
      durationsMs: ends.map((_, n) => n + 10),
      cells: undefined,
      last: true,
      elapsedMs: ends.length,
      ...more,
    };
  }

  /** A thread works through a chunk and says so. */
  finish(number: number, ends?: readonly number[], more: Partial<Reply> = {}): void {
    const { task, thread, slot } = this.gift(number);
    const all = ends ?? Array.from(task.items, () => END.ok);
    for (let position = more.from ?? 0; position < (more.from ?? 0) + all.length; position++) slot.claim(position);
    this.dispatcher.onReply(thread, this.reply(task.id, all, more));
  }

  /** A thread is gone. */
  lose(thread: ThreadHandle): void {
    thread.state = 'gone';
    this.dispatcher.onThreadGone(thread);
  }

  #at<T>(list: readonly T[], at: number): T {
    const found = list[at];
    if (found === undefined) throw new Error(`There is no number ${at} among ${list.length}.`);
    return found;
  }

  #thread(lanes: number, place: number, isTracing: boolean): ThreadHandle {
    const buffer = createTraceBuffer();
    if (isTracing) this.cells.push(new TraceCells(buffer));
    const reader = isTracing ? new TraceReader(buffer) : undefined;
    const worker = { threadId: place + 1 } as Worker;
    const thread = new ThreadHandle(worker, {} as MessagePort, { lanes, place }, reader);
    thread.state = 'ready';
    return thread;
  }
}
