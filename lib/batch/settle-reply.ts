import { END, NOT_IDEMPOTENT, type Reply } from '../protocol.ts';
import type { SuccessRate } from '../recover/success-rate.ts';
import type { Chunk } from './chunk.ts';
import { entryAt, type WorkItem } from './work-queue.ts';

/**
 * Give the items of a chunk the ends that their thread has reported.
 *
 * @param putBackAlone What to do with an item that was to run alone and came back without having run.
 * @returns true if the upstream has answered one of them
 */
export function settleReply(
  chunk: Chunk,
  reply: Reply,
  successRate: SuccessRate,
  putBackAlone: (entry: WorkItem) => void,
): boolean {
  const { batch, thread, work } = chunk;
  let isAnswered = false;
  let successes = 0;
  for (let i = 0; i < reply.values.length && !batch.isOver; i++) {
    const position = reply.from + i;
    const end = reply.ends?.[i] ?? END.ok;
    const times = {
      waitMs: reply.waitsMs?.[i] ?? 0,
      durationMs: reply.durationsMs[i] ?? 0,
      threadId: thread.threadId,
    };
    const value = reply.values[i];
    const kind = end & ~NOT_IDEMPOTENT;
    if (kind === END.ok || kind === END.fatal) isAnswered = true;
    if (kind === END.ok) {
      successes++;
      const attempts = (work.entries?.[position]?.attempts ?? 0) + 1;
      const index = work.entries?.[position]?.index ?? work.first + position;
      batch.succeed(index, attempts, value, times, end !== END.ok);
      continue;
    }
    const entry = entryAt(work, position);
    if (value !== undefined && kind !== END.aborted) successRate.addFailure();
    // Only lost items run alone, and one that came back without having run is still to be run alone.
    if (chunk.isAlone && value === undefined && !batch.isAborted) putBackAlone(entry);
    else batch.settle(entry, end, value, times);
  }
  successRate.addSuccesses(successes);
  return isAnswered;
}
