import { type EngineOptions, presets } from '../../../lib/index.ts';
import type { Arrival, SimulatorOptions, SimulatorStats } from '../../../lib/simulator/index.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { type IdealSettings, idealElapsedMs } from '../../harness/ideal.ts';
import { openEngineRun, type Storm, serviceTimesMs } from '../../harness/limited-run.ts';
import { openPeerRun } from '../../harness/peer-run.ts';
import { countRefusals, inFlightAtRefusals } from '../../harness/refusals.ts';
import { type SideRun, sideBySide } from '../../harness/side-by-side.ts';
import { atMost, exactly, type Part, type Row } from '../../harness/suite.ts';
import { CONSERVATIVE } from '../core/conservative.ts';
import { RECIPES, type Recipe } from './recipes.ts';

const US = 'sluicegate';
const OVER_GOAL_PERCENT = 5;
const STAGGER_MS = 31;

/** One thing that goes wrong, and the rate that everybody keeps meanwhile. */
interface Scenario {
  readonly name: string;
  readonly items: number;
  readonly quickItems: number;
  readonly server: SimulatorOptions;
  readonly storm?: Storm;
  readonly engine: EngineOptions;
  readonly ideal: IdealSettings;
  /** Requests per second of the peers. */
  readonly peerRate: number;
}

const conservative = {
  items: 100,
  quickItems: 60,
  engine: presets.conservative,
  ideal: CONSERVATIVE,
  peerRate: CONSERVATIVE.tokens,
} as const;

const SCENARIOS: readonly Scenario[] = [
  {
    ...conservative,
    name: 'requests 50, 51, 52',
    server: { limit: 20, refusal: '429', serviceTimeMs: [5, 30], faults: [{ kind: '429', at: [50, 51, 52] }] },
  },
  {
    name: '3% at random',
    items: 1000,
    quickItems: 150,
    server: { limit: 100, refusal: '429', serviceTimeMs: [5, 30], faults: [{ kind: '429', probability: 0.03 }] },
    // Few in flight and evenly spaced, as for anybody who is refused without reason.
    engine: { rate: { limit: 100, windowMs: 1000, spacing: 'even', arrivalWithinMs: 50 }, concurrency: 4, threads: 2 },
    ideal: { tokens: 100, windowMs: 1000, arrivalWithinMs: 50, gapMs: 10, concurrency: 4 },
    peerRate: 100,
  },
  {
    ...conservative,
    name: 'a burst of 429, Retry-After 2',
    server: { limit: 20, refusal: '429', serviceTimeMs: [5, 30] },
    storm: { afterMs: 2_000, durationMs: 300, fault: { kind: '429', retryAfter: 2 } },
  },
];

/** What all clients have in common. */
interface Verdict {
  readonly scenario: Scenario;
  readonly items: number;
  readonly client: string;
  readonly recipe: string;
  readonly elapsedMs: number;
  readonly succeeded: number;
  readonly arrivals: readonly Arrival[];
  readonly server: SimulatorStats;
  readonly own: { readonly backoffsMs: readonly number[]; readonly idealMs: number } | undefined;
}

export const refusals: Part = {
  name: 'refusals',
  title: 'three ways to be refused, every client with its best recipe',
  isMostlyIdle: true,
  async run({ isQuick }) {
    const watch = watchMachine();
    const runs = SCENARIOS.flatMap((scenario) => {
      const items = isQuick ? scenario.quickItems : scenario.items;
      return [() => ourRun(scenario, items), ...RECIPES.map((recipe) => () => peerRun(scenario, items, recipe))];
    });
    const verdicts = await sideBySide(runs, STAGGER_MS);
    const note = describeDisturbance(watch());
    return {
      tables: SCENARIOS.map((scenario) => ({
        title: `${scenario.name}; ${scenario.peerRate}/s`,
        rows: verdicts.filter((verdict) => verdict.scenario === scenario).map(rowOf),
        notes: [
          'may: items + refused + in flight, at the server, at each refusal',
          'least: without overhead and without refusals, plus the waits that the engine chose itself',
          note,
        ],
      })),
      targets: verdicts.filter(({ own }) => own !== undefined).flatMap(targetsOf),
      charts: SCENARIOS.map(({ name }) => ({
        title: `Elapsed and refused: ${name}`,
        kind: 'bars' as const,
        xLabel: '',
        yLabel: 's, requests',
        x: verdicts.filter(({ scenario }) => scenario.name === name).map(({ client }) => client),
        series: [
          {
            name: 'elapsed s',
            values: verdicts.filter(({ scenario }) => scenario.name === name).map(({ elapsedMs }) => elapsedMs / 1e3),
          },
          {
            name: 'refused',
            values: verdicts
              .filter(({ scenario }) => scenario.name === name)
              .map(({ arrivals }) => countRefusals(arrivals)),
          },
        ],
      })),
    };
  },
};

async function ourRun(scenario: Scenario, items: number): Promise<SideRun<Verdict>> {
  const { engine, ideal, server, storm } = scenario;
  const run = await openEngineRun({ name: US, items, engine, server, ...(storm === undefined ? {} : { storm }) });
  return {
    async measure() {
      const { elapsedMs, summary, arrivals, server, backoffsMs } = await run.measure();
      return {
        scenario,
        items,
        client: US,
        recipe: 'as it is',
        elapsedMs,
        succeeded: summary.succeeded,
        arrivals,
        server,
        own: { backoffsMs, idealMs: idealElapsedMs(ideal, serviceTimesMs(arrivals)) },
      };
    },
    close: () => run.close(),
  };
}

async function peerRun(
  scenario: Scenario,
  items: number,
  { name: client, recipe, open, compose }: Recipe,
): Promise<SideRun<Verdict>> {
  const { server, storm, peerRate } = scenario;
  const run = await openPeerRun({
    name: client,
    items,
    server,
    open: () => open(peerRate),
    ...(storm === undefined ? {} : { storm }),
    ...(compose === undefined ? {} : { compose }),
  });
  return {
    async measure() {
      const { elapsedMs, succeeded, arrivals, server } = await run.measure();
      return { scenario, items, client, recipe, elapsedMs, succeeded, arrivals, server, own: undefined };
    },
    close: () => run.close(),
  };
}

function mayRequests({ items, arrivals }: Verdict): number {
  return items + countRefusals(arrivals) + inFlightAtRefusals(arrivals);
}

function leastMs({ own }: Verdict): number {
  return own === undefined ? Number.NaN : own.idealMs + own.backoffsMs.reduce((sum, ms) => sum + ms, 0);
}

function rowOf(verdict: Verdict): Row {
  const { client, recipe, items, elapsedMs, succeeded, arrivals, server, own } = verdict;
  const isOwn = own !== undefined;
  return {
    client,
    succeeded,
    failed: items - succeeded,
    requests: server.total,
    'may requests': isOwn ? mayRequests(verdict) : undefined,
    refused: countRefusals(arrivals),
    events: own?.backoffsMs.length,
    'most in 1 s': server.maxInWindow,
    'elapsed s': elapsedMs / 1e3,
    'backoff s': isOwn ? (leastMs(verdict) - own.idealMs) / 1e3 : undefined,
    'least s': isOwn ? leastMs(verdict) / 1e3 : undefined,
    'over least %': isOwn ? (elapsedMs / leastMs(verdict) - 1) * 100 : undefined,
    recipe,
  };
}

function targetsOf(verdict: Verdict) {
  const { scenario, items, succeeded, server, elapsedMs } = verdict;
  const over = (elapsedMs / leastMs(verdict) - 1) * 100;
  return [
    exactly(`recover, ${scenario.name}: succeeded`, succeeded, items, 'items'),
    atMost(`recover, ${scenario.name}: over ideal + own backoff`, over, OVER_GOAL_PERCENT, '%'),
    atMost(`recover, ${scenario.name}: requests`, server.total, mayRequests(verdict), 'requests'),
  ];
}
