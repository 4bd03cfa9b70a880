import { setTimeout as sleep } from 'node:timers/promises';

/** Distance between the starts of runs that go side by side, so that their bursts do not meet. */
const STAGGER_MS = 83;
/** Runs that are made ready at the same time. */
const OPENING = 8;

/** Something that waits most of the time, so that it can be measured while others are. */
export interface SideRun<Result> {
  measure(): Promise<Result>;
  close(): Promise<void>;
}

/**
 * Measure runs side by side. All are opened and warmed up before the first one starts, and they start one after the
 * other.
 */
export async function sideBySide<Result>(
  openers: readonly (() => Promise<SideRun<Result>>)[],
  staggerMs = STAGGER_MS,
): Promise<Result[]> {
  const runs: SideRun<Result>[] = [];
  try {
    for (let from = 0; from < openers.length; from += OPENING) {
      const opened = await Promise.allSettled(openers.slice(from, from + OPENING).map((open) => open()));
      runs.push(...opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])));
      const failed = opened.find((one) => one.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    }
    return await Promise.all(
      runs.map(async (run, place) => {
        await sleep(place * staggerMs);
        return run.measure();
      }),
    );
  } finally {
    await Promise.all(runs.map((run) => run.close()));
  }
}
