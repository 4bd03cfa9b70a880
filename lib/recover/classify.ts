import { types } from 'node:util';
import { ERROR_CODES, type ErrorCode } from '../errors.ts';
import type { Classify, DetailedVerdict, Settled, Verdict } from '../types.ts';
import {
  codeOf,
  type FailureRecord,
  MAX_UPSTREAM_CODE_CHARS,
  positiveOf,
  read,
  readFlag,
  readString,
  retryAfterOf,
  statusOf,
  toFailureRecord,
} from './error-record.ts';
import type { RecoveryTable } from './recovery-table.ts';

const VERDICTS: readonly string[] = ['ok', 'rate-limit', 'retry', 'fatal'] satisfies Verdict[];

/** What the upstream said of its quota, whatever the verdict. */
interface QuotaHint {
  readonly quotaResetMs?: number | undefined;
  readonly ignoredHints?: number | undefined;
}

/** What is to become of an attempt whose handler has come back. `stale`: its credentials are to be refreshed first. */
export type Judgement = QuotaHint &
  (
    | { readonly verdict: 'ok' }
    | { readonly verdict: 'rate-limit' | 'retry' | 'fatal' | 'stale'; readonly record: FailureRecord }
  );

const OK: Judgement = { verdict: 'ok' };
const OK_VERDICT: DetailedVerdict = { verdict: 'ok' };

/** The rules for what a module's own `classify` leaves open. */
export function classifyByDefault(settled: Settled): DetailedVerdict {
  if (settled.ok) return OK_VERDICT;
  switch (codeOf(settled.error)) {
    case 'RATE_LIMITED':
      return { verdict: 'rate-limit', retryAfterMs: retryAfterOf(settled.error) };
    case 'NETWORK':
    case 'TIMEOUT':
    case 'INVALID_RESPONSE':
      return { verdict: 'retry', retryAfterMs: retryAfterOf(settled.error) };
    default:
      return { verdict: 'fatal' };
  }
}

/**
 * Ask the classifiers in turn; the first that has a verdict decides. A classifier that throws, or says something that
 * is no verdict, makes the item fail with `HANDLER`: its answer could not be judged, so it must not pass for a success.
 * A rule of the user's in the recovery table has the last word, but for refusals: those always stop everybody.
 */
export function judge(
  settled: Settled,
  classifiers: readonly Classify[],
  possiblyExecuted: boolean,
  table: RecoveryTable,
): Judgement {
  let found: DetailedVerdict | undefined;
  for (const classify of classifiers) {
    let said: unknown;
    try {
      said = classify(settled);
    } catch (error) {
      return { verdict: 'fatal', record: { ...toFailureRecord(error, possiblyExecuted), code: 'HANDLER' } };
    }
    if (said === undefined) continue;
    found = toVerdict(said);
    if (found === undefined) {
      // A rejection that nobody hears would end the thread.
      if (types.isPromise(said)) said.catch(() => {});
      return { verdict: 'fatal', record: unjudged('classify did not return a verdict.', possiblyExecuted) };
    }
    break;
  }
  found ??= classifyByDefault(settled);
  if (found.verdict === 'ok') {
    if (settled.ok) return found === OK_VERDICT ? OK : { verdict: 'ok', ...quotaHintOf(found) };
    return { verdict: 'fatal', record: unjudged('classify called a rejection "ok".', possiblyExecuted) };
  }
  const record = settled.ok ? recordOfAnswer(settled.value, found) : toFailureRecord(settled.error, possiblyExecuted);
  if (found.verdict === 'rate-limit') {
    record.code = 'RATE_LIMITED';
    record.possiblyExecuted = false;
  } else if (found.code !== undefined && ERROR_CODES.includes(found.code)) {
    record.code = found.code;
  }
  if (found.message !== undefined) record.message = found.message;
  if (found.retryAfterMs !== undefined) record.retryAfterMs = found.retryAfterMs;
  if (found.upstreamCode !== undefined) record.upstreamCode = found.upstreamCode;
  if (found.possiblyExecuted !== undefined && found.verdict !== 'rate-limit') {
    record.possiblyExecuted = found.possiblyExecuted;
  }
  return { verdict: overruled(found.verdict, record, table), record, ...quotaHintOf(found) };
}

/** What the user's rule for this error makes of the verdict. */
function overruled(
  verdict: Exclude<Verdict, 'ok'>,
  record: FailureRecord,
  table: RecoveryTable,
): Exclude<Judgement['verdict'], 'ok'> {
  if (verdict === 'rate-limit') return verdict;
  const { rule, isUsers } = table.find(record);
  if (!isUsers) return verdict;
  if (rule.actions.includes('refresh-credentials')) return 'stale';
  if (rule.actions.includes('fail-fast')) return 'fatal';
  return rule.actions.includes('retry') ? 'retry' : verdict;
}

function quotaHintOf({ quotaResetMs, ignoredHints }: DetailedVerdict): QuotaHint {
  return quotaResetMs === undefined && ignoredHints === undefined ? {} : { quotaResetMs, ignoredHints };
}

/** What a classifier said, each property read once: it may have getters that throw or change their minds. */
function toVerdict(said: unknown): DetailedVerdict | undefined {
  const verdict = typeof said === 'object' ? read(said, 'verdict') : said;
  if (said === 'ok') return OK_VERDICT;
  if (typeof verdict !== 'string' || !VERDICTS.includes(verdict)) return undefined;
  return {
    verdict: verdict as Verdict,
    retryAfterMs: retryAfterOf(said),
    code: readString(said, 'code') as ErrorCode | undefined,
    message: readString(said, 'message'),
    upstreamCode: readString(said, 'upstreamCode', MAX_UPSTREAM_CODE_CHARS),
    possiblyExecuted: readFlag(said, 'possiblyExecuted'),
    quotaResetMs: positiveOf(said, 'quotaResetMs'),
    ignoredHints: positiveOf(said, 'ignoredHints'),
  };
}

/** An answer came, but it is not a success. */
function recordOfAnswer(value: unknown, found: DetailedVerdict): FailureRecord {
  const status = statusOf(value);
  const isStatus = status !== undefined && status >= 400;
  const code: ErrorCode = isStatus ? 'HTTP_STATUS' : 'INVALID_RESPONSE';
  return {
    code,
    name: 'ItemError',
    message: isStatus
      ? `The upstream answered with status ${status}.`
      : `The answer was classified as ${found.verdict}.`,
    ...(status === undefined ? {} : { status }),
    // A client error is the upstream's word that it did not do it; of anything else nobody knows.
    possiblyExecuted: !(isStatus && status < 500),
  };
}

function unjudged(message: string, possiblyExecuted: boolean): FailureRecord {
  return { code: 'HANDLER', name: 'TypeError', message, possiblyExecuted };
}
