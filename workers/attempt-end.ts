import { type ChunkTask, END } from '../lib/protocol.ts';
import { judge } from '../lib/recover/classify.ts';
import { type FailureRecord, read } from '../lib/recover/error-record.ts';
import { abortedRecord, starvedRecord, timeoutRecord, uncloneableRecord } from '../lib/recover/stop-records.ts';
import { CAUSE } from '../lib/shared/gate.ts';
import type { Settled } from '../lib/types.ts';
import { Attempt } from './attempt.ts';
import { isTooDeep, MAX_DEPTH } from './depth.ts';
import type { LaneHost } from './lane-host.ts';
import { type TokenEnd, tokenEnd } from './token-end.ts';

/** What the lane knows of an attempt whose handler has come back. */
export interface Standing {
  /** It waits for a further token. */
  readonly isAcquiring: boolean;
  /** How often its item has got new credentials. */
  readonly refreshes: number;
}

/** One of `END`, and the value or the record that goes with it. */
export interface AttemptEnd {
  readonly end: number;
  readonly value: unknown;
}

/** Settle the tokens of an attempt, tell the thread what it means for everybody, and say how it ended. */
export function endOf(
  thread: LaneHost,
  chunk: ChunkTask,
  settled: Settled,
  attempt: Attempt,
  { isAcquiring, refreshes }: Standing,
  endNs: bigint,
): AttemptEnd {
  const { reportsSent } = thread.handler.traits;
  const isSent = Attempt.isSent(attempt) || !reportsSent;
  const stopReason = settled.ok ? undefined : Attempt.stopReason(attempt);

  if (stopReason === 'CANCELLED' || stopReason === 'ABORTED') {
    settle(thread, attempt, reportsSent ? 'notSent' : 'abandoned', endNs);
    if (stopReason === 'CANCELLED') return { end: END.cancelled, value: undefined };
    return { end: END.aborted, value: abortedRecord(isSent) };
  }

  // The error speaks of one request. Of an attempt that has sent one, or gone on to the next, it does not say all.
  const notSent =
    !settled.ok &&
    !Attempt.isSent(attempt) &&
    (reportsSent || (!Attempt.hasFurther(attempt) && read(settled.error, 'notSent') === true));
  const judgement = judge(settled, thread.classifiers, isSent && !notSent, thread.table);

  // A refusal that comes too late is one all the same.
  if (stopReason === 'TIMEOUT' && judgement.verdict !== 'rate-limit') {
    settle(thread, attempt, reportsSent ? 'notSent' : 'abandoned', endNs);
    if (isAcquiring) return { end: END.retry, value: starvedRecord(Number(thread.acquireTimeoutNs) / 1e6, isSent) };
    const record = timeoutRecord(Number(thread.timeoutNs) / 1e6, isSent);
    countFailure(thread, record, chunk, endNs);
    return { end: END.retry, value: record };
  }

  const isGood = judgement.verdict === (settled.ok ? 'ok' : 'rate-limit');
  settle(thread, attempt, tokenEnd(settled, isGood, notSent || (!settled.ok && reportsSent)), endNs);

  const quietMs = thread.believeQuota(judgement.quotaResetMs, judgement.ignoredHints);
  if (judgement.verdict === 'rate-limit') {
    const { record } = judgement;
    // The hints of a refusal always count. The draft of the RateLimit fields: Retry-After takes precedence.
    if (record.retryAfterMs === undefined && quietMs !== undefined) record.retryAfterMs = quietMs;
    thread.closeGate(chunk.generation, CAUSE.refused, record.retryAfterMs, endNs);
    countFailure(thread, record, chunk, endNs);
    return { end: END.refused, value: record };
  }
  if (quietMs !== undefined && thread.obeysQuota) thread.closeGate(chunk.generation, CAUSE.quota, quietMs, endNs);
  if (judgement.verdict === 'ok') {
    if (!chunk.isProbe) thread.countSuccess();
    const value = settled.ok ? settled.value : undefined;
    if (!isTooDeep(value)) return { end: END.ok, value };
    const cause = { name: 'RangeError', message: `It is nested more than ${MAX_DEPTH} deep.` };
    return { end: END.fatal, value: uncloneableRecord(cause) };
  }
  const { record, verdict } = judgement;
  countFailure(thread, record, chunk, endNs);
  if (verdict === 'stale' && thread.mayRefresh(record, refreshes)) {
    thread.closeGate(chunk.generation, CAUSE.credentials, undefined, endNs);
    return { end: END.stale, value: record };
  }
  return { end: verdict === 'retry' ? END.retry : END.fatal, value: record };
}

/** Probes are judged on the main thread. */
function countFailure(thread: LaneHost, record: FailureRecord, chunk: ChunkTask, nowNs: bigint): void {
  if (!chunk.isProbe) thread.countFailure(record, chunk.generation, nowNs);
}

function settle(thread: LaneHost, attempt: Attempt, how: TokenEnd, nowNs: bigint): void {
  if (Attempt.settle(attempt, how, nowNs)) thread.waiter?.look();
}
