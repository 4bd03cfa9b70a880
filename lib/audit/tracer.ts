import type { TraceLine } from './trace-line.ts';
import { TraceWriter } from './trace-writer.ts';

/** The trace of one engine. */
export class Tracer {
  readonly #writer: TraceWriter;
  /**
   * Of threads that have come to one half of their end: when they exited, or what was lost with them. The requests of a
   * thread are given up at its exit, when its tokens are taken back; that is before or after its work is called lost.
   */
  readonly #dead = new Map<number, bigint | readonly TraceLine[]>();

  /**
   * @param path absolute
   * @throws InvalidOptionError if the file cannot be written
   */
  constructor(path: string) {
    this.#writer = new TraceWriter(path, process.hrtime.bigint());
  }

  add(line: TraceLine): void {
    this.#writer.add(line);
  }

  /** What was in the hands of a thread that is gone, without its end. To be called once for each such thread. */
  lose(threadId: number, lines: readonly TraceLine[]): void {
    const exitedNs = this.#dead.get(threadId);
    if (typeof exitedNs === 'bigint') {
      this.#dead.delete(threadId);
      this.#abandon(lines, exitedNs);
    } else {
      this.#dead.set(threadId, lines);
    }
  }

  /** A thread has exited; at this time its tokens were taken back. */
  exited(threadId: number, nowNs: bigint): void {
    const lines = this.#dead.get(threadId);
    if (typeof lines === 'object') {
      this.#dead.delete(threadId);
      this.#abandon(lines, nowNs);
    } else {
      this.#dead.set(threadId, nowNs);
    }
  }

  /** End the trace. What is still in work is lost now. Never rejects. */
  async close(lines: Iterable<TraceLine>): Promise<void> {
    const nowNs = process.hrtime.bigint();
    for (const held of this.#dead.values()) if (typeof held === 'object') this.#abandon(held, nowNs);
    this.#dead.clear();
    this.#abandon(lines, nowNs);
    await this.#writer.close();
  }

  #abandon(lines: Iterable<TraceLine>, nowNs: bigint): void {
    for (const line of lines) {
      const isOpen = line.sentNs !== undefined || line.startedNs !== undefined;
      this.#writer.add(isOpen ? { ...line, abandonedNs: String(nowNs) } : line);
    }
  }
}
