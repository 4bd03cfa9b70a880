import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { inWaves } from '../../harness/side-by-side.ts';
import { openSideProcess } from '../../harness/side-process.ts';
import { atMost, type Chart, exactly, type Failure, type Part, type Row, type Target } from '../../harness/suite.ts';
import { LIBRARIES, plansOf, type RunPlan, US, type Verdict } from './runs.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';

const OVER_GOAL_PERCENT = 5;
/** Fewer runs than in `referee`, so more processes at once. */
const AT_A_TIME = 4;
/** Between the processes; the runs of one of them keep a longer distance. */
const STAGGER_MS = 12;

/** A run, and what it came to, if it did. */
interface Case extends RunPlan {
  readonly verdict: Verdict | undefined;
  readonly error: string | undefined;
}

export const refusals: Part = {
  name: 'refusals',
  title: 'three ways to be refused, every client with its best recipes',
  isMostlyIdle: true,
  aboutS: 65,
  async run({ isQuick }) {
    const watch = watchMachine();
    const module = new URL('./fixtures/library.js', import.meta.url);
    const tasks = LIBRARIES.map((library) => ({ library, isQuick }));
    const processes = await inWaves(
      tasks.map((task) => () => openSideProcess<Verdict>(module, task)),
      AT_A_TIME,
      STAGGER_MS,
    );
    const cases = tasks.flatMap((task, place) => {
      const { result, error } = processes[place] ?? { error: 'It did not run.' };
      return plansOf(task).map((plan, run): Case => {
        const own = result?.runs[run];
        return { ...plan, verdict: own?.result, error: own?.result ? undefined : (own?.error ?? error) };
      });
    });
    const note = describeDisturbance(watch());
    return {
      tables: SCENARIOS.map((scenario) => ({
        title: `${scenario.name}; ${scenario.peerRate}/s`,
        rows: cases.filter((one) => one.scenario === scenario).map(rowOf),
        notes: [
          'may: items + refused + in flight, at the server, at each refusal',
          'least: without overhead and without refusals, plus the waits that the engine chose itself',
          note,
        ],
      })),
      failures: cases.flatMap(({ client, scenario, error }): Failure[] =>
        error === undefined ? [] : [{ who: `${client}, ${scenario.name}`, error }],
      ),
      targets: cases.filter(({ client }) => client === US).flatMap(targetsOf),
      charts: SCENARIOS.map((scenario) => chartOf(cases, scenario)),
    };
  },
};

/** Without overhead and without refusals, plus the waits that we chose. */
function leastMs({ verdict }: Case): number {
  const own = verdict?.own;
  return own === undefined ? Number.NaN : own.idealMs + totalMs(own.backoffsMs);
}

function totalMs(all: readonly number[]): number {
  return all.reduce((sum, ms) => sum + ms, 0);
}

function overPercent(one: Case): number {
  return ((one.verdict?.elapsedMs ?? Number.NaN) / leastMs(one) - 1) * 100;
}

function rowOf(one: Case): Row {
  const { client, recipe, items, verdict, error } = one;
  if (verdict === undefined) return { client, failed: error, recipe };
  const { elapsedMs, succeeded, refused, server, own } = verdict;
  return {
    client,
    succeeded,
    'not succeeded': items - succeeded,
    requests: server.total,
    'may requests': own?.mayRequests,
    refused,
    events: own?.backoffsMs.length,
    'most in 1 s': server.maxInWindow,
    'elapsed s': elapsedMs / 1e3,
    'backoff s': own === undefined ? undefined : totalMs(own.backoffsMs) / 1e3,
    'least s': own === undefined ? undefined : leastMs(one) / 1e3,
    'over least %': own === undefined ? undefined : overPercent(one),
    recipe,
  };
}

function targetsOf(one: Case): Target[] {
  const { scenario, items, verdict } = one;
  const { succeeded = Number.NaN, server, own } = verdict ?? {};
  return [
    exactly(`recover, ${scenario.name}: succeeded`, succeeded, items, 'items'),
    atMost(`recover, ${scenario.name}: over ideal + own backoff`, overPercent(one), OVER_GOAL_PERCENT, '%'),
    atMost(
      `recover, ${scenario.name}: requests`,
      server?.total ?? Number.NaN,
      own?.mayRequests ?? Number.NaN,
      'requests',
    ),
  ];
}

function chartOf(cases: readonly Case[], scenario: Scenario): Chart {
  const own = cases.filter((one) => one.scenario === scenario);
  return {
    title: `Elapsed and refused: ${scenario.name}`,
    kind: 'bars',
    xLabel: '',
    yLabel: 's, requests',
    x: own.map(({ client }) => client),
    series: [
      { name: 'elapsed s', values: own.map(({ verdict }) => (verdict?.elapsedMs ?? Number.NaN) / 1e3) },
      { name: 'refused', values: own.map(({ verdict }) => verdict?.refused) },
    ],
  };
}
