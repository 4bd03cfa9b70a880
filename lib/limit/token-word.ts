import type { PlannedLimit } from './plan.ts';

/**
 * The decisions of the token bucket, as pure functions of a token's word and the time.
 *
 * A token is one signed 64-bit word: `t >= 0` means free from time `t` on, `-(threadId + 1)` means held by that thread.
 * N tokens that each rest for a window W after their request was counted are a token bucket that refills token by
 * token, and at the same time an exact sliding window: any N + 1 requests use one token twice, and its two uses are at
 * least W apart. docs/guarantees.md has the proof and its assumptions.
 */

/** The word of a token that this thread holds. */
export function heldBy(threadId: number): bigint {
  return -BigInt(threadId + 1);
}

/** May the token be taken at this time? */
export function isFree(word: bigint, nowNs: bigint): boolean {
  return word >= 0n && word <= nowNs;
}

/**
 * The earliest time at which a token that is not free now can be free. One that is held, or whose answer is still
 * awaited, rests for a window after an answer that cannot come before now. (One given back is the exception.)
 */
export function earliestFreeNs(word: bigint, nowNs: bigint, limit: Pick<PlannedLimit, 'windowNs'>): bigint {
  const afterAnswerNs = nowNs + limit.windowNs;
  return word < 0n || word > afterAnswerNs ? afterAnswerNs : word;
}

/** The word of a token at the moment its request leaves; undefined if it stays held until the answer. */
export function wordWhenSent(
  sentAtNs: bigint,
  limit: Pick<PlannedLimit, 'windowNs' | 'arrivalWithinNs'>,
): bigint | undefined {
  return limit.arrivalWithinNs === undefined ? undefined : sentAtNs + limit.arrivalWithinNs + limit.windowNs;
}

/** The word of a token whose request was answered: by then the server had counted it. */
export function wordWhenAnswered(answeredAtNs: bigint, limit: Pick<PlannedLimit, 'windowNs'>): bigint {
  return answeredAtNs + limit.windowNs;
}

/** The word of a token whose request got no answer: it may still reach the server late. */
export function wordWhenAbandoned(abandonedAtNs: bigint, limit: Pick<PlannedLimit, 'windowNs' | 'straggleNs'>): bigint {
  return abandonedAtNs + limit.windowNs + limit.straggleNs;
}
