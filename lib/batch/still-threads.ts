import type { ThreadHandle } from '../pool/thread-pool.ts';
import { WORK } from '../shared/layout.ts';
import type { Chunk } from './chunk.ts';

/** What was seen of a thread, and how often in a row. */
interface Sight {
  readonly sign: number;
  readonly looks: number;
}

/**
 * Finds threads that do nothing with the work that they have. The watchdog of the deadlines does not see them, because
 * none of their items is in work: a handler blocks the thread after its end, or a getter of its value while that is
 * being cloned.
 *
 * Looks are counted and not time: a main thread that was busy for long has replies to read before it judges anybody.
 */
export class StillThreads {
  #seen = new Map<ThreadHandle, Sight>();

  /** Look at all chunks. Returns the threads that have shown no sign of life in more than so many looks in a row. */
  look(chunks: Iterable<Chunk>, maxLooks: number): ThreadHandle[] {
    const signs = new Map<ThreadHandle, number>();
    const alive = new Set<ThreadHandle>();
    for (const { id, thread, slot, settled } of chunks) {
      if (thread.state !== 'ready') continue;
      // An item in work has a deadline, and one that waits for its tokens may wait for long.
      if ((slot.work & (WORK.called | WORK.waiting)) !== 0) alive.add(thread);
      signs.set(thread, (signs.get(thread) ?? 0) + id + slot.started + settled);
    }
    const before = this.#seen;
    this.#seen = new Map();
    const still: ThreadHandle[] = [];
    for (const [thread, sign] of signs) {
      if (alive.has(thread)) continue;
      const last = before.get(thread);
      const looks = last?.sign === sign ? last.looks + 1 : 1;
      this.#seen.set(thread, { sign, looks });
      if (looks > maxLooks) still.push(thread);
    }
    return still;
  }
}
