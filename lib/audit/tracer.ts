import { type TraceRecord, traceLine } from './trace-line.ts';
import { TraceWriter } from './trace-writer.ts';

/** The trace of one engine. */
export class Tracer {
  readonly #writer: TraceWriter;
  /**
   * Threads that have come to one half of their end. The requests of a thread are given up on at its exit, when its
   * tokens are taken back; that is before or after its work is called lost.
   */
  readonly #exitedNs = new Map<number, bigint>();
  readonly #lost = new Map<number, readonly TraceRecord[]>();

  /**
   * @param path absolute
   * @throws InvalidOptionError if the file cannot be written
   */
  constructor(path: string) {
    this.#writer = new TraceWriter(path, process.hrtime.bigint());
  }

  add(record: TraceRecord): void {
    this.#writer.add(traceLine(record));
  }

  /** What was in the hands of a thread that is gone. To be called once for each such thread. */
  lose(threadId: number, records: readonly TraceRecord[]): void {
    const exitedNs = this.#exitedNs.get(threadId);
    if (exitedNs === undefined) this.#lost.set(threadId, records);
    else this.#giveUp(records, exitedNs);
    this.#exitedNs.delete(threadId);
  }

  /** A thread has exited; at this time its tokens were taken back. */
  exited(threadId: number, nowNs: bigint): void {
    const records = this.#lost.get(threadId);
    if (records === undefined) this.#exitedNs.set(threadId, nowNs);
    else this.#giveUp(records, nowNs);
    this.#lost.delete(threadId);
  }

  /** End the trace. What is still in work is lost now, or was with its thread. Never rejects. */
  async close(records: readonly TraceRecord[]): Promise<void> {
    const nowNs = process.hrtime.bigint();
    for (const held of [...this.#lost.values(), records]) this.#giveUp(held, nowNs);
    await this.#writer.close();
  }

  #giveUp(records: readonly TraceRecord[], nowNs: bigint): void {
    for (const record of records) {
      const { traced, thread } = record;
      const endNs = traced?.endNs ?? this.#exitedNs.get(thread) ?? nowNs;
      this.add(traced === undefined ? record : { ...record, traced: { ...traced, endNs } });
    }
  }
}
