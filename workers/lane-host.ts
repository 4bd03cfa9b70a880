import type { Waiter } from '../lib/limit/waiter.ts';
import type { ChunkTask } from '../lib/protocol.ts';
import type { FailureRecord } from '../lib/recover/error-record.ts';
import type { RecoveryTable } from '../lib/recover/recovery-table.ts';
import type { CallCounter } from '../lib/shared/call-ring.ts';
import type { ControlBlock } from '../lib/shared/control-block.ts';
import type { Gate } from '../lib/shared/gate.ts';
import type { TraceCells } from '../lib/shared/trace-cells.ts';
import type { WorkSlot } from '../lib/shared/work-slot.ts';
import type { Classify } from '../lib/types.ts';
import type { LoadedHandler } from './load-handler.ts';
import type { ReplyBuffer } from './reply-buffer.ts';

/** The chunk that a lane works on, and where its ends go. */
export interface Job {
  readonly chunk: ChunkTask;
  readonly slot: WorkSlot;
  readonly reply: ReplyBuffer;
  readonly startedNs: bigint;
  /** Of the next item. */
  position: number;
  /** `WORK.once` as soon as an item of it was one that must not be sent twice. */
  once: number;
}

/** What a lane needs of its thread. */
export interface LaneHost {
  readonly threadId: number;
  readonly block: ControlBlock;
  readonly gate: Gate;
  /** The calls of this thread, second by second. */
  readonly calls: CallCounter;
  readonly waiter: Waiter | undefined;
  readonly handler: LoadedHandler;
  readonly classifiers: readonly Classify[];
  readonly table: RecoveryTable;
  readonly timeoutNs: bigint;
  /** Longest wait for a further token. */
  readonly acquireTimeoutNs: bigint;
  /** Whether a rate-limit event aborts what is in flight. */
  readonly cancelsInFlight: boolean;
  /** Where every request is noted, if there is a trace. */
  readonly trace: TraceCells | undefined;
  /** Is there sense in new credentials for an item that has got some so often already? */
  mayRefresh(record: FailureRecord, refreshes: number): boolean;
  /** Something happened to a request of this generation after which no further one may start. */
  closeGate(generation: number, cause: number, quietMs: number | undefined, nowNs: bigint): void;
  /** The upstream says that its quota is used up for so long. Returns that, if it can be believed. */
  believeQuota(quotaResetMs: number | undefined, ignoredHints: number | undefined): number | undefined;
  /** An answer that says so closes the gate. */
  readonly obeysQuota: boolean;
  /** For the circuit breaker. */
  countSuccess(): void;
  countFailure(record: FailureRecord, generation: number, nowNs: bigint): void;
  /** The lane is done with a chunk. */
  publishCounts(nowNs: bigint): void;
  /** Let finished ends be sent soon, if the chunk takes long. */
  flushSoon(): void;
  /** A turn of the event loop, if it is time for one. */
  turn(nowNs: bigint): Promise<void> | undefined;
  /** Call `timeOut` when this deadline has passed and still stands. */
  watchDeadline(deadlineNs: bigint): void;
  recordWait(waitNs: bigint): void;
  recordService(durationMs: number): void;
}
