import type { EngineOptions, RateLimit } from './options.ts';
import { engineOptionsSchema, MAX_CONCURRENCY, parseOptions } from './options-schema.ts';

/** A part of the engine's options, frozen: pass it on as it is, or spread it beside options of your own. */
export interface Preset extends EngineOptions {
  readonly rate: RateLimit;
  readonly concurrency: number;
}

function preset(rate: RateLimit, concurrency: number): Preset {
  return Object.freeze({ rate: Object.freeze(rate), concurrency });
}

/**
 * 12 requests per second, 3 in flight, for an upstream that allows 15 or more per second. 69 ms is 1 / (12 x 1.2) s:
 * starts are spread over most of the second and still leave room for 12 of them.
 */
const conservative = preset({ limit: 15, windowMs: 1000, safetyMargin: 0.8, spacing: 69, arrivalWithinMs: 50 }, 3);

/**
 * All that the upstream allows: no margin, no spacing, nothing assumed of the network, as many in flight as the window
 * holds (at most 65 536).
 *
 * @param limit requests per window
 * @param windowMs length of the window in milliseconds
 * @throws InvalidOptionError if one of them is out of range
 */
function exact(limit: number, windowMs: number): Preset {
  parseOptions(engineOptionsSchema, { rate: { limit, windowMs } });
  return preset({ limit, windowMs }, Math.min(limit, MAX_CONCURRENCY));
}

/** Ready-made options. */
export const presets = Object.freeze({ conservative, exact });
