import { alternate, type Timing, timingRow } from '../../harness/alternate.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import type { Chart, Mode, Row } from '../../harness/suite.ts';
import { contender, type Pool } from './contenders.ts';
import { calibrateSpins, workItems } from './spin.ts';

/** Who has to do how much. */
export interface Entry {
  open(): Pool;
  /** What takes long per item is timed with fewer items, so that there are more runs. */
  readonly items: number;
}

export interface DispatchPlan {
  /** CPU time of an item in microseconds; 0 for nothing at all. */
  readonly us: number;
  readonly entries: readonly Entry[];
  readonly rounds: number;
  readonly warmUps: number;
}

export interface DispatchResult {
  readonly timings: readonly Timing[];
  readonly note: string;
}

/** Time pools in turn, each made anew. */
export async function measureDispatch(plan: DispatchPlan, { isQuick }: Mode): Promise<DispatchResult> {
  if (plan.us > 0) calibrateSpins();
  const pools = plan.entries.map(({ open, items }) => ({ pool: open(), items: workItems(items, plan.us) }));
  try {
    await Promise.all(pools.map(({ pool }) => pool.ready?.()));
    const watch = watchMachine();
    const timings = await alternate(
      pools.map(({ pool, items }) => contender(pool, items)),
      isQuick ? { rounds: 2, warmUps: 1 } : plan,
    );
    return { timings, note: describeDisturbance(watch()) };
  } finally {
    await Promise.all(pools.map(({ pool }) => pool.close()));
  }
}

/** Median time per item. */
export function perItemMs({ ms, items }: Timing): number {
  return ms.p50 / items;
}

/** The median time per item of the faster of Piscina's two ways to run items one by one. */
export function piscinaPerItemMs(timings: readonly Timing[]): number {
  return Math.min(...timings.filter(({ name }) => name.startsWith('piscina.run per item')).map(perItemMs));
}

/** The fastest first, with how many times as fast as Piscina each one is. */
export function dispatchRows(timings: readonly Timing[]): Row[] {
  const peerMs = piscinaPerItemMs(timings);
  return timings
    .toSorted((a, b) => perItemMs(a) - perItemMs(b))
    .map((timing) => ({ ...timingRow(timing), 'times piscina.run': peerMs / perItemMs(timing) }));
}

/** How many times as fast as Piscina, item by item, each one is. */
export function ratioChart(title: string, timings: readonly Timing[]): Chart {
  const peerMs = piscinaPerItemMs(timings);
  const sorted = timings.toSorted((a, b) => perItemMs(a) - perItemMs(b));
  return {
    title,
    kind: 'bars',
    xLabel: '',
    yLabel: 'times piscina.run',
    x: sorted.map(({ name }) => name),
    series: [{ name: 'times piscina.run per item', values: sorted.map((timing) => peerMs / perItemMs(timing)) }],
  };
}
