import type { Engine, EngineOptions } from '../../../lib/index.ts';
import { alternate } from '../../harness/alternate.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { median, percentile } from '../../harness/spread.ts';
import { atMost, type Part, type Row, type Table } from '../../harness/suite.ts';
import { type Build, loadArmedBuild, loadBareBuild } from './bare/build.ts';
import { timeLanes } from './bare/lanes.ts';

const GOAL_PERCENT = 2;

const LANES = { chunkItems: 256, pairs: 1500, warmUps: 1000 };
/** Threads made anew, because two threads that run the same code may already differ by more than what is looked for. */
const LANE_THREADS = 6;

const ITEMS = 4_000;
const ENGINE_PAIRS = 3;
const ENGINE = { threads: 2, concurrency: 16 };
const ALTERNATION = { rounds: 6, warmUps: 2 };

/** What recovery costs while nothing is wrong. */
export const armed: Part = {
  name: 'armed',
  title: 'recovery that is armed and has nothing to do, against the same without recovery',
  async run(mode) {
    const builds: Builds = {
      armed: await loadArmedBuild(),
      bare: await loadBareBuild('bare'),
      twin: await loadBareBuild('twin'),
    };
    const lanes = await compareLanes(builds, mode.isQuick ? 2 : LANE_THREADS);
    const engines = await compareEngines(builds, mode.isQuick ? 1 : ENGINE_PAIRS);
    return {
      tables: [lanes.table, engines.table],
      targets: [
        atMost('armed recovery, lanes with no-op items: cost', lanes.costPercent, GOAL_PERCENT, '%'),
        atMost('armed recovery, engine with 50 us items: cost', engines.costPercent, GOAL_PERCENT, '%'),
      ],
    };
  },
};

interface Builds {
  readonly armed: Build;
  readonly bare: Build;
  /** Bare as well: what it shows against the other is noise. */
  readonly twin: Build;
}

interface Comparison {
  readonly table: Table;
  readonly costPercent: number;
}

/** The lanes alone, with items that cost nothing: the largest share that recovery can have. */
async function compareLanes({ armed: full, bare, twin }: Builds, threads: number): Promise<Comparison> {
  const watch = watchMachine();
  const cost = await laneCosts(full, bare, threads);
  const noise = await laneCosts(twin, bare, threads);
  return {
    costPercent: median(cost.map(({ percent }) => percent)),
    table: {
      title: `lanes of one thread, no-op items in chunks of ${LANES.chunkItems}, ${LANES.pairs} chunks each in turn`,
      rows: [laneRow('armed against bare', cost), laneRow('bare against bare: the noise of the method', noise)],
      notes: [
        'bare: the same compiled engine with two modules replaced: a gate that no lane reads, a recovery that never looks',
        `cost: median over neighbouring chunks of time with / time without - 1, in ${threads} threads made anew: median, least and most`,
        'least and most differ by how each thread happened to compile the two: only the median over threads says something',
        describeDisturbance(watch()),
      ],
    },
  };
}

interface LaneCost {
  readonly percent: number;
  readonly leftNs: number;
  readonly rightNs: number;
}

async function laneCosts(left: Build, right: Build, threads: number): Promise<LaneCost[]> {
  const costs: LaneCost[] = [];
  for (let thread = 0; thread < threads; thread++) {
    // Whose code comes first into a thread is compiled in other circumstances than the second one's: take turns.
    const isSwapped = thread % 2 === 1;
    const entries = isSwapped ? ([right.entry, left.entry] as const) : ([left.entry, right.entry] as const);
    const [first = [], second = []] = await timeLanes(entries, { ...LANES, handler: handlerUrl('noop') });
    const [leftNs, rightNs] = isSwapped ? [second, first] : [first, second];
    costs.push({
      percent: median(percentAbove(leftNs, rightNs)),
      leftNs: median(leftNs) / LANES.chunkItems,
      rightNs: median(rightNs) / LANES.chunkItems,
    });
  }
  return costs;
}

function laneRow(comparison: string, costs: readonly LaneCost[]): Row {
  const percents = costs.map(({ percent }) => percent);
  return {
    comparison,
    'left ns/item': median(costs.map(({ leftNs }) => leftNs)),
    'right ns/item': median(costs.map(({ rightNs }) => rightNs)),
    'cost ns/item': median(costs.map(({ leftNs, rightNs }) => leftNs - rightNs)),
    'cost %': median(percents),
    'least %': Math.min(...percents),
    'most %': Math.max(...percents),
  };
}

interface EngineCosts {
  readonly percents: number[];
  readonly cpuPercents: number[];
  readonly leftMs: number[];
  readonly rightMs: number[];
}

/** Whole engines, with items that take as long as a quick answer takes to work on. */
async function compareEngines({ armed: full, bare, twin }: Builds, pairs: number): Promise<Comparison> {
  const watch = watchMachine();
  const cost = await engineCosts(full, bare, pairs);
  const noise = await engineCosts(twin, bare, pairs);
  return {
    costPercent: median(cost.percents),
    table: {
      title: `whole engines, ${ITEMS} items of 50 us CPU, ${ENGINE.threads} threads, ${ENGINE.concurrency} in work`,
      rows: [engineRow('armed against bare', cost), engineRow('bare against bare: the noise of the method', noise)],
      notes: [
        `cost: median over neighbouring batches, ${pairs} pairs of engines made anew; CPU: of the whole process`,
        describeDisturbance(watch()),
      ],
    },
  };
}

async function engineCosts(left: Build, right: Build, pairs: number): Promise<EngineCosts> {
  const costs: EngineCosts = { percents: [], cpuPercents: [], leftMs: [], rightMs: [] };
  for (let pair = 0; pair < pairs; pair++) await compareEnginePair(left, right, costs);
  return costs;
}

async function compareEnginePair(left: Build, right: Build, into: EngineCosts): Promise<void> {
  const options: EngineOptions = { ...ENGINE, handler: handlerUrl('spin') };
  const engines = [left, right].map((build) => build.createEngine<number, number>(options));
  const items = Array.from({ length: ITEMS }, (_, index) => index);
  try {
    const [one, other] = await alternate(
      engines.map((engine) => ({ name: 'engine', items: ITEMS, run: () => runAll(engine, items) })),
      ALTERNATION,
    );
    for (const timing of [one, other]) if (timing?.error !== undefined) throw new Error(timing.error);
    if (one === undefined || other === undefined) return;
    into.percents.push(...percentAbove(one.samplesMs, other.samplesMs));
    into.cpuPercents.push(...percentAbove(one.samplesCpuMs, other.samplesCpuMs));
    into.leftMs.push(...one.samplesMs);
    into.rightMs.push(...other.samplesMs);
  } finally {
    await Promise.all(engines.map((engine) => engine.close()));
  }
}

async function runAll(engine: Engine<number, number>, items: readonly number[]): Promise<void> {
  const { summary } = await engine.run(items);
  if (summary.succeeded !== items.length) throw new Error(`${summary.succeeded} of ${items.length} items succeeded.`);
}

function engineRow(comparison: string, { percents, cpuPercents, leftMs, rightMs }: EngineCosts): Row {
  return {
    comparison,
    'left items/s': Math.round((ITEMS / median(leftMs)) * 1e3),
    'right items/s': Math.round((ITEMS / median(rightMs)) * 1e3),
    'cost %': median(percents),
    'p25 %': percentile(percents, 25),
    'p75 %': percentile(percents, 75),
    'CPU cost %': median(cpuPercents),
    batches: percents.length,
  };
}

function percentAbove(samples: readonly number[], base: readonly number[]): number[] {
  return samples.map((value, index) => (value / (base[index] ?? Number.NaN) - 1) * 100);
}

function handlerUrl(name: 'noop' | 'spin'): URL {
  return new URL(`./fixtures/${name}.js`, import.meta.url);
}
