import type { ThreadHandle } from '../pool/thread-pool.ts';
import { type ChunkTask, columnOf } from '../protocol.ts';
import type { WorkSlot } from '../shared/work-slot.ts';
import type { Batch, OutstandingWork } from './batch.ts';
import { entriesOf, type Work, type WorkItem } from './work-queue.ts';

/** Work that is with a thread. */
export class Chunk implements OutstandingWork {
  readonly id: number;
  readonly batch: Batch;
  readonly thread: ThreadHandle;
  readonly work: Work;
  readonly generation: number;
  readonly slotNumber: number;
  readonly slot: WorkSlot;
  readonly isAlone: boolean;
  /** The circuit is half-open: its item is to find out if it may close. */
  readonly isProbe: boolean;
  readonly sentAtMs: number;
  /** Its number among the chunks that its thread gets; 0 while it was not posted. */
  number = 0;
  /** Items of it that are the thread's to do; smaller once the tail was taken back. */
  end: number;
  /** Items from the start whose ends are known. */
  settled = 0;
  /** Set when the watchdog ends the thread because of this chunk's item, or maybe because of it. */
  blame: 'guilty' | 'suspect' | undefined;
  #sent = 0;
  #refused = 0;
  #cancelled = 0;

  constructor(
    fields: Pick<
      Chunk,
      'id' | 'batch' | 'thread' | 'work' | 'generation' | 'slotNumber' | 'slot' | 'isAlone' | 'isProbe' | 'sentAtMs'
    >,
  ) {
    this.id = fields.id;
    this.batch = fields.batch;
    this.thread = fields.thread;
    this.work = fields.work;
    this.generation = fields.generation;
    this.slotNumber = fields.slotNumber;
    this.slot = fields.slot;
    this.isAlone = fields.isAlone;
    this.isProbe = fields.isProbe;
    this.sentAtMs = fields.sentAtMs;
    this.end = fields.work.items.length;
  }

  /** The message that brings it to its thread. */
  toTask(credentials: unknown): ChunkTask {
    const { entries } = this.work;
    return {
      kind: 'chunk',
      id: this.id,
      slot: this.slotNumber,
      generation: this.generation,
      batch: this.batch.id,
      first: this.work.first,
      indices: entries?.map((entry) => entry.index),
      attempts: entries?.map((entry) => entry.attempts + 1),
      refreshes: entries?.some((entry) => entry.refreshes > 0) ? entries.map((entry) => entry.refreshes) : undefined,
      items: columnOf(this.work.items),
      idempotent: this.batch.idempotent,
      credentials,
      isProbe: this.isProbe,
    };
  }

  /** Close it, and take back what was not claimed. */
  takeBackUnclaimed(): WorkItem[] {
    return this.#cutAt(this.slot.close());
  }

  /** The lane is done with it: what it has not claimed is left over. */
  leftOver(): WorkItem[] {
    return this.#cutAt(this.slot.started);
  }

  #cutAt(started: number): WorkItem[] {
    if (started >= this.end) return [];
    const back = [...entriesOf({ ...this.work, items: this.work.items.slice(0, this.end) } as Work, started)];
    this.end = started;
    return back;
  }

  /** Bring the batch's counts up to what the slot says. */
  foldCounts(): void {
    const { sent, refused, cancelled } = this.slot;
    this.batch.counts.sent += sent - this.#sent;
    this.batch.counts.refused += refused - this.#refused;
    this.batch.counts.cancelled += cancelled - this.#cancelled;
    this.#sent = sent;
    this.#refused = refused;
    this.#cancelled = cancelled;
  }
}
