import type { Settled } from '../lib/types.ts';
import { isGatewayWord } from './returned.ts';

/** What becomes of the tokens of an attempt that its handler has not settled by a word of its own. */
export type TokenEnd =
  /** The upstream has answered: it has counted the requests. */
  | 'answered'
  /** They may still be on their way. */
  | 'abandoned'
  /** Those that were not reported as sent were not sent, and are given back; the others are abandoned. */
  | 'notSent';

/**
 * How the tokens end of an attempt that came to its own end.
 * @param isGood whether nothing is wrong with its value, or its error says that the upstream has refused it.
 * @param notSent whether what was not reported as sent was not.
 */
export function tokenEnd(settled: Settled, isGood: boolean, notSent: boolean): TokenEnd {
  if (isGood || (settled.ok && !isGatewayWord(settled.value))) return 'answered';
  return notSent ? 'notSent' : 'abandoned';
}
