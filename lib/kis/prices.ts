import type { BatchSummary } from '../batch/summary.ts';
import { Tally } from '../batch/tally.ts';
import type { FailureRecord } from '../recover/error-record.ts';
import type { FailureDescription } from '../recover/recovery-table.ts';
import { abortedRecord } from '../recover/stop-records.ts';
import type { Failure, Outcome } from '../types.ts';
import { type KisBody, type KisRow, readBody } from './body.ts';
import { NO_DATA_CODES, NOT_OFFERED_CODES, UNKNOWN_SYMBOL_CODE } from './codes.ts';

/** Symbols of one request for many prices. */
export const MAX_MULTI_PRICES = 30;

/**
 * Fields of a row for one of many symbols, and what the price of a single one calls them. All others have the same name
 * in both.
 */
const SINGLE_NAMES: Readonly<Record<string, string>> = {
  inter_shrn_iscd: 'stck_shrn_iscd',
  inter2_prpr: 'stck_prpr',
  inter2_prdy_vrss: 'prdy_vrss',
  inter2_oprc: 'stck_oprc',
  inter2_hgpr: 'stck_hgpr',
  inter2_lwpr: 'stck_lwpr',
  inter2_llam: 'stck_llam',
  inter2_mxpr: 'stck_mxpr',
};

/** The outcome of one symbol, out of that of a request for many; `undefined`: it must be asked for alone. */
export function outcomeOfSymbol(
  outcome: Outcome<KisBody<unknown>>,
  symbol: string,
  index: number,
): Outcome<KisBody> | undefined {
  if (!outcome.ok) return isForOtherRequests(outcome) ? undefined : { ...outcome, index };
  const { output, ...rest } = outcome.value;
  // Rows are told apart by their symbol: which of them are there, and in which order, is up to KIS.
  const row = Array.isArray(output) ? output.map(readBody).find((one) => one?.inter_shrn_iscd === symbol) : undefined;
  return row && { ...outcome, index, value: { ...rest, output: withSingleNames(row as KisRow) } };
}

/** The request for many failed in a way that one for a single symbol need not: there is no such service, or no such symbol. */
function isForOtherRequests(outcome: Outcome): boolean {
  if (outcome.ok) return false;
  const { upstreamCode = '' } = outcome.error;
  return isNotOffered(outcome) || NO_DATA_CODES.has(upstreamCode) || upstreamCode === UNKNOWN_SYMBOL_CODE;
}

/** Is there no request for many prices in this environment? */
export function isNotOffered(outcome: Outcome): boolean {
  return !outcome.ok && (NOT_OFFERED_CODES.has(outcome.error.upstreamCode ?? '') || outcome.error.status === 404);
}

function withSingleNames(row: KisRow): KisRow {
  const named = Object.entries(SINGLE_NAMES).flatMap(([name, single]) => {
    const value = row[name];
    return value === undefined ? [] : [[single, value] as const];
  });
  return { ...row, ...Object.fromEntries(named) };
}

/** The outcome of a symbol whose request never started because the client was closed. */
export function abortedOutcome(index: number, describe: (record: FailureRecord) => FailureDescription): Failure {
  const record = abortedRecord(false);
  const error = { ...record, ...describe(record), attempts: 0 };
  return { ok: false, index, attempts: 0, waitMs: 0, durationMs: 0, threadId: -1, error };
}

/** The summary of symbols that took several batches, one after the other. */
export function summaryOf(outcomes: readonly Outcome[], batches: readonly BatchSummary[]): BatchSummary {
  const sum = (count: (summary: BatchSummary) => number) => batches.reduce((total, one) => total + count(one), 0);
  const tally = new Tally(0);
  for (const outcome of outcomes) {
    tally.count(outcome);
    if (outcome.attempts > 0) tally.time(outcome.waitMs, outcome.durationMs);
  }
  return tally.summary(
    sum(({ elapsedMs }) => elapsedMs),
    {
      rounds: 1 + sum(({ rounds }) => rounds - 1),
      rateLimitEvents: sum(({ rateLimitEvents }) => rateLimitEvents),
      refused: sum(({ refused }) => refused),
      cancelled: sum(({ cancelled }) => cancelled),
      retried: sum(({ retried }) => retried),
      sent: sum(({ requestsSent }) => requestsSent),
    },
  );
}
