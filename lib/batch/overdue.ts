import type { ThreadHandle } from '../pool/thread-pool.ts';
import { WORK } from '../shared/layout.ts';
import type { Chunk } from './chunk.ts';

/**
 * Find the threads that have an item past its time, and say which of their items is to blame.
 *
 * A lane tells its item that its time is up. An item that was told and is still there ignores it. But where none was
 * told, the thread does not run its own timers: one item keeps it busy, and all others are late because of it. It may
 * also be one that has come to its end: to report its value is work, too. Which one it is shows only when they run alone.
 *
 * @param overdueNs Deadlines before this time are long past.
 */
export function blameOverdue(chunks: Iterable<Chunk>, overdueNs: bigint): Set<ThreadHandle> {
  const overdue = new Set<ThreadHandle>();
  const told = new Set<ThreadHandle>();
  const busy = new Map<ThreadHandle, Chunk[]>();
  for (const chunk of chunks) {
    const { thread, slot } = chunk;
    const { work, deadlineNs } = slot;
    const isCalled = (work & WORK.called) !== 0;
    const hasEnded = (work & WORK.ended) !== 0 || slot.started > chunk.settled + 1;
    if (thread.state !== 'ready' || !(isCalled || hasEnded)) continue;
    const others = busy.get(thread);
    if (others === undefined) busy.set(thread, [chunk]);
    else others.push(chunk);
    if (!isCalled || deadlineNs === 0n || deadlineNs > overdueNs) continue;
    overdue.add(thread);
    if ((work & WORK.toldTimeout) === 0) continue;
    told.add(thread);
    chunk.blame = 'guilty';
  }
  for (const thread of overdue) {
    if (told.has(thread)) continue;
    const suspects = busy.get(thread) ?? [];
    for (const chunk of suspects) chunk.blame = suspects.length === 1 ? 'guilty' : 'suspect';
  }
  return overdue;
}
