import { Piscina } from 'piscina';
import { createEngine } from '../../../lib/index.ts';
import { alternate, type Contender, type Timing, timingRow } from '../../harness/alternate.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { atLeast, type Part } from '../../harness/suite.ts';

const ITEMS = 100_000;
/** What takes some twenty microseconds each is timed with fewer, so that there are more runs. */
const PEER_ITEMS = 25_000;
const THREADS = 2;
const PER_THREAD = 8;
const IN_WORK = THREADS * PER_THREAD;
const CHUNK = 256;
const ROUNDS = 20;
const WARM_UPS = 3;
const GOAL_TIMES = 15;

const numbers = Array.from({ length: ITEMS }, (_, index) => index);
const peerNumbers = numbers.slice(0, PEER_ITEMS);

/** What it costs to hand an item to a thread and to get its outcome back. */
export const dispatch: Part = {
  name: 'dispatch',
  title: `${ITEMS.toLocaleString('en-US')} no-op items, ${THREADS} threads, ${IN_WORK} in work`,
  async run() {
    const engine = createEngine<number, number>({
      handler: new URL('./fixtures/noop.js', import.meta.url),
      threads: THREADS,
      concurrency: IN_WORK,
    });
    const perItem = makePool('./fixtures/piscina-items.js');
    const inChunks = makePool('./fixtures/piscina-chunks.js');
    const ours: Contender = {
      name: 'sluicegate: engine.run',
      items: ITEMS,
      run: async () => {
        const { outcomes } = await engine.run(numbers);
        check(outcomes.length, ITEMS, (index) => {
          const outcome = outcomes[index];
          return outcome?.ok && outcome.index === index ? outcome.value : undefined;
        });
      },
    };
    const allAtOnce: Contender = {
      name: 'piscina.run per item, all at once',
      items: PEER_ITEMS,
      run: async () => {
        const values = (await Promise.all(peerNumbers.map((item) => perItem.run(item)))) as number[];
        check(values.length, PEER_ITEMS, (index) => values[index]);
      },
    };
    const inTurn: Contender = {
      name: `piscina.run per item, ${IN_WORK} at a time`,
      items: PEER_ITEMS,
      run: async () => {
        const values = new Array<number>(PEER_ITEMS);
        let next = 0;
        const lane = async () => {
          for (let index = next++; index < PEER_ITEMS; index = next++)
            values[index] = (await perItem.run(numbers[index])) as number;
        };
        await Promise.all(Array.from({ length: IN_WORK }, lane));
        check(values.length, PEER_ITEMS, (index) => values[index]);
      },
    };
    const ceiling: Contender = {
      name: `piscina.run per ${CHUNK} items, values only`,
      items: ITEMS,
      run: async () => {
        const chunks: Promise<number[]>[] = [];
        for (let from = 0; from < ITEMS; from += CHUNK) chunks.push(inChunks.run(numbers.slice(from, from + CHUNK)));
        const values = (await Promise.all(chunks)).flat();
        check(values.length, ITEMS, (index) => values[index]);
      },
    };
    const watch = watchMachine();
    try {
      await engine.ready();
      const timings = await alternate([ours, allAtOnce, inTurn, ceiling], { rounds: ROUNDS, warmUps: WARM_UPS });
      const [own, ...peers] = timings.map(perItemMs);
      const peerMs = Math.min(...peers.slice(0, 2));
      const times = peerMs / (own ?? Number.NaN);
      return {
        tables: [
          {
            title: 'items per second, in turn',
            rows: timings
              .toSorted((a, b) => perItemMs(a) - perItemMs(b))
              .map((timing) => ({ ...timingRow(timing), 'times piscina.run': peerMs / perItemMs(timing) })),
            notes: [
              'times piscina.run: against the faster of its two ways, by the medians',
              "both pools: atomics 'disabled', recordTiming false, no idle timeout; each result is checked inside the time",
              'the chunks carry values only: no limit, no outcome, no recovery, no accounting; what messages alone cost',
              describeDisturbance(watch()),
            ],
          },
        ],
        targets: [atLeast('dispatch, no-op items: times piscina.run per item', times, GOAL_TIMES, 'x')],
      };
    } finally {
      await Promise.all([engine.close(), perItem.destroy(), inChunks.destroy()]);
    }
  },
};

function makePool(module: string): Piscina {
  return new Piscina({
    filename: new URL(module, import.meta.url).href,
    minThreads: THREADS,
    maxThreads: THREADS,
    concurrentTasksPerWorker: PER_THREAD,
    idleTimeout: Number.POSITIVE_INFINITY,
    atomics: 'disabled',
    recordTiming: false,
  });
}

function perItemMs({ ms, items }: Timing): number {
  return ms.p50 / items;
}

function check(length: number, wanted: number, valueAt: (index: number) => number | undefined): void {
  let wrong = length === wanted ? 0 : 1;
  for (let index = 0; index < wanted; index++) if (valueAt(index) !== index) wrong++;
  if (wrong > 0) throw new Error(`${wrong} of ${wanted} items have the wrong result.`);
}
