import { END } from '../protocol.ts';
import { type BackoffOptions, backoffMs } from '../recover/backoff.ts';
import type { FailureRecord } from '../recover/error-record.ts';
import type { FoundRule } from '../recover/recovery-table.ts';
import type { WorkItem } from './work-queue.ts';

/** The rules of trying again. */
export interface RetryRules extends BackoffOptions {
  readonly scope: 'unfinished' | 'batch';
  readonly maxAttempts: number;
  readonly maxRefusals: number;
  readonly maxRetryAfterMs: number;
}

/** What the rule for an error makes of the rules of trying again. */
export function rulesFor({ rule, isUsers }: FoundRule, rules: RetryRules): RetryRules {
  const isFinal = isUsers && rule.actions.includes('fail-fast');
  const maxAttempts = isFinal ? 1 : rule.maxAttempts;
  const waits = !isUsers || rule.actions.includes('wait') || !rule.actions.includes('retry');
  if (maxAttempts === undefined && waits) return rules;
  return {
    ...rules,
    ...(maxAttempts === undefined ? {} : { maxAttempts, maxRefusals: maxAttempts }),
    ...(waits ? {} : { initialMs: 0 }),
  };
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
 * @param entry Is changed: attempts, refusals, refreshes, possiblyExecuted.
 * @param isIdempotent May the item be sent twice?
 * @param random A number from 0 to 1, for the jitter.
 * @param stretch By how much the backoff is longer than usual.
 */
export function decide(
  end: number,
  record: FailureRecord | undefined,
  isIdempotent: boolean,
  entry: WorkItem,
  rules: RetryRules,
  random: number,
  stretch = 1,
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
      return decideRetry(record, isIdempotent, entry, rules, random, stretch);
    case END.stale:
      return decideStale(record, isIdempotent, entry, rules);
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
  stretch: number,
): Decision {
  entry.attempts++;
  if (record.possiblyExecuted) {
    if (!isIdempotent) return { next: 'fail', record: inDoubt(record) };
    entry.possiblyExecuted = true;
  }
  const tries = entry.attempts - entry.refreshes;
  if (tries >= rules.maxAttempts) return { next: 'fail', record };
  // A hint is never shortened: one that is too long ends the item instead of making it look hung.
  if ((record.retryAfterMs ?? 0) > rules.maxRetryAfterMs) return { next: 'fail', record };
  return { next: 'later', delayMs: backoffMs(rules, tries - 1, random, record.retryAfterMs, stretch) };
}

/** Its credentials were refused, and are fresh when it runs again. */
function decideStale(record: FailureRecord, isIdempotent: boolean, entry: WorkItem, rules: RetryRules): Decision {
  entry.attempts++;
  entry.refreshes++;
  if (record.possiblyExecuted) {
    if (!isIdempotent) return { next: 'fail', record: inDoubt(record) };
    entry.possiblyExecuted = true;
  }
  return entry.refreshes >= rules.maxAttempts ? { next: 'fail', record } : { next: 'front' };
}

/** Nobody knows if it was executed, and it must not be executed twice: only the user can decide. */
export function inDoubt(record: FailureRecord): FailureRecord {
  if (record.code !== 'NETWORK' && record.code !== 'TIMEOUT' && record.code !== 'WORKER_LOST') return record;
  return {
    code: 'IN_DOUBT',
    name: 'InDoubtError',
    message: `The request was sent and may have been executed, and it is not idempotent, so it was not sent again. ${record.message}`,
    ...(record.upstreamCode === undefined ? {} : { upstreamCode: record.upstreamCode }),
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
    ...(record?.upstreamCode === undefined ? {} : { upstreamCode: record.upstreamCode }),
    ...(record?.status === undefined ? {} : { status: record.status }),
    ...(record?.retryAfterMs === undefined ? {} : { retryAfterMs: record.retryAfterMs }),
    possiblyExecuted: false,
    ...(record?.cause === undefined ? {} : { cause: record.cause }),
  };
}
