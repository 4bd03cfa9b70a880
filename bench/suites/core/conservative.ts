import type { Arrival } from '../../../lib/simulator/index.ts';
import { type IdealSettings, idealElapsedMs } from '../../harness/ideal.ts';
import { serviceTimesMs } from '../../harness/limited-run.ts';

/** What `presets.conservative` comes to. */
export const CONSERVATIVE = {
  tokens: 12,
  windowMs: 1000,
  arrivalWithinMs: 50,
  gapMs: 69,
  concurrency: 3,
} satisfies IdealSettings;

/** The least possible time of a batch with the conservative preset, for the service times of the very run. */
export function conservativeLeastMs(items: number, arrivals: readonly Arrival[]): number {
  return idealElapsedMs(CONSERVATIVE, serviceTimesMs(arrivals).slice(0, items));
}
