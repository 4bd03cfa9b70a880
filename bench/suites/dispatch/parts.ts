import { perSecond, type Timing } from '../../harness/alternate.ts';
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
import { dispatchRows, type Entry, measureDispatch, ratioChart, timesPiscina } from './measure.ts';

const US = 'sluicegate: engine.run';
const BARE = 'two bare threads, half of the items each';

/** In a batch of no-ops: as many as the slowest does in about as long as a run shall take. */
const NO_OP_ITEMS = 12_500;
/** As many as it takes until the size of the batch costs us nothing more. */
const LARGE_BATCH = 200_000;
const GOAL_PER_SECOND = 1.5e6;
const GOAL_TIMES = 25;
/** Everybody works so long before it counts, however many items that is. */
const WARM_UP_MS = 600;

/** From this on an item's own time is what counts. */
const LONG_US = 1000;
const GOAL_SHARE_PERCENT = 95;

const PEERS: readonly Entry[] = [
  { name: 'piscina.run per item, all at once', open: piscinaAllAtOnce },
  { name: `piscina.run per item, ${IN_WORK} at a time`, open: piscinaInTurn },
  { name: 'tinypool.run per item', open: tinypool },
  { name: 'workerpool.exec per item', open: workerPool },
  { name: 'poolifier.mapExecute', open: poolifier },
];

/** Items that are no work at all: all that is left is what the engine and the pools do. */
export const noOp: Part = {
  name: 'no-op',
  title: `no-op items, ${THREADS} threads, ${IN_WORK} in work`,
  async run(mode) {
    const { timings, failures, note } = await measureDispatch(
      {
        us: 0,
        items: NO_OP_ITEMS,
        rounds: 7,
        warmUps: 3,
        warmUpMs: WARM_UP_MS,
        entries: [
          { name: US, open: sluicegatePool, batches: LARGE_BATCH / NO_OP_ITEMS },
          { name: `${US}, ${LARGE_BATCH.toLocaleString('en-US')} at once`, open: sluicegatePool, items: LARGE_BATCH },
          { name: `piscina.run per ${CHUNK} items, values only`, open: piscinaChunks, batches: 32 },
          ...PEERS,
        ],
      },
      mode,
    );
    const own = find(timings, US);
    return {
      tables: [
        {
          title: `no-op items in batches of ${NO_OP_ITEMS.toLocaleString('en-US')}`,
          rows: dispatchRows(timings),
          notes: [
            'times piscina.run: against the faster of its two ways, by the medians',
            'batches of the same size for everybody, but for the row that says otherwise; a run of a quick one is several of them, one after the other',
            `everybody worked ${WARM_UP_MS} ms and three runs before the first that counts`,
            "piscina: atomics 'disabled', recordTiming false, no idle timeout; every pool: all threads kept, results checked inside the time",
            `the chunks of ${CHUNK} carry values only: no limit, no outcome, no recovery, no accounting; what messages alone cost`,
            note,
          ],
        },
      ],
      failures,
      targets: [
        atLeast('dispatch, no-op: items per second', perSecond(own), GOAL_PER_SECOND, '1/s'),
        atLeast('dispatch, no-op: times piscina.run per item', timesPiscina(own, timings), GOAL_TIMES, 'x'),
      ],
      charts: [ratioChart('No-op items: times as fast as piscina.run', timings)],
    };
  },
};

export interface SpinPlan {
  readonly name: string;
  /** CPU time of an item. */
  readonly us: number;
  /** In a batch, and so in a run, for everybody. */
  readonly items: number;
  readonly rounds: number;
}

/** Items that take CPU time, beside what two threads can do that have nothing else to do. */
export function spinning({ name, us, items, rounds }: SpinPlan): Part {
  return {
    name,
    title: `items of ${us} us CPU, ${THREADS} threads, ${IN_WORK} in work`,
    async run(mode) {
      const { timings, failures, note } = await measureDispatch(
        {
          us,
          items: mode.isQuick ? Math.ceil(items / 10) : items,
          rounds,
          warmUps: 1,
          warmUpMs: WARM_UP_MS,
          entries: [{ name: US, open: sluicegatePool }, { name: BARE, open: bareThreads }, ...PEERS],
        },
        mode,
      );
      const bare = perSecond(find(timings, BARE));
      const share = (timing: Timing) => (perSecond(timing) / bare) * 100;
      const targets: Target[] = [];
      if (us >= LONG_US) {
        targets.push(
          atLeast(`dispatch, ${us} us: share of two cores' worth`, share(find(timings, US)), GOAL_SHARE_PERCENT, '%'),
        );
      }
      return {
        tables: [
          {
            title: `items of ${us} us`,
            rows: dispatchRows(timings, (timing) => ({ 'share of two cores %': share(timing) })),
            notes: [
              'an item is a loop of fixed length, calibrated on the main thread',
              "two bare threads: two cores' worth; they call the same function item by item and bring back the values, in one message each",
              note,
            ],
          },
        ],
        failures,
        targets,
        charts: [ratioChart(`Items of ${us} us: times as fast as piscina.run`, timings)],
      };
    },
  };
}

function find(timings: readonly Timing[], name: string): Timing {
  const found = timings.find((timing) => timing.name === name);
  if (found === undefined) throw new Error(`${name} was not timed.`);
  return found;
}
