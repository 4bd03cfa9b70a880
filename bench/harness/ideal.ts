/** What limits an engine that has no overhead. */
export interface IdealSettings {
  readonly tokens: number;
  readonly windowMs: number;
  /** The longest that a token waits for its answer before it rests. Default: until the answer. */
  readonly arrivalWithinMs?: number;
  /** Least distance between two starts. Default 0. */
  readonly gapMs?: number;
  readonly concurrency: number;
}

/**
 * The least possible time for requests that take these times, in their order: the same settings and the same delays in
 * virtual time, by an engine that costs nothing on a network without delay.
 */
export function idealElapsedMs(settings: IdealSettings, serviceMs: readonly number[]): number {
  const { tokens, windowMs, arrivalWithinMs = Number.POSITIVE_INFINITY, gapMs = 0, concurrency } = settings;
  const tokenFreeMs = new Array<number>(tokens).fill(0);
  const laneFreeMs = new Array<number>(concurrency).fill(0);
  let nextStartMs = 0;
  let endMs = 0;
  for (const service of serviceMs) {
    const token = indexOfLeast(tokenFreeMs);
    const lane = indexOfLeast(laneFreeMs);
    const startMs = Math.max(nextStartMs, tokenFreeMs[token] ?? 0, laneFreeMs[lane] ?? 0);
    tokenFreeMs[token] = startMs + Math.min(service, arrivalWithinMs) + windowMs;
    laneFreeMs[lane] = startMs + service;
    nextStartMs = startMs + gapMs;
    endMs = Math.max(endMs, startMs + service);
  }
  return endMs;
}

function indexOfLeast(values: readonly number[]): number {
  let least = 0;
  values.forEach((value, index) => {
    if (value < (values[least] ?? value)) least = index;
  });
  return least;
}
