import { END } from '../protocol.ts';
import { type BackoffOptions, backoffMs } from '../recover/backoff.ts';
import type { FailureRecord } from '../recover/error-record.ts';
import type { WorkItem } from './work-queue.ts';

/** The rules of trying again. */
export interface RetryRules extends BackoffOptions {
  readonly scope: 'unfinished' | 'batch';
  readonly maxAttempts: number;
  readonly maxRefusals: number;
  readonly maxRetryAfterMs: number;
}

/** What becomes of an item after an attempt that was not a success. */
export type Decision =
  | { readonly next: 'fail'; readonly record: FailureRecord }
  /** At once, before all others: nothing happened to it that counts. */
  | { readonly next: 'front' }
  /** After all others. */
  | { readonly next: 'last' }
  | { readonly next: 'later'; readonly delayMs: number };

/**
 * Decide about an item after an attempt, and note in it what the attempt means for it.
 *
 * @param entry Is changed: attempts, refusals, possiblyExecuted.
 * @param isIdempotent May the item be sent twice?
 * @param random A number from 0 to 1, for the jitter.
 */
export function decide(
  end: number,
  record: FailureRecord | undefined,
  isIdempotent: boolean,
  entry: WorkItem,
  rules: RetryRules,
  random: number,
): Decision {
  if (record === undefined) return { next: 'front' };
  switch (end) {
    case END.refused:
      entry.refusals++;
      if (rules.scope === 'unfinished' && entry.refusals >= rules.maxRefusals) {
        return { next: 'fail', record: refusedForGood(record, `refused ${entry.refusals} times`) };
      }
      return { next: 'last' };
    case END.retry:
      return decideRetry(record, isIdempotent, entry, rules, random);
    default:
      entry.attempts++;
      return { next: 'fail', record };
  }
}

function decideRetry(
  record: FailureRecord,
  isIdempotent: boolean,
  entry: WorkItem,
  rules: RetryRules,
  random: number,
): Decision {
  entry.attempts++;
  if (record.possiblyExecuted) {
    if (!isIdempotent) return { next: 'fail', record: inDoubt(record) };
    entry.possiblyExecuted = true;
  }
  if (entry.attempts >= rules.maxAttempts) return { next: 'fail', record };
  // A hint is never shortened: one that is too long ends the item instead of making it look hung.
  if ((record.retryAfterMs ?? 0) > rules.maxRetryAfterMs) return { next: 'fail', record };
  return { next: 'later', delayMs: backoffMs(rules, entry.attempts - 1, random, record.retryAfterMs) };
}

/** Nobody knows if it was executed, and it must not be executed twice: only the user can decide. */
export function inDoubt(record: FailureRecord): FailureRecord {
  if (record.code !== 'NETWORK' && record.code !== 'TIMEOUT' && record.code !== 'WORKER_LOST') return record;
  return {
    code: 'IN_DOUBT',
    name: 'InDoubtError',
    message: `The request was sent and may have been executed, and it is not idempotent, so it was not sent again. ${record.message}`,
    ...(record.status === undefined ? {} : { status: record.status }),
    possiblyExecuted: true,
    cause: {
      name: record.name,
      message: record.message,
      code: record.code,
      ...(record.cause === undefined ? {} : { cause: record.cause }),
    },
  };
}

/** The upstream's rate limit has the last word. */
export function refusedForGood(record: Partial<FailureRecord> | undefined, why: string): FailureRecord {
  return {
    code: 'RATE_LIMITED',
    name: 'RateLimitError',
    message: `The upstream's rate limit did not let the request through: ${why}.`,
    ...(record?.status === undefined ? {} : { status: record.status }),
    ...(record?.retryAfterMs === undefined ? {} : { retryAfterMs: record.retryAfterMs }),
    possiblyExecuted: false,
    ...(record?.cause === undefined ? {} : { cause: record.cause }),
  };
}
