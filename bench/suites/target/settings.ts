import { type EngineOptions, presets } from '../../../lib/index.ts';
import type { IdealSettings } from '../../harness/ideal.ts';
import { idealElapsedMs } from '../../harness/ideal.ts';
import { type LimitedPlan, type LimitedResult, mean, serviceTimesMs } from '../../harness/limited-run.ts';
import { CONSERVATIVE } from '../core/conservative.ts';

/** An engine's options, what they come to, and the limit of the server that they are for. */
export interface Setting {
  readonly name: string;
  readonly engine: EngineOptions;
  readonly ideal: IdealSettings;
  readonly serverLimit: number;
  /** Requests that must arrive in each full second. */
  readonly band: { readonly from: number; readonly to: number } | undefined;
}

const WINDOW_MS = 1000;

const exactly = (limit: number): Setting => ({
  name: `exact ${limit}/s`,
  engine: presets.exact(limit, WINDOW_MS),
  ideal: { tokens: limit, windowMs: WINDOW_MS, concurrency: limit },
  serverLimit: limit,
  band: undefined,
});

export const SETTINGS: readonly Setting[] = [
  {
    name: 'conservative',
    engine: presets.conservative,
    ideal: CONSERVATIVE,
    serverLimit: 20,
    band: { from: 10, to: 12 },
  },
  exactly(18),
  exactly(20),
];

/** A batch of a KIS client with one of the settings, against 5 to 30 ms of service time. */
export function planFor({ name, engine, serverLimit }: Setting, items: number): LimitedPlan {
  return { name, items, engine, api: 'kis', server: { limit: serverLimit, serviceTimeMs: [5, 30] } };
}

/** How much longer than without any overhead, in percent. */
export function percentOverIdeal({ ideal }: Setting, { elapsedMs, arrivals }: LimitedResult): number {
  return (elapsedMs / idealElapsedMs(ideal, serviceTimesMs(arrivals)) - 1) * 100;
}

/** What the tokens allow in the long run, N / (W + min(RTT, arrivalWithin)), with the times that the client measured. */
export function possiblePerSecond({ ideal }: Setting, { responsesMs }: LimitedResult): number {
  const { tokens, windowMs, arrivalWithinMs = Number.POSITIVE_INFINITY } = ideal;
  return (tokens * 1e3) / (windowMs + mean(responsesMs.map((ms) => Math.min(ms, arrivalWithinMs))));
}
