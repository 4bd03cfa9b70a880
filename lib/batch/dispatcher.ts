import type { TraceRecord } from '../audit/trace-line.ts';
import type { Tracer } from '../audit/tracer.ts';
import type { ThreadHandle, ThreadPool } from '../pool/thread-pool.ts';
import { END, NOT_IDEMPOTENT, type Reply } from '../protocol.ts';
import type { FailureRecord } from '../recover/error-record.ts';
import type { SuccessRate } from '../recover/success-rate.ts';
import type { ControlBlock } from '../shared/control-block.ts';
import type { Batch } from './batch.ts';
import type { Chunk } from './chunk.ts';
import { INITIAL_SIZING, inherit, learn, nextChunkSize } from './chunk-size.ts';
import { ChunkTable } from './chunk-table.ts';
import { settleDeadChunk } from './dead-chunk.ts';
import { settleNotSent } from './not-sent.ts';
import { settleReply } from './settle-reply.ts';
import { lostRecords, traceReply } from './trace-chunk.ts';
import type { Work, WorkItem } from './work-queue.ts';

/** Only a chunk that has been out for longer is worth taking its tail from. */
const STEAL_AFTER_MS = 20;

export interface DispatcherOptions {
  readonly block: ControlBlock;
  readonly lanes: number;
  /** Chunks that may wait in threads for a lane, so that a main thread that is busy for a moment slows nobody. */
  readonly reserve: number;
  readonly timeoutMs: number;
  readonly nowMs: () => number;
  readonly successRate: SuccessRate;
  readonly tracer: Tracer | undefined;
  /** What every chunk carries. */
  readonly credentials: () => unknown;
  /** Does this failure count for the circuit breaker? */
  readonly countsForCircuit: (record: FailureRecord) => boolean;
  /** A thread was ended because of an item that ignored its timeout. */
  readonly onTimeout: (isProbe: boolean) => void;
  /** A probe of the half-open circuit has said something about the upstream. */
  readonly onProbe: (result: 'success' | 'failure') => void;
  /** A batch has all its outcomes. */
  readonly onBatchOver: (batch: Batch) => void;
}

/**
 * Hands work to threads and takes its ends. Fair: batches that have work take turns, chunk by chunk. Nothing is handed
 * out while the gate is closed.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #chunks: ChunkTable;
  readonly #batches = new Set<Batch>();
  /** Batches that may have work to hand out, in the order of their next turn. */
  readonly #turns = new Set<Batch>();
  #mayHaveLost = false;
  #pool: ThreadPool | undefined;
  #generation = 0;
  #isOpen = true;
  /** The thread that is kept for items that run alone, while there are any. */
  #aloneThread: ThreadHandle | undefined;
  /** The youngest generation in which the upstream has answered an item. */
  #answeredGeneration = -1;
  #onChunkOver: (() => void) | undefined;
  /** What the last batch has taught of the sizes of chunks. */
  #sizing = INITIAL_SIZING;
  /** While the circuit is half-open: how many items may be out. */
  #probesAllowed: number | undefined;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#chunks = new ChunkTable(options.block);
  }

  /** The pool to hand work to; it cannot exist before the dispatcher, which it reports to. */
  attach(pool: ThreadPool): void {
    this.#pool = pool;
  }

  get batches(): ReadonlySet<Batch> {
    return this.#batches;
  }

  get chunks(): Iterable<Chunk> {
    return this.#chunks;
  }

  /** True while something is out or can be handed out, now or later. */
  get hasWork(): boolean {
    if (this.#chunks.size > 0) return true;
    for (const { pending, delayed, lost } of this.#batches) if (pending + delayed.size + lost.length > 0) return true;
    return false;
  }

  /** True if there is no batch, and nothing of an earlier one is with a thread. */
  get isIdle(): boolean {
    return this.#batches.size === 0 && this.#chunks.size === 0;
  }

  /** The generation of the work that is handed out now, or was before the gate was closed. */
  get generation(): number {
    return this.#generation;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** True if the upstream has answered an item that was handed out in this generation. */
  hasAnswered(generation: number): boolean {
    return this.#answeredGeneration === generation;
  }

  add(batch: Batch): void {
    this.#batches.add(batch);
    if (batch.sizing.itemMs === undefined) batch.sizing = inherit(this.#sizing);
    this.pump();
  }

  /** A batch has more to hand out. The next `pump` finds it. */
  noteWork(batch: Batch): void {
    this.#turns.add(batch);
  }

  /** Hand out nothing more. */
  close(): void {
    this.#isOpen = false;
  }

  /** Hand out work of this generation. */
  open(generation: number): void {
    this.#generation = generation;
    this.#isOpen = true;
    this.pump();
  }

  /** Let so many items be out, one by one, to find out how the upstream is; undefined: no such limit any more. */
  limitProbes(allowed: number | undefined): void {
    this.#probesAllowed = allowed;
    this.pump();
  }

  /** Chunks of closed generations that are still out. */
  *outstandingBelow(generation: number): Generator<Chunk> {
    for (const chunk of this.#chunks) if (((chunk.generation - generation) | 0) < 0) yield chunk;
  }

  /** Call back whenever a chunk has come to its end. */
  watchChunks(onChunkOver: (() => void) | undefined): void {
    this.#onChunkOver = onChunkOver;
  }

  /** Hand out as much as there is room for. */
  pump(): void {
    if (!this.#isOpen || this.#pool === undefined) return;
    const threads = this.#pool.ready;
    if (this.#mayHandOut) this.#pumpAlone(threads);
    const stolenFrom = new Set<Chunk>();
    while (this.#mayHandOut) {
      const thread = this.#pickThread(threads);
      if (thread === undefined) return;
      const batch = this.#nextBatch();
      if (batch !== undefined) {
        const isProbe = this.#probesAllowed !== undefined;
        const size = isProbe ? 1 : nextChunkSize(batch.sizing, batch.pending, this.#options.lanes);
        const work = batch.queue.take(size);
        if (work !== undefined) this.#send(batch, work, thread, false);
      } else if (thread.load >= thread.lanes || !this.#takeReserve(thread, stolenFrom)) {
        return;
      }
    }
  }

  /** Items of slow chunks, for lanes that have nothing to do. Call it now and then. */
  stealTails(): void {
    if (!this.#isOpen || this.#pool === undefined) return;
    const hasRoom = this.#pool.ready.some((thread) => thread !== this.#aloneThread && thread.load < thread.lanes);
    if (!hasRoom || this.#nextBatch() !== undefined) return;
    const before = this.#options.nowMs() - STEAL_AFTER_MS;
    for (const chunk of this.#chunks) {
      if (chunk.isAlone || chunk.sentAtMs >= before || chunk.slot.started >= chunk.end) continue;
      chunk.batch.putBack(chunk.takeBackUnclaimed());
    }
    this.pump();
  }

  /** A thread has reported ends. */
  onReply(thread: ThreadHandle, reply: Reply): void {
    const chunk = this.#chunks.get(reply.id);
    if (chunk === undefined || chunk.thread !== thread) return;
    // One before it could not be read, and says what became of the items between: the end of the thread settles them.
    if (reply.from !== chunk.settled) return;
    chunk.foldCounts();
    const { batch } = chunk;
    const count = reply.values.length;
    const { successRate, tracer } = this.#options;
    if (tracer !== undefined) traceReply(chunk, reply, tracer);
    const isAnswered = settleReply(chunk, reply, successRate, (entry) => this.#lose(batch, [entry]));
    if (isAnswered) this.#answeredGeneration = chunk.generation;
    chunk.settled = reply.from + count;
    if (chunk.isProbe && count > 0) this.#judgeProbe(reply.ends?.[0] ?? END.ok, reply.values[0]);
    if (!reply.last) {
      this.endIfDone(batch);
      return;
    }
    batch.sizing = learn(batch.sizing, chunk.settled, reply.elapsedMs);
    this.#putBack(chunk, chunk.leftOver());
    this.#remove(chunk);
    this.endIfDone(batch);
    this.pump();
  }

  /** A chunk could not be posted: something in it cannot be cloned. Or its thread is dying, and its exit will tell. */
  onNotSent(chunkId: number, thread: ThreadHandle, error: unknown): void {
    const chunk = this.#chunks.get(chunkId);
    // Closing tells for certain: if nothing was claimed now, nothing ever will be.
    if (chunk === undefined || thread.state !== 'ready' || chunk.slot.close() > 0) return;
    this.#putBack(chunk, settleNotSent(chunk, error));
    this.#remove(chunk);
    this.endIfDone(chunk.batch);
    this.pump();
  }

  /** A thread could not read the chunk of this number. It may be because of one item: all of them run alone. */
  onUnreadable(thread: ThreadHandle, number: number): void {
    const chunk = this.#chunks.all.find((one) => one.thread === thread && one.number === number);
    if (chunk === undefined || thread.state !== 'ready') return;
    const again = settleNotSent(chunk, new RangeError('The thread could not read it.'));
    if (chunk.batch.isAborted || chunk.batch.isOver) chunk.batch.putBack(again);
    else this.#lose(chunk.batch, again);
    this.#remove(chunk);
    this.endIfDone(chunk.batch);
    this.pump();
  }

  /** A thread is gone: its chunks come to an end here. */
  onThreadGone(thread: ThreadHandle): void {
    if (this.#aloneThread === thread) this.#aloneThread = undefined;
    this.#mayHaveLost = true;
    const { tracer } = this.#options;
    const lost: TraceRecord[] = [];
    for (const chunk of this.#chunks.all) {
      if (chunk.thread !== thread) continue;
      if (tracer !== undefined) for (const record of lostRecords(chunk)) lost.push(record);
      chunk.foldCounts();
      // The thread was ended because its handler ignored its timeout; it could not count that itself. An aborted one
      // says nothing of the upstream.
      if (chunk.blame === 'guilty' && !chunk.batch.isAborted) this.#options.onTimeout(chunk.isProbe);
      settleDeadChunk(chunk, this.#options.timeoutMs);
      this.#remove(chunk);
      this.endIfDone(chunk.batch);
    }
    tracer?.lose(thread.threadId, lost);
    this.pump();
  }

  /** End a batch if it has all its outcomes. */
  endIfDone(batch: Batch): void {
    if (batch.endIfDone()) this.#forget(batch);
  }

  /** The engine cannot go on: every batch ends with this error. */
  failAll(error: Error): void {
    for (const batch of [...this.#batches]) {
      batch.endWith(error);
      this.#forget(batch);
    }
  }

  /** Items that were lost with their thread: one at a time, in a thread where nothing else runs. */
  #pumpAlone(threads: readonly ThreadHandle[]): void {
    const batch = this.#mayHaveLost ? this.#batchWithLost() : undefined;
    if (batch === undefined) {
      this.#mayHaveLost = false;
      if (this.#aloneThread?.load === 0) this.#aloneThread = undefined;
      return;
    }
    this.#aloneThread ??= threads.reduce<ThreadHandle | undefined>(
      (least, thread) => (least === undefined || thread.load < least.load ? thread : least),
      undefined,
    );
    const thread = this.#aloneThread;
    if (thread === undefined || thread.load > 0 || thread.state !== 'ready') return;
    const entry = batch.lost.shift();
    if (entry === undefined) return;
    this.#send(batch, { first: entry.index, items: [entry.item], entries: [entry] }, thread, true);
  }

  /** While the circuit is half-open, only so many items may be out as it takes to find out how the upstream is. */
  get #mayHandOut(): boolean {
    if (!this.#isOpen || !this.#chunks.hasRoom) return false;
    return this.#probesAllowed === undefined || this.#chunks.size < this.#probesAllowed;
  }

  #judgeProbe(end: number, value: unknown): void {
    if (end === END.ok || end === (END.ok | NOT_IDEMPOTENT)) this.#options.onProbe('success');
    else if (value !== undefined && this.#options.countsForCircuit(value as FailureRecord))
      this.#options.onProbe('failure');
  }

  /** The thread with the most room: free lanes first, then room for a chunk in reserve. */
  #pickThread(threads: readonly ThreadHandle[]): ThreadHandle | undefined {
    let best: ThreadHandle | undefined;
    let reserved = 0;
    for (const thread of threads) {
      if (thread.load > thread.lanes) reserved += thread.load - thread.lanes;
      if (thread === this.#aloneThread || thread.state !== 'ready' || thread.load >= 2 * thread.lanes) continue;
      if (best === undefined || thread.lanes - thread.load > best.lanes - best.load) best = thread;
    }
    if (best === undefined || best.load < best.lanes) return best;
    return reserved < this.#options.reserve ? best : undefined;
  }

  #batchWithLost(): Batch | undefined {
    for (const batch of this.#batches) if (batch.lost.length > 0) return batch;
    return undefined;
  }

  #nextBatch(): Batch | undefined {
    for (const batch of this.#turns) {
      // It had its turn: it goes behind the others, or out if it has nothing left.
      this.#turns.delete(batch);
      if (batch.pending === 0 || batch.isOver) continue;
      this.#turns.add(batch);
      return batch;
    }
    return undefined;
  }

  /** A lane has nothing to do while another thread holds a chunk in reserve: take that. True if there was one. */
  #takeReserve(idle: ThreadHandle, stolenFrom: Set<Chunk>): boolean {
    for (const chunk of this.#chunks) {
      const { thread } = chunk;
      if (thread === idle || thread.load <= thread.lanes || chunk.isAlone || chunk.end === 0) continue;
      if (chunk.slot.started > 0 || stolenFrom.has(chunk)) continue;
      stolenFrom.add(chunk);
      const entries = chunk.takeBackUnclaimed();
      chunk.batch.putBack(entries);
      if (entries.length > 0) return true;
    }
    return false;
  }

  #send(batch: Batch, work: Work, thread: ThreadHandle, isAlone: boolean): void {
    const chunk = this.#chunks.open({
      batch,
      work,
      thread,
      generation: this.#generation,
      isAlone,
      isProbe: this.#probesAllowed !== undefined,
      sentAtMs: this.#options.nowMs(),
    });
    chunk.number = this.#pool?.send(chunk.toTask(this.#options.credentials()), thread) ?? 0;
  }

  #putBack(chunk: Chunk, entries: WorkItem[]): void {
    if (chunk.isAlone && !chunk.batch.isAborted && !chunk.batch.isOver) this.#lose(chunk.batch, entries);
    else chunk.batch.putBack(entries);
  }

  #lose(batch: Batch, entries: WorkItem[]): void {
    batch.lost.push(...entries);
    this.#mayHaveLost = true;
  }

  #remove(chunk: Chunk): void {
    this.#chunks.close(chunk);
    this.#onChunkOver?.();
  }

  #forget(batch: Batch): void {
    this.#batches.delete(batch);
    this.#turns.delete(batch);
    if (batch.sizing.itemMs !== undefined) this.#sizing = batch.sizing;
    this.#options.onBatchOver(batch);
  }
}
