import { describeValue, InvalidOptionError } from '../errors.ts';
import type { Outcome } from '../types.ts';
import type { KisBody } from './body.ts';
import { RATE_LIMIT_CODE } from './codes.ts';
import type { KisItem } from './requests.ts';
import type { KisResult } from './result.ts';

/** How the Python model tells of an item that failed. */
export interface KisErrorInfo {
  /** `"EGW00201"` if the rate limit refused it until there were no attempts left, otherwise `"9"`. */
  readonly rt_cd: string;
  readonly msg1: string;
  readonly error: true;
  readonly symbol: string;
  readonly market: string;
  /** The kind of error by the recovery table, such as `RateLimitError`. */
  readonly error_type: string;
  readonly error_details: string;
}

/**
 * The record of the Python model for an item that failed.
 * @throws InvalidOptionError if the outcome is a success
 */
export function toErrorInfo(outcome: Outcome, item: KisItem): KisErrorInfo {
  if (outcome.ok) throw new InvalidOptionError('outcome', 'a success', 'the outcome of an item that failed');
  const { code, type, message } = outcome.error;
  const isRefused = code === 'RATE_LIMITED';
  const [symbol, market] = Array.isArray(item) ? (item as readonly unknown[]) : [item];
  return {
    rt_cd: isRefused ? RATE_LIMIT_CODE : '9',
    msg1: `Error: ${message}`,
    error: true,
    symbol: textOf(symbol),
    market: textOf(market),
    error_type: isRefused ? 'RateLimitError' : type,
    error_details: message,
  };
}

/** The list that the Python model returned: for each item, in order, the body of the answer or the record of the error. */
export function toLegacyList({ outcomes, items }: KisResult): (KisBody | KisErrorInfo)[] {
  return outcomes.map((outcome, at) => (outcome.ok ? outcome.value : toErrorInfo(outcome, items[at] as KisItem)));
}

/** What is no text is what is wrong with the item. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : describeValue(value);
}
