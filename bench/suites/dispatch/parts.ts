import type { Timing } from '../../harness/alternate.ts';
import { atLeast, type Part, type Target } from '../../harness/suite.ts';
import {
  bareThreads,
  CHUNK,
  IN_WORK,
  piscinaAllAtOnce,
  piscinaChunks,
  piscinaInTurn,
  poolifier,
  sluicegatePool,
  THREADS,
  tinypool,
  workerPool,
} from './contenders.ts';
import { dispatchRows, type Entry, measureDispatch, perItemMs, piscinaPerItemMs, ratioChart } from './measure.ts';

const ITEMS = 200_000;
const PEER_ITEMS = 12_500;
const GOAL_PER_SECOND = 1.5e6;
const GOAL_TIMES = 25;

/** About so long is a run of items that take time: short enough for many, long enough for a start and an end. */
const RUN_MS = 200;
/** From this on an item's own time is what counts. */
const LONG_US = 1000;
const GOAL_SHARE_PERCENT = 95;

/** Items that are no work at all: all that is left is what the engine and the pools do. */
export const noOp: Part = {
  name: 'no-op',
  title: `no-op items, ${THREADS} threads, ${IN_WORK} in work`,
  async run(mode) {
    const { timings, note } = await measureDispatch(
      {
        us: 0,
        rounds: 10,
        warmUps: 3,
        entries: [{ open: sluicegatePool, items: ITEMS }, { open: piscinaChunks, items: ITEMS }, ...peers(PEER_ITEMS)],
      },
      mode,
    );
    const ownMs = perItemMs(sluicegateOf(timings));
    return {
      tables: [
        {
          title: 'no-op items',
          rows: dispatchRows(timings),
          notes: [
            'times piscina.run: against the faster of its two ways, by the medians',
            "piscina: atomics 'disabled', recordTiming false, no idle timeout; every pool: all threads kept, results checked inside the time",
            `the chunks of ${CHUNK} carry values only: no limit, no outcome, no recovery, no accounting; what messages alone cost`,
            note,
          ],
        },
      ],
      targets: [
        atLeast('dispatch, no-op: items per second', 1e3 / ownMs, GOAL_PER_SECOND, '1/s'),
        atLeast('dispatch, no-op: times piscina.run per item', piscinaPerItemMs(timings) / ownMs, GOAL_TIMES, 'x'),
      ],
      charts: [ratioChart('No-op items: times as fast as piscina.run', timings)],
    };
  },
};

/** Items that take CPU time, beside what two threads can do that have nothing else to do. */
export function spinning(name: string, us: number): Part {
  return {
    name,
    title: `items of ${us} us CPU, ${THREADS} threads, ${IN_WORK} in work`,
    async run(mode) {
      const items = Math.round((RUN_MS * 1e3 * THREADS) / us);
      const few = Math.min(items, PEER_ITEMS / 2);
      const { timings, note } = await measureDispatch(
        {
          us,
          rounds: 6,
          warmUps: 2,
          entries: [{ open: sluicegatePool, items }, { open: bareThreads, items }, ...peers(few)],
        },
        mode,
      );
      const bare = timings[1];
      const bareMs = bare === undefined ? Number.NaN : perItemMs(bare);
      const targets: Target[] = [];
      if (us >= LONG_US) {
        const share = (bareMs / perItemMs(sluicegateOf(timings))) * 100;
        targets.push(atLeast(`dispatch, ${us} us: share of two cores' worth`, share, GOAL_SHARE_PERCENT, '%'));
      }
      return {
        tables: [
          {
            title: `items of ${us} us`,
            rows: timings
              .toSorted((a, b) => perItemMs(a) - perItemMs(b))
              .map((timing, place) => ({
                ...dispatchRows(timings)[place],
                'share of two cores %': (bareMs / perItemMs(timing)) * 100,
              })),
            notes: [
              "an item is a loop of fixed length, calibrated on the main thread; two bare threads: two cores' worth",
              note,
            ],
          },
        ],
        targets,
        charts: [ratioChart(`Items of ${us} us: times as fast as piscina.run`, timings)],
      };
    },
  };
}

function peers(items: number): Entry[] {
  return [piscinaAllAtOnce, piscinaInTurn, tinypool, workerPool, poolifier].map((open) => ({ open, items }));
}

function sluicegateOf(timings: readonly Timing[]): Timing {
  const own = timings[0];
  if (own === undefined) throw new Error('Nothing was timed.');
  return own;
}
