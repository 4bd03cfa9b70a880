import { createControlBlock } from '../../../lib/shared/control-block.ts';
import { median, percentile } from '../../harness/alternate.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { atLeast, type Part, type Row } from '../../harness/suite.ts';
import { alwaysFree } from './always-free.ts';
import type { TakerData, TakerResult } from './fixtures/taker.ts';
import { inThreads } from './threads.ts';

const TOKENS = 20;
const OPERATIONS = 500_000;
const ROUNDS = 15;
const WARM_UPS = 4;
const MOST_THREADS = 4;

interface Figures {
  readonly threads: number;
  readonly isShared: boolean;
  /** Of all threads together, in each round. */
  readonly perSecond: readonly number[];
  readonly collisions: number;
  readonly misses: number;
}

/** Several threads at one limit, and each at its own. */
export const contended: Part = {
  name: 'contended',
  title: `1 to ${MOST_THREADS} threads that do nothing but take and settle`,
  async run({ isQuick }) {
    const rounds = isQuick ? 3 : ROUNDS;
    const watch = watchMachine();
    const all: Figures[] = [];
    for (const isShared of [true, false]) {
      for (let threads = 1; threads <= MOST_THREADS; threads++) all.push(await measure(threads, isShared, rounds));
    }
    const rateOf = (threads: number) =>
      median(all.find((one) => one.isShared && one.threads === threads)?.perSecond ?? []);
    return {
      tables: [
        {
          title: `${TOKENS} tokens, time passed in`,
          rows: all.map(rowOf),
          notes: [
            'one limit: all threads at the same tokens; own: each thread has its limit, which shows what the cores can do',
            'per second: of all threads together, from the first start to the last end of a round; threads start together',
            'collisions: another thread was faster at a token that was seen free',
            describeDisturbance(watch()),
          ],
        },
      ],
      targets: [atLeast('acquire, contended: two threads against one', rateOf(2) / rateOf(1), 1, 'x')],
      charts: [
        {
          title: 'Take and settle by number of threads',
          kind: 'lines',
          xLabel: 'threads',
          yLabel: 'M/s',
          x: Array.from({ length: MOST_THREADS }, (_, place) => place + 1),
          series: [true, false].map((isShared) => ({
            name: isShared ? 'one limit' : 'own limits',
            values: all.filter((one) => one.isShared === isShared).map(({ perSecond }) => median(perSecond) / 1e6),
          })),
        },
      ],
    };
  },
};

async function measure(threads: number, isShared: boolean, rounds: number): Promise<Figures> {
  const limit = alwaysFree(TOKENS);
  const makeBlock = () => {
    const { buffer, layout } = createControlBlock({ tokens: [TOKENS], slots: 1 });
    return { buffer, layout };
  };
  const shared = makeBlock();
  const barrier = new SharedArrayBuffer(4);
  const results = await inThreads<TakerData, TakerResult>(
    new URL('./fixtures/taker.js', import.meta.url),
    threads,
    (place) => ({
      ...(isShared ? shared : makeBlock()),
      limit,
      place,
      threads,
      barrier,
      operations: OPERATIONS,
      rounds: rounds + WARM_UPS,
    }),
  );
  const perSecond: number[] = [];
  for (let round = WARM_UPS; round < rounds + WARM_UPS; round++) {
    const startMs = Math.min(...results.map(({ startedMs }) => startedMs[round] ?? Number.NaN));
    const endMs = Math.max(...results.map(({ endedMs }) => endedMs[round] ?? Number.NaN));
    perSecond.push((threads * OPERATIONS * 1e3) / (endMs - startMs));
  }
  return {
    threads,
    isShared,
    perSecond,
    collisions: results.reduce((sum, one) => sum + one.collisions, 0),
    misses: results.reduce((sum, one) => sum + one.misses, 0),
  };
}

function rowOf({ threads, isShared, perSecond, collisions, misses }: Figures): Row {
  return {
    limit: isShared ? 'one' : 'own',
    threads,
    'M/s': median(perSecond) / 1e6,
    'min M/s': Math.min(...perSecond) / 1e6,
    'p99 M/s': percentile(perSecond, 99) / 1e6,
    'ns each, per thread': (threads * 1e9) / median(perSecond),
    collisions,
    misses,
    rounds: perSecond.length,
  };
}
