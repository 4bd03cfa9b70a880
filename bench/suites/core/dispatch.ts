import { atLeast, type Part } from '../../harness/suite.ts';
import {
  CHUNK,
  IN_WORK,
  piscinaAllAtOnce,
  piscinaChunks,
  piscinaInTurn,
  sluicegatePool,
  THREADS,
} from '../dispatch/contenders.ts';
import { dispatchRows, measureDispatch, perItemMs, piscinaPerItemMs } from '../dispatch/measure.ts';

const ITEMS = 100_000;
/** What takes some twenty microseconds each is timed with fewer, so that there are more runs. */
const PEER_ITEMS = 25_000;
const GOAL_TIMES = 15;

/** What it costs to hand an item to a thread and to get its outcome back. */
export const dispatch: Part = {
  name: 'dispatch',
  title: `${ITEMS.toLocaleString('en-US')} no-op items, ${THREADS} threads, ${IN_WORK} in work`,
  async run(mode) {
    const { timings, note } = await measureDispatch(
      {
        us: 0,
        rounds: 20,
        warmUps: 3,
        entries: [
          { open: sluicegatePool, items: ITEMS },
          { open: piscinaAllAtOnce, items: PEER_ITEMS },
          { open: piscinaInTurn, items: PEER_ITEMS },
          { open: piscinaChunks, items: ITEMS },
        ],
      },
      mode,
    );
    const own = timings[0];
    const times = piscinaPerItemMs(timings) / (own === undefined ? Number.NaN : perItemMs(own));
    return {
      tables: [
        {
          title: 'items per second, in turn',
          rows: dispatchRows(timings),
          notes: [
            'times piscina.run: against the faster of its two ways, by the medians',
            "both pools: atomics 'disabled', recordTiming false, no idle timeout; each result is checked inside the time",
            `the chunks of ${CHUNK} carry values only: no limit, no outcome, no recovery, no accounting; what messages alone cost`,
            note,
          ],
        },
      ],
      targets: [atLeast('dispatch, no-op items: times piscina.run per item', times, GOAL_TIMES, 'x')],
    };
  },
};
