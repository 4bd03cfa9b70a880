import { runInChild } from '../../harness/child.ts';
import { atMost, type Part, type Row } from '../../harness/suite.ts';
import type { MemoryFigures, MemoryPlan } from './fixtures/measure.ts';

const SIZES = [10_000, 100_000, 1_000_000];
const QUICK_SIZES = [10_000, 30_000];
const MIB = 2 ** 20;
const STREAM_GOAL_MIB = 64;
const RUN_GOAL_BYTES = 400;

interface Case extends MemoryPlan {
  readonly figures: MemoryFigures;
}

/** Heap after collection, by number of items. */
export const memory: Part = {
  name: 'memory',
  title: 'no-op items with numbers as values, 2 threads',
  async run({ isQuick }) {
    const cases: Case[] = [];
    for (const way of ['run', 'stream'] as const) {
      for (const items of isQuick ? QUICK_SIZES : SIZES) {
        const figures = await runInChild<MemoryFigures>(
          new URL('./fixtures/measure.js', import.meta.url),
          [way, String(items)],
          ['--expose-gc'],
        );
        cases.push({ way, items, figures });
      }
    }
    const streams = cases.filter(({ way }) => way === 'stream').map(({ figures }) => figures.grownBytes / MIB);
    const runs = cases.filter(({ way }) => way === 'run');
    return {
      tables: [
        {
          title: 'heap of the main thread after a full collection, each case in a process of its own',
          rows: cases.map(rowOf),
          notes: [
            'grown: over an engine that is ready, with the input there; run: with the result held; stream: the most of ten looks on the way',
            'peak RSS: of the whole process, with the garbage of both threads and what forced collections leave',
          ],
        },
      ],
      targets: [
        atMost(
          'memory, stream: growth over the smallest batch',
          Math.max(...streams) - (streams[0] ?? Number.NaN),
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
          x: runs.map(({ items }) => items.toLocaleString('en-US')),
          series: (['run', 'stream'] as const).map((way) => ({
            name: way,
            values: cases.filter((one) => one.way === way).map(({ figures }) => figures.grownBytes / MIB),
          })),
        },
      ],
    };
  },
};

function perItem({ items, figures }: Case): number {
  return figures.grownBytes / items;
}

function rowOf(one: Case): Row {
  return {
    way: one.way,
    items: one.items,
    'grown MiB': one.figures.grownBytes / MIB,
    'bytes/item': perItem(one),
    'external MiB': one.figures.externalBytes / MIB,
    'peak RSS MiB': one.figures.peakRssBytes / MIB,
    'elapsed s': one.figures.elapsedMs / 1e3,
  };
}
