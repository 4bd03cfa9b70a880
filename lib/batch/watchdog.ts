import type { ThreadHandle } from '../pool/thread-pool.ts';
import type { Chunk } from './chunk.ts';
import { blameOverdue } from './overdue.ts';
import { StillThreads } from './still-threads.ts';

/** A thread that has work and does nothing for so long is not merely slow to get its turn. */
const MIN_STILL_MS = 5000;

export interface WatchdogOptions {
  readonly timeoutMs: number;
  readonly killGraceMs: number;
  /** How often it looks. */
  readonly tickMs: number;
}

/** Finds the threads that must be ended, because a handler does not let them go on. */
export class Watchdog {
  readonly #graceNs: bigint;
  readonly #stillLooks: number;
  readonly #stillThreads = new StillThreads();

  constructor({ timeoutMs, killGraceMs, tickMs }: WatchdogOptions) {
    this.#graceNs = BigInt(Math.ceil(killGraceMs * 1e6));
    this.#stillLooks = Math.max(MIN_STILL_MS, timeoutMs + killGraceMs) / tickMs;
  }

  /** Look at what is with threads. Gives those to be ended, with the reason, and notes which items are to blame. */
  *look(chunks: Iterable<Chunk>, nowNs: bigint): Generator<readonly [thread: ThreadHandle, because: string]> {
    // A lane that is past its deadline for so long does not run its own timers any more, or its handler ignores them.
    for (const thread of blameOverdue(chunks, nowNs - this.#graceNs)) {
      yield [thread, 'a handler that ignored its timeout'];
    }
    for (const thread of this.#stillThreads.look(chunks, this.#stillLooks)) {
      blameStill(thread, chunks);
      yield [thread, 'a handler that blocked its thread'];
    }
  }
}

/** What blocks the thread is one of the items whose ends it has not reported. Which one it is shows when they run alone. */
function blameStill(thread: ThreadHandle, all: Iterable<Chunk>): void {
  const chunks = [...all].filter((chunk) => chunk.thread === thread);
  const unreported = chunks.reduce((sum, { slot, settled }) => sum + slot.started - settled, 0);
  thread.isMute = true;
  for (const chunk of chunks) chunk.blame = unreported === 1 ? 'guilty' : 'suspect';
}
