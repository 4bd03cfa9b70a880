import type { BatchResult } from '../engine.ts';
import type { HttpValue, Outcome } from '../types.ts';
import { type KisBody, readBody } from './body.ts';
import type { KisItem } from './requests.ts';

/** What the batch methods of the client resolve to. */
export interface KisResult extends BatchResult<KisBody> {
  /** The items as they were given, so that an outcome can be told from another: `outcomes[n]` is of `items[n]`. */
  readonly items: readonly KisItem[];
}

/** An outcome of the client's handler module, with the body in place of the HTTP answer. */
export function bodyOutcome(outcome: Outcome<HttpValue>): Outcome<KisBody> {
  if (!outcome.ok) return outcome;
  // The classifier lets nothing else pass for a success of the API.
  return { ...outcome, value: readBody(outcome.value.body) as unknown as KisBody };
}
