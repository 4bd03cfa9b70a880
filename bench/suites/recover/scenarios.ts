import { type EngineOptions, presets } from '../../../lib/index.ts';
import type { SimulatorOptions } from '../../../lib/simulator/index.ts';
import type { IdealSettings } from '../../harness/ideal.ts';
import type { Storm } from '../../harness/limited-run.ts';
import { CONSERVATIVE } from '../core/conservative.ts';

/** One thing that goes wrong, and the rate that everybody keeps meanwhile. */
export interface Scenario {
  readonly name: string;
  readonly items: number;
  readonly quickItems: number;
  readonly server: SimulatorOptions;
  readonly storm?: Storm;
  readonly engine: EngineOptions;
  readonly ideal: IdealSettings;
  /** Requests per second of the peers. */
  readonly peerRate: number;
}

const conservative = {
  items: 100,
  quickItems: 60,
  engine: presets.conservative,
  ideal: CONSERVATIVE,
  peerRate: CONSERVATIVE.tokens,
} as const;

export const SCENARIOS: readonly Scenario[] = [
  {
    ...conservative,
    name: 'requests 50, 51, 52',
    server: { limit: 20, refusal: '429', serviceTimeMs: [5, 30], faults: [{ kind: '429', at: [50, 51, 52] }] },
  },
  {
    name: '3% at random',
    items: 1000,
    quickItems: 150,
    server: { limit: 100, refusal: '429', serviceTimeMs: [5, 30], faults: [{ kind: '429', probability: 0.03 }] },
    // Few in flight and evenly spaced, as for anybody who is refused without reason.
    engine: { rate: { limit: 100, windowMs: 1000, spacing: 'even', arrivalWithinMs: 50 }, concurrency: 4, threads: 2 },
    ideal: { tokens: 100, windowMs: 1000, arrivalWithinMs: 50, gapMs: 10, concurrency: 4 },
    peerRate: 100,
  },
  {
    ...conservative,
    name: 'a burst of 429, Retry-After 2',
    server: { limit: 20, refusal: '429', serviceTimeMs: [5, 30] },
    storm: { afterMs: 2_000, durationMs: 300, fault: { kind: '429', retryAfter: 2 } },
  },
];
