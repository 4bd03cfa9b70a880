import type { Arrival } from '../../../lib/simulator/index.ts';
import type { IdealSettings } from '../../harness/ideal.ts';
import { mean, serviceTimesMs } from '../../harness/limited-run.ts';

/** What `presets.conservative` comes to. */
export const CONSERVATIVE = {
  tokens: 12,
  windowMs: 1000,
  arrivalWithinMs: 50,
  gapMs: 69,
  concurrency: 3,
} satisfies IdealSettings;

/**
 * The least possible time with the conservative preset: every token goes round once per window and service time, and
 * the items that are left for the last round start a gap apart.
 */
export function conservativeLeastMs(items: number, arrivals: readonly Arrival[]): number {
  const { tokens, windowMs, gapMs } = CONSERVATIVE;
  const rounds = Math.floor((items - 1) / tokens);
  const rest = (items - 1) % tokens;
  return rounds * (windowMs + mean(serviceTimesMs(arrivals))) + rest * gapMs;
}
