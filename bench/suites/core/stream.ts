import { createEngine, type Engine } from '../../../lib/index.ts';
import { alternate, failuresOf, timingRow } from '../../harness/alternate.ts';
import { collectGarbage } from '../../harness/collect-garbage.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import type { Part, Row } from '../../harness/suite.ts';

const ITEMS = 100_000;
const SAMPLE_EVERY = 10_000;
const ROUNDS = 10;
const WARM_UPS = 2;
const MIB = 2 ** 20;

/** Items from an async generator, outcomes as they finish. */
export const stream: Part = {
  name: 'stream',
  title: `${ITEMS.toLocaleString('en-US')} no-op items through stream, 2 threads, 16 in work`,
  async run({ isQuick }) {
    const engine = createEngine<number, number>({
      handler: new URL('./fixtures/noop.js', import.meta.url),
      threads: 2,
      concurrency: 16,
    });
    const watch = watchMachine();
    try {
      await engine.ready();
      const timings = await alternate([{ name: 'engine.stream', items: ITEMS, run: () => consume(engine, () => {}) }], {
        rounds: isQuick ? 2 : ROUNDS,
        warmUps: WARM_UPS,
      });
      const note = describeDisturbance(watch());
      return {
        tables: [
          { title: 'items per second', rows: timings.map(timingRow), notes: [note] },
          {
            title: 'heap of the main thread after a full collection, while the stream runs',
            rows: await heapRows(engine),
            notes: [
              'look-ahead: items taken from the source whose outcomes the reader has not yet got, at most so far',
            ],
          },
        ],
        failures: failuresOf(timings),
        targets: [],
      };
    } finally {
      await engine.close();
    }
  },
};

async function heapRows(engine: Engine<number, number>): Promise<Row[]> {
  const rows: Row[] = [];
  const startBytes = heapBytes();
  await consume(engine, (delivered, lookAhead) => {
    if (delivered % SAMPLE_EVERY !== 0) return;
    const bytes = heapBytes();
    rows.push({
      delivered,
      'heap MiB': bytes / MIB,
      'growth MiB': (bytes - startBytes) / MIB,
      'look-ahead': lookAhead,
    });
  });
  return rows;
}

/** Read a stream to its end. `onOutcome` is told how many outcomes came and the largest look-ahead so far. */
async function consume(
  engine: Engine<number, number>,
  onOutcome: (delivered: number, lookAhead: number) => void,
): Promise<void> {
  let pulled = 0;
  let delivered = 0;
  let lookAhead = 0;
  async function* source(): AsyncGenerator<number, void, undefined> {
    for (; pulled < ITEMS; pulled++) {
      lookAhead = Math.max(lookAhead, pulled - delivered);
      yield pulled;
    }
  }
  for await (const outcome of engine.stream(source())) {
    if (!outcome.ok) throw new Error(`Item ${outcome.index} failed: ${outcome.error.message}`);
    onOutcome(++delivered, lookAhead);
  }
  if (delivered !== ITEMS) throw new Error(`${delivered} outcomes for ${ITEMS} items.`);
}

function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}
