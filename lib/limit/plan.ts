/** A limit as the buckets work with it. Plain data: it is cloned to the threads. */
export interface PlannedLimit {
  /** Requests that may be counted in one window. */
  readonly tokens: number;
  readonly windowNs: bigint;
  /** Least distance between two starts; 0 for none. */
  readonly gapNs: bigint;
  /** The longest that a request travels before the server counts it; undefined if nothing is assumed. */
  readonly arrivalWithinNs: bigint | undefined;
  /** How much longer a token rests when no answer came. */
  readonly straggleNs: bigint;
  /** Whether the tokens are free at once or only after one window. */
  readonly initial: 'full' | 'empty';
}

/** The resolved options of one limit, in milliseconds. */
export interface LimitOptions {
  readonly tokens: number;
  readonly windowMs: number;
  readonly spacingMs: number;
  readonly arrivalWithinMs: number;
  readonly straggleMs: number;
  readonly initial: 'full' | 'empty';
}

/** Most tokens of one limit. A larger limit becomes a smaller window with fewer tokens, which is stricter, never laxer. */
export const MAX_TOKENS = 65_536;

/** Milliseconds as whole nanoseconds, rounded up: a limit may become stricter by rounding, never laxer. */
export function nsFromMs(ms: number): bigint {
  return BigInt(Math.ceil(ms * 1e6));
}

/**
 * Turn options into tokens and spacing, the scarcest limit first: its tokens are asked for before those of the others,
 * so that what is refused is refused at once.
 */
export function planLimits(limits: readonly LimitOptions[]): PlannedLimit[] {
  return limits
    .toSorted((a, b) => a.tokens / a.windowMs - b.tokens / b.windowMs)
    .map((limit) => {
      const parts = Math.ceil(limit.tokens / MAX_TOKENS);
      return {
        tokens: Math.floor(limit.tokens / parts),
        windowNs: nsFromMs(limit.windowMs / parts),
        gapNs: nsFromMs(limit.spacingMs),
        arrivalWithinNs: Number.isFinite(limit.arrivalWithinMs) ? nsFromMs(limit.arrivalWithinMs) : undefined,
        straggleNs: nsFromMs(limit.straggleMs),
        initial: limit.initial,
      };
    });
}
