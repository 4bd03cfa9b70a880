import { randomInt } from 'node:crypto';
import type { TestContext } from 'node:test';

/** A seed of its own in every run, unless one is asked for. It is printed. */
export function chooseSeed(t: TestContext): number {
  const seed = Number(process.env.SLUICEGATE_SEED ?? randomInt(2 ** 31));
  t.diagnostic(`seed ${seed}; to run it again: SLUICEGATE_SEED=${seed}`);
  return seed;
}
