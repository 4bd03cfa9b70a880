import { type Alternation, byItemsPerSecond, perSecond, type Timing, timingRow } from '../../harness/alternate.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { type InTurn, timeInTurn } from '../../harness/in-turn.ts';
import type { Chart, Mode, Row } from '../../harness/suite.ts';
import { type Pool, runBatch } from './contenders.ts';
import { calibrateSpins, workItems } from './spin.ts';

const QUICK = { rounds: 2, warmUps: 1 };

export interface Entry {
  readonly name: string;
  open(): Pool;
  /** Batches in a run: a quick one has several, so that the runs of all take about as long. Default 1. */
  readonly batches?: number;
  /** In a batch, where it is to differ from that of the others. */
  readonly items?: number;
}

export interface DispatchPlan extends Alternation {
  /** CPU time of an item in microseconds; 0 for nothing at all. */
  readonly us: number;
  /** In a batch, for everybody. */
  readonly items: number;
  readonly entries: readonly Entry[];
}

export interface DispatchResult extends InTurn {
  readonly note: string;
}

/** Time pools in turn, each made anew. */
export async function measureDispatch(plan: DispatchPlan, { isQuick }: Mode): Promise<DispatchResult> {
  if (plan.us > 0) calibrateSpins();
  const watch = watchMachine();
  const inTurn = await timeInTurn(
    plan.entries.map(({ name, open, batches = 1, items: count = plan.items }) => ({
      name,
      items: count * batches,
      open: async () => {
        const items = workItems(count, plan.us);
        const pool = open();
        await pool.ready?.();
        return {
          run: async () => {
            for (let batch = 0; batch < batches; batch++) await runBatch(pool, items);
          },
          close: () => pool.close(),
        };
      },
    })),
    isQuick ? QUICK : plan,
  );
  return { ...inTurn, note: describeDisturbance(watch()) };
}

/** Of the faster of Piscina's two ways to run items one by one, by the medians; NaN if both failed. */
function piscinaPerSecond(timings: readonly Timing[]): number {
  const own = timings.filter(({ name }) => name.startsWith('piscina.run per item')).map(perSecond);
  const measured = own.filter((rate) => !Number.isNaN(rate));
  return measured.length === 0 ? Number.NaN : Math.max(...measured);
}

/** How many times as fast as Piscina, item by item. */
export function timesPiscina(timing: Timing, timings: readonly Timing[]): number {
  return perSecond(timing) / piscinaPerSecond(timings);
}

/** The fastest first, with how many times as fast as Piscina each one is. */
export function dispatchRows(timings: readonly Timing[], more: (timing: Timing) => Row = () => ({})): Row[] {
  return byItemsPerSecond(timings).map((timing) => {
    const row = timingRow(timing);
    if (timing.error !== undefined) return row;
    return { ...row, 'times piscina.run': timesPiscina(timing, timings), ...more(timing) };
  });
}

/** How many times as fast as Piscina, item by item, each one is. */
export function ratioChart(title: string, timings: readonly Timing[]): Chart {
  const sorted = byItemsPerSecond(timings);
  return {
    title,
    kind: 'bars',
    xLabel: '',
    yLabel: 'times piscina.run',
    x: sorted.map(({ name }) => name),
    series: [{ name: 'times piscina.run per item', values: sorted.map((timing) => timesPiscina(timing, timings)) }],
  };
}
