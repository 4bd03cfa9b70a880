import type { PlannedLimit } from '../../../lib/limit/plan.ts';
import type { TokenBucket } from '../../../lib/limit/token-bucket.ts';

/** The time that is passed in: it stands still, so that no clock is read. */
export const NOW_NS = 1_000_000_000_000n;
export const WINDOW_NS = 1_000_000_000n;
/** Settled a window ago, a token is free again at once. */
export const ANSWERED_NS = NOW_NS - WINDOW_NS;

/** A limit whose tokens are only ever held, never at rest, if they are settled at `ANSWERED_NS`. */
export function alwaysFree(tokens: number): PlannedLimit {
  return {
    tokens,
    windowNs: WINDOW_NS,
    gapNs: 0n,
    arrivalWithinNs: undefined,
    straggleNs: WINDOW_NS,
    initial: 'full',
  };
}

/**
 * Take and settle a token so many times.
 *
 * @returns how often none was free, because others held them all
 */
export function takeAndSettle(bucket: TokenBucket, times: number): number {
  let nowNs = NOW_NS;
  let misses = 0;
  for (let done = 0; done < times; ) {
    const taken = bucket.take(nowNs);
    if (taken === undefined) {
      misses++;
      nowNs = bucket.noneBeforeNs;
      continue;
    }
    bucket.answered(taken.token, undefined, ANSWERED_NS);
    done++;
  }
  return misses;
}
