/** How waits grow. */
export interface BackoffOptions {
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
  /** Added on top, as a share of the wait. */
  readonly jitter: number;
}

/**
 * Exponential backoff: `min(maxMs, initialMs * factor^step)` plus up to `jitter` of it, and never less than the
 * upstream's own hint. The jitter comes on top, also of a hint, so that clients that were refused together do not come
 * back together.
 *
 * @param step 0 for the first wait.
 * @param random A number from 0 to 1.
 * @param stretch By how much the wait is to be longer than usual, within `maxMs`.
 */
export function backoffMs(options: BackoffOptions, step: number, random: number, hintMs = 0, stretch = 1): number {
  // After very many steps the power is infinite, and nothing times infinity would be no number.
  const growth = Math.min(options.factor ** step, Number.MAX_VALUE);
  const grownMs = Math.min(options.maxMs, options.initialMs * growth * stretch);
  return Math.max(grownMs, hintMs) * (1 + options.jitter * random);
}
