import { END, NOT_IDEMPOTENT } from '../protocol.ts';
import type { FailureRecord } from '../recover/error-record.ts';
import { timeoutRecord, uncloneableRecord } from '../recover/stop-records.ts';
import { WORK } from '../shared/layout.ts';
import type { Chunk } from './chunk.ts';
import { inDoubt } from './decide.ts';
import { entryAt } from './work-queue.ts';

/**
 * Bring a chunk to its end whose thread is gone. The slot tells how far it was: what was never claimed goes back to the
 * queue; the rest is lost, and what becomes of it depends on what it had reached and on who ended the thread.
 */
export function settleDeadChunk(chunk: Chunk, timeoutMs: number): void {
  const { batch, slot, thread } = chunk;
  const started = slot.started;
  batch.putBack(chunk.leftOver());
  const { work } = slot;
  for (let position = chunk.settled; position < started; position++) {
    const entry = entryAt(chunk.work, position);
    // Items before the one in work had come to an end that was not reported yet. Those must be safe to repeat: others
    // are reported at once.
    const isLast = position === started - 1 && (work & WORK.ended) === 0;
    const isInWork = isLast && (work & (WORK.waiting | WORK.called)) !== 0;
    // It has come to an end, as far as anybody knows; but that is in a report that nobody can read, or never came.
    const isUnknown = thread.isMute && (chunk.isAlone || !isInWork);
    const bits = isLast && !isUnknown ? work : WORK.called | WORK.sent | WORK.idempotent;
    const isIdempotent = (bits & WORK.idempotent) !== 0;
    const isSent = (bits & WORK.sent) !== 0;
    const times = { waitMs: 0, durationMs: 0, threadId: thread.threadId };
    if (batch.isOver) continue;
    if (isUnknown && (chunk.isAlone || chunk.blame === 'guilty' || (work & WORK.once) !== 0)) {
      // Whether it may run again was in the report, or it would come to the same end.
      const cause = { name: 'DataCloneError', message: 'Its thread could not tell what became of it.' };
      batch.settle(entry, END.fatal | NOT_IDEMPOTENT, uncloneableRecord(cause), times);
    } else if (batch.isAborted) {
      batch.fail(entry, { ...lostRecord(chunk, isSent), code: 'ABORTED', name: 'AbortError' }, times);
    } else if ((bits & WORK.called) === 0) {
      // Claimed, but its handler was not called: it cannot have done anything, and nothing was done to it.
      batch.putBack([entry]);
    } else if (chunk.blame === 'guilty' && isLast) {
      const end = isIdempotent ? END.retry : END.retry | NOT_IDEMPOTENT;
      batch.settle(entry, end, timeoutRecord(timeoutMs, isSent), times);
    } else if (!isIdempotent && isSent) {
      entry.attempts++;
      batch.fail(entry, inDoubt(lostRecord(chunk, true)), times, true);
    } else if (chunk.isAlone && thread.killedBecause === undefined) {
      entry.attempts++;
      batch.fail(entry, lostRecord(chunk, isSent), times);
    } else {
      entry.possiblyExecuted ||= isSent;
      // Otherwise the engine ended the thread because of another item: this one is innocent for certain.
      const mayBeGuilty = thread.killedBecause === undefined || chunk.blame === 'suspect' || isUnknown;
      if (mayBeGuilty || chunk.isAlone) batch.lost.push(entry);
      else batch.putBack([entry]);
    }
  }
}

function lostRecord(chunk: Chunk, possiblyExecuted: boolean): FailureRecord {
  const { cause, killedBecause } = chunk.thread;
  return {
    code: 'WORKER_LOST',
    name: 'WorkerLostError',
    message:
      killedBecause === undefined
        ? 'The worker thread died while it ran this item.'
        : `The worker thread was ended because of ${killedBecause} while it ran this item.`,
    possiblyExecuted,
    ...(cause === undefined ? {} : { cause }),
  };
}
