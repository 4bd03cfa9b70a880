import type { ThreadHandle } from '../pool/thread-pool.ts';
import { WORK } from '../shared/layout.ts';
import type { Chunk } from './chunk.ts';

/**
 * Find the threads that have an item past its time, and say which of their items is to blame.
 *
 * A lane tells its item that its time is up. An item that was told and is still there ignores it. But where none was
 * told, the thread does not run its own timers: one item keeps it busy, and all others are late because of it. Which
 * one it is shows only when they run alone.
 *
 * @param overdueNs Deadlines before this time are long past.
 */
export function blameOverdue(chunks: Iterable<Chunk>, overdueNs: bigint): Set<ThreadHandle> {
  const overdue = new Set<ThreadHandle>();
  const told = new Set<ThreadHandle>();
  const called = new Map<ThreadHandle, Chunk[]>();
  for (const chunk of chunks) {
    const { thread, slot } = chunk;
    const { work, deadlineNs } = slot;
    if (thread.state !== 'ready' || (work & WORK.called) === 0) continue;
    const others = called.get(thread);
    if (others === undefined) called.set(thread, [chunk]);
    else others.push(chunk);
    if (deadlineNs === 0n || deadlineNs > overdueNs) continue;
    overdue.add(thread);
    if ((work & WORK.toldTimeout) === 0) continue;
    told.add(thread);
    chunk.blame = 'guilty';
  }
  for (const thread of overdue) {
    if (told.has(thread)) continue;
    const suspects = called.get(thread) ?? [];
    for (const chunk of suspects) chunk.blame = suspects.length === 1 ? 'guilty' : 'suspect';
  }
  return overdue;
}
