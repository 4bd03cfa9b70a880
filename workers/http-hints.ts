import { mayHaveRateHints, readRateHints } from '../lib/recover/rate-hints.ts';
import type { DetailedVerdict, HttpValue } from '../lib/types.ts';

/** The part of a verdict that the fields of an answer tell. What they do not tell is not there. */
export type Hints = Pick<DetailedVerdict, 'retryAfterMs' | 'quotaResetMs' | 'ignoredHints'>;

/** Read the hints of an answer; `undefined` for the many that have none. */
export function hintsOf({ headers }: HttpValue, isRefusal: boolean): Hints | undefined {
  if (!mayHaveRateHints(headers)) return undefined;
  const { ignored, ...hints } = readRateHints(headers, Date.now(), isRefusal);
  if (ignored > 0) return { ...hints, ignoredHints: ignored };
  return hints.retryAfterMs === undefined && hints.quotaResetMs === undefined ? undefined : hints;
}
