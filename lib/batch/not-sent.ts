import { ItemError } from '../errors.ts';
import { toFailureRecord } from '../recover/error-record.ts';
import { cloneCause } from '../recover/stop-records.ts';
import type { Chunk } from './chunk.ts';
import type { WorkItem } from './work-queue.ts';

/** After so many times in vain, an item that can be cloned here is called uncloneable all the same. */
const MAX_SEND_FAILURES = 3;

/**
 * Bring a chunk to its end whose thread has not got it, and never will. Items that cannot be sent fail.
 *
 * @returns those to be tried again
 */
export function settleNotSent(chunk: Chunk, error: unknown): WorkItem[] {
  const again: WorkItem[] = [];
  for (const entry of chunk.leftOver()) {
    if (isCloneable(entry.item) && ++entry.sendFailures < MAX_SEND_FAILURES) {
      again.push(entry);
    } else {
      chunk.batch.fail(entry, {
        ...toFailureRecord(new ItemError('NOT_CLONEABLE', 'The item cannot be sent to a worker thread.'), false),
        cause: cloneCause(error),
      });
    }
  }
  return again;
}

function isCloneable(item: unknown): boolean {
  try {
    structuredClone(item);
    return true;
  } catch {
    return false;
  }
}
