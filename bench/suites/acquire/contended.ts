import { createControlBlock } from '../../../lib/shared/control-block.ts';
import { alternate, type Contender, failuresOf, perSecond, type Timing } from '../../harness/alternate.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { rateColumns } from '../../harness/spread.ts';
import { atLeast, type Part, type Row } from '../../harness/suite.ts';
import { alwaysFree } from './always-free.ts';
import type { TakerData, TakerResult, TakerRound } from './fixtures/taker.ts';
import { ThreadGroup } from './threads.ts';

const TOKENS = 20;
const OPERATIONS = 500_000;
const ALTERNATION = { rounds: 18, warmUps: 4 };
const QUICK_ALTERNATION = { rounds: 3, warmUps: 1 };
const MOST_THREADS = 4;

/** Several threads at one limit, and each at its own. */
export const contended: Part = {
  name: 'contended',
  title: `1 to ${MOST_THREADS} threads that do nothing but take and settle`,
  async run({ isQuick }) {
    const watch = watchMachine();
    const cases = [true, false].flatMap((isShared) =>
      Array.from({ length: MOST_THREADS }, (_, place) => new Case(place + 1, isShared)),
    );
    try {
      const timings = await alternate(cases, isQuick ? QUICK_ALTERNATION : ALTERNATION);
      const rateOf = (threads: number, isShared: boolean) => {
        const timing = timings[cases.findIndex((one) => one.isShared === isShared && one.threads === threads)];
        return timing === undefined ? Number.NaN : perSecond(timing);
      };
      return {
        tables: [
          {
            title: `${TOKENS} tokens, time passed in`,
            rows: cases.flatMap((one, place) => {
              const timing = timings[place];
              return timing === undefined ? [] : [rowOf(one, timing)];
            }),
            notes: [
              'one limit: all threads at the same tokens; own: each thread has its limit, which shows what the cores can do',
              'M/s: of all threads together, from the first start to the last end of a round; threads start together, rows in turn',
              'collisions: another thread was faster at a token that was seen free',
              describeDisturbance(watch()),
            ],
          },
        ],
        failures: failuresOf(timings),
        targets: [atLeast('acquire, contended: two threads against one', rateOf(2, true) / rateOf(1, true), 1, 'x')],
        charts: [
          {
            title: 'Take and settle by number of threads',
            kind: 'lines',
            xLabel: 'threads',
            yLabel: 'M/s',
            x: Array.from({ length: MOST_THREADS }, (_, place) => place + 1),
            series: [true, false].map((isShared) => ({
              name: isShared ? 'one limit' : 'own limits',
              values: Array.from({ length: MOST_THREADS }, (_, place) => rateOf(place + 1, isShared) / 1e6),
            })),
          },
        ],
      };
    } finally {
      await Promise.all(cases.map((one) => one.close()));
    }
  },
};

/** So many threads, which wait for their next round while others have theirs. */
class Case implements Contender {
  readonly threads: number;
  readonly isShared: boolean;
  readonly items: number;
  readonly name: string;
  readonly #group: ThreadGroup<TakerData, TakerRound, TakerResult>;
  #last: readonly TakerResult[] = [];

  constructor(threads: number, isShared: boolean) {
    this.threads = threads;
    this.isShared = isShared;
    this.items = threads * OPERATIONS;
    this.name = `${isShared ? 'one limit' : 'own limits'}, ${threads} threads`;
    const limit = alwaysFree(TOKENS);
    const makeBlock = () => {
      const { buffer, layout } = createControlBlock({ tokens: [TOKENS], slots: 1 });
      return { buffer, layout };
    };
    const shared = makeBlock();
    const barrier = new SharedArrayBuffer(4);
    this.#group = new ThreadGroup(new URL('./fixtures/taker.js', import.meta.url), threads, (place) => ({
      ...(isShared ? shared : makeBlock()),
      limit,
      place,
      threads,
      barrier,
    }));
  }

  async run(): Promise<void> {
    this.#last = await this.#group.ask({ operations: OPERATIONS });
  }

  /** Without the messages that begin and end the round. */
  ownMs(): number {
    const startedMs = Math.min(...this.#last.map((one) => one.startedMs));
    return Math.max(...this.#last.map((one) => one.endedMs)) - startedMs;
  }

  get collisions(): number {
    return this.#last.reduce((sum, one) => sum + one.collisions, 0);
  }

  get misses(): number {
    return this.#last.reduce((sum, one) => sum + one.misses, 0);
  }

  close(): Promise<void> {
    return this.#group.close();
  }
}

function rowOf({ isShared, threads, collisions, misses }: Case, { items, samplesMs, ms, error }: Timing): Row {
  const limit = isShared ? 'one' : 'own';
  if (error !== undefined) return { limit, threads, failed: error };
  const perRound = samplesMs.map((one) => items / one / 1e3);
  return {
    limit,
    threads,
    ...rateColumns(perRound, 'M/s'),
    'ns each, per thread': (threads * ms.median * 1e6) / items,
    collisions,
    misses,
    rounds: ms.samples,
  };
}
