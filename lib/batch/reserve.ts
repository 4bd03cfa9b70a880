import type { ResolvedOptions } from '../resolve-options.ts';

/** With a limit, chunks in reserve cover a main thread that is blocked for this long. */
const RESERVE_SECONDS = 0.25;

/** Chunks that may wait in threads: one per lane; with a limit no more than it lets through in a moment. */
export function reserveOf({ rate, concurrency }: Pick<ResolvedOptions, 'rate' | 'concurrency'>): number {
  const perSecond = Math.min(...rate.map(({ tokens, windowMs }) => (tokens * 1e3) / windowMs));
  return Math.max(1, Math.min(concurrency, Math.ceil(perSecond * RESERVE_SECONDS)));
}
