import { alternate, failuresOf } from '../../harness/alternate.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { spreadColumns, spreadOf } from '../../harness/spread.ts';
import type { Part } from '../../harness/suite.ts';
import { runBatch, sluicegatePool, THREADS } from '../dispatch/contenders.ts';
import { workItems } from '../dispatch/spin.ts';

const SIZES = [10, 100, 1_000, 10_000, 100_000, 1_000_000];
const QUICK_SIZES = [10, 1_000];
/** Small batches take microseconds; some ten thousand items make a time that can be measured. */
const ITEMS_PER_RUN = 20_000;
/** The code is warm when the first size is; the same for all. */
const WARM_UP_MS = 300;

/** What one item costs in batches of all sizes. */
export const items: Part = {
  name: 'items',
  title: `no-op items in batches of 10 to 1,000,000, ${THREADS} threads`,
  async run({ isQuick }) {
    const pool = sluicegatePool();
    const sizes = isQuick ? QUICK_SIZES : SIZES;
    try {
      await pool.ready?.();
      const watch = watchMachine();
      const timings = await alternate(
        sizes.map((size) => {
          const batches = Math.max(1, Math.round(ITEMS_PER_RUN / size));
          const batch = workItems(size, 0);
          return {
            name: size.toLocaleString('en-US'),
            items: size * batches,
            run: async () => {
              for (let n = 0; n < batches; n++) await runBatch(pool, batch);
            },
          };
        }),
        isQuick ? { rounds: 2, warmUps: 1 } : { rounds: 5, warmUps: 2, warmUpMs: WARM_UP_MS },
      );
      const perItemUs = timings.map(({ ms, items }) => (ms.median / items) * 1e3);
      return {
        tables: [
          {
            title: 'cost of an item by size of the batch',
            rows: timings.map(({ name, ms, samplesMs, error }, place) => {
              if (error !== undefined) return { 'items in the batch': name, failed: error };
              const size = sizes[place] ?? Number.NaN;
              const batches = Math.max(1, Math.round(ITEMS_PER_RUN / size));
              return {
                'items in the batch': name,
                'ms per batch': ms.median / batches,
                ...spreadColumns(spreadOf(samplesMs.map((one) => (one / (size * batches)) * 1e3)), 'us per item'),
                runs: ms.samples,
              };
            }),
            notes: ['one batch after the other, results checked inside the time', describeDisturbance(watch())],
          },
        ],
        failures: failuresOf(timings),
        targets: [],
        charts: [
          {
            title: 'Cost of a no-op item by size of the batch',
            kind: 'bars',
            xLabel: 'items',
            yLabel: 'us per item',
            x: timings.map(({ name }) => name),
            series: [{ name: 'us per item', values: perItemUs }],
          },
        ],
      };
    } finally {
      await pool.close();
    }
  },
};
