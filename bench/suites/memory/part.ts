import { runInChild } from '../../harness/child.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { median, spreadColumns, spreadOf } from '../../harness/spread.ts';
import { atMost, type Failure, type Part, type Row } from '../../harness/suite.ts';
import { describeError } from '../../harness/within.ts';
import type { MemoryFigures, MemoryPlan } from './fixtures/measure.ts';

const SIZES = [10_000, 100_000, 1_000_000];
const QUICK_SIZES = [10_000, 30_000];
/** Of all cases in turn. */
const ROUNDS = 3;
const MIB = 2 ** 20;
const STREAM_GOAL_MIB = 64;
const RUN_GOAL_BYTES = 400;

/** A case, and what each of its processes says. */
interface Case extends MemoryPlan {
  readonly figures: MemoryFigures[];
  error: string | undefined;
}

/** Heap after collection, by number of items. */
export const memory: Part = {
  name: 'memory',
  title: 'no-op items with numbers as values, 2 threads',
  async run({ isQuick }) {
    const watch = watchMachine();
    const sizes = isQuick ? QUICK_SIZES : SIZES;
    const cases = (['run', 'stream'] as const).flatMap((way) =>
      sizes.map((items): Case => ({ way, items, figures: [], error: undefined })),
    );
    for (let round = 0; round < (isQuick ? 1 : ROUNDS); round++) for (const one of cases) await measure(one);
    const streams = cases.filter(({ way }) => way === 'stream');
    const runs = cases.filter(({ way }) => way === 'run');
    return {
      tables: [
        {
          title: 'heap of the main thread after a full collection, each time in a process of its own',
          rows: cases.map(rowOf),
          notes: [
            'grown: over an engine that is ready, with the input there; run: with the result held; stream: the most of ten looks on the way',
            'peak RSS: of the whole process, with the garbage of both threads and what forced collections leave; the median',
            describeDisturbance(watch()),
          ],
        },
      ],
      failures: cases.flatMap((one): Failure[] =>
        one.error === undefined ? [] : [{ who: nameOf(one), error: one.error }],
      ),
      targets: [
        atMost(
          'memory, stream: growth over the smallest batch',
          Math.max(...streams.map(grownMiB)) - (streams[0] === undefined ? Number.NaN : grownMiB(streams[0])),
          STREAM_GOAL_MIB,
          'MiB',
        ),
        ...runs.map((one) =>
          atMost(`memory, run, ${one.items} items: per item`, perItem(one), RUN_GOAL_BYTES, 'bytes'),
        ),
      ],
      charts: [
        {
          title: 'Heap that a batch keeps, after collection',
          kind: 'bars',
          xLabel: 'items',
          yLabel: 'MiB',
          x: sizes.map((items) => items.toLocaleString('en-US')),
          series: [
            { name: 'run', values: runs.map(grownMiB) },
            { name: 'stream', values: streams.map(grownMiB) },
          ],
        },
      ],
    };
  },
};

/** A case that fails is out; the others go on. */
async function measure(one: Case): Promise<void> {
  if (one.error !== undefined) return;
  try {
    const args = [one.way, String(one.items)];
    const module = new URL('./fixtures/measure.js', import.meta.url);
    one.figures.push(await runInChild<MemoryFigures>(module, args, ['--expose-gc']));
  } catch (error) {
    one.error = describeError(error);
  }
}

function nameOf({ way, items }: Case): string {
  return `${way}, ${items.toLocaleString('en-US')} items`;
}

/** The median of all processes; NaN of a case that failed. */
function grownMiB({ figures, error }: Case): number {
  return error === undefined ? median(figures.map(({ grownBytes }) => grownBytes)) / MIB : Number.NaN;
}

function perItem(one: Case): number {
  return (grownMiB(one) * MIB) / one.items;
}

function rowOf(one: Case): Row {
  const { way, items, figures, error } = one;
  if (error !== undefined) return { way, items, failed: error };
  const middle = (key: keyof MemoryFigures) => median(figures.map((figure) => figure[key]));
  return {
    way,
    items,
    processes: figures.length,
    ...spreadColumns(spreadOf(figures.map(({ grownBytes }) => grownBytes / MIB)), 'grown MiB'),
    'bytes/item': perItem(one),
    'external MiB': middle('externalBytes') / MIB,
    'peak RSS MiB': middle('peakRssBytes') / MIB,
    'elapsed s': middle('elapsedMs') / 1e3,
  };
}
