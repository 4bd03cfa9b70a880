import type { SimulatorStats } from '../../../lib/simulator/index.ts';
import { idealElapsedMs } from '../../harness/ideal.ts';
import { openEngineRun, serviceTimesMs } from '../../harness/limited-run.ts';
import { openPeerRun } from '../../harness/peer-run.ts';
import { countRefusals, inFlightAtRefusals } from '../../harness/refusals.ts';
import type { SideRun } from '../../harness/side-by-side.ts';
import { RECIPES, type Recipe } from './recipes.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';

export const US = 'sluicegate';

/** What all clients have in common. Plain data: it comes from another process. */
export interface Verdict {
  readonly elapsedMs: number;
  readonly succeeded: number;
  readonly refused: number;
  readonly server: SimulatorStats;
  readonly own: OwnVerdict | undefined;
}

/** What is asked of us only. */
interface OwnVerdict {
  readonly backoffsMs: readonly number[];
  readonly idealMs: number;
  /** Items + refused + in flight, at the server, at each refusal. */
  readonly mayRequests: number;
}

/** One client in one scenario. */
export interface RunPlan {
  readonly client: string;
  readonly recipe: string;
  readonly scenario: Scenario;
  readonly items: number;
}

/** What a process is to do: all recipes of one library in all scenarios. */
export interface LibraryTask {
  readonly library: string;
  readonly isQuick: boolean;
}

/** Ours first, then each other one once. */
export const LIBRARIES: readonly string[] = [US, ...new Set(RECIPES.map(({ library }) => library))];

/** In the order in which the process of the library runs them. */
export function plansOf({ library, isQuick }: LibraryTask): RunPlan[] {
  const clients =
    library === US
      ? [{ client: US, recipe: 'as it is' }]
      : RECIPES.filter((one) => one.library === library).map(({ name, recipe }) => ({ client: name, recipe }));
  return SCENARIOS.flatMap((scenario) =>
    clients.map((one) => ({ ...one, scenario, items: isQuick ? scenario.quickItems : scenario.items })),
  );
}

export function openRun({ client, scenario, items }: RunPlan): Promise<SideRun<Verdict>> {
  const recipe = RECIPES.find(({ name }) => name === client);
  return recipe === undefined ? openOurs(scenario, items) : openPeer(recipe, scenario, items);
}

async function openOurs({ engine, ideal, server, storm }: Scenario, items: number): Promise<SideRun<Verdict>> {
  const run = await openEngineRun({ name: US, items, engine, server, ...(storm === undefined ? {} : { storm }) });
  return {
    async measure() {
      const { elapsedMs, summary, arrivals, server, backoffsMs } = await run.measure();
      const refused = countRefusals(arrivals);
      return {
        elapsedMs,
        succeeded: summary.succeeded,
        refused,
        server,
        own: {
          backoffsMs,
          idealMs: idealElapsedMs(ideal, serviceTimesMs(arrivals)),
          mayRequests: items + refused + inFlightAtRefusals(arrivals),
        },
      };
    },
    close: () => run.close(),
  };
}

async function openPeer({ name, open }: Recipe, scenario: Scenario, items: number): Promise<SideRun<Verdict>> {
  const { server, storm, peerRate } = scenario;
  const run = await openPeerRun({
    name,
    items,
    server,
    open: () => open(peerRate),
    ...(storm === undefined ? {} : { storm }),
  });
  return {
    async measure() {
      const { elapsedMs, succeeded, arrivals, server } = await run.measure();
      return { elapsedMs, succeeded, refused: countRefusals(arrivals), server, own: undefined };
    },
    close: () => run.close(),
  };
}
