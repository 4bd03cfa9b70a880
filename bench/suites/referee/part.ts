import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { inWaves } from '../../harness/side-by-side.ts';
import { openSideProcess } from '../../harness/side-process.ts';
import {
  atMost,
  type Chart,
  exactly,
  type Failure,
  type Part,
  type Row,
  type Table,
  type Target,
} from '../../harness/suite.ts';
import {
  clientsOf,
  LIBRARIES,
  LIMIT,
  type LibraryTask,
  plansOf,
  type RunPlan,
  SERVERS,
  US,
  type Verdict,
} from './runs.ts';

const ITEMS = 200;
const QUICK_ITEMS = 50;
const IDEAL_GOAL_PERCENT = 3;
/** Peers. More processes at once would wait for each other's cores, and be late. */
const AT_A_TIME = 3;
/** Between the processes; the runs of one of them keep a longer distance. */
const STAGGER_MS = 12;

/** A run, and what it came to, if it did. */
interface Case extends RunPlan {
  readonly library: string;
  readonly verdict: Verdict | undefined;
  readonly error: string | undefined;
}

/** Every client against every server, for one range of service times. */
export function refereePart(name: string, title: string, serviceTimeMs: readonly [number, number]): Part {
  return {
    name,
    title: `${ITEMS} requests, ${title}, five kinds of servers that allow ${LIMIT}/s`,
    async run({ isQuick }) {
      const items = isQuick ? QUICK_ITEMS : ITEMS;
      const watch = watchMachine();
      const module = new URL('./fixtures/library.js', import.meta.url);
      const wavesOf = (libraries: readonly string[], atATime: number) =>
        inWaves(
          libraries.map((library) => () => {
            const task: LibraryTask = { library, items, serviceTimeMs };
            return openSideProcess<Verdict>(module, task);
          }),
          atATime,
          STAGGER_MS,
        );
      // Ours has more threads than all others, and what it is told of the network (25 ms) must be true.
      const processes = [
        ...(await wavesOf([US], 1)),
        ...(await wavesOf(
          LIBRARIES.filter((library) => library !== US),
          AT_A_TIME,
        )),
      ];
      const cases = LIBRARIES.flatMap((library, place) => {
        const { result, error } = processes[place] ?? { error: 'It did not run.' };
        return plansOf(library).map((plan, run): Case => {
          const own = result?.runs[run];
          return { ...plan, library, verdict: own?.result, error: own?.result ? undefined : (own?.error ?? error) };
        });
      });
      const delays = LIBRARIES.flatMap((library, place) => {
        const ms = processes[place]?.result?.loopDelayMs;
        return ms === undefined ? [] : [`${library} ${ms.toFixed(1)}`];
      });
      const notes = [
        `each library in a process of its own, with its servers in threads, peers ${AT_A_TIME} at a time; how late its main thread was, p99 ms: ${delays.join(', ')}`,
        describeDisturbance(watch()),
      ];
      return {
        tables: [
          ...SERVERS.map(({ algorithm }) => serverTable(cases, algorithm)),
          bestTable(cases),
          sumTable(cases, notes),
        ],
        failures: cases.flatMap(({ client, server, error }): Failure[] =>
          error === undefined ? [] : [{ who: `${client}, ${server.algorithm}`, error }],
        ),
        targets: cases.filter(({ library }) => library === US).flatMap((one) => targetsOf(one, title, items)),
        charts: [chartOf(cases, `Refused of ${items} requests, ${title}`)],
      };
    },
  };
}

function targetsOf({ server: { algorithm }, verdict }: Case, title: string, items: number): Target[] {
  const name = `referee, ${algorithm}, ${title}`;
  const { server, refusedEver = Number.NaN, elapsedMs = Number.NaN, idealMs = Number.NaN, succeeded } = verdict ?? {};
  return [
    exactly(`${name}: succeeded`, succeeded ?? Number.NaN, items, 'items'),
    // As the server counts it, and as the engine does since it was made.
    exactly(`${name}: refused, in the warm-up too`, (server?.refused ?? Number.NaN) + refusedEver, 0, 'requests'),
    atMost(`${name}: over the ideal`, (elapsedMs / idealMs - 1) * 100, IDEAL_GOAL_PERCENT, '%'),
  ];
}

function serverTable(cases: readonly Case[], algorithm: string): Table {
  const own = cases.filter(({ server }) => server.algorithm === algorithm);
  return {
    title: algorithm,
    rows: own.map(({ client, setting, verdict, error }): Row => {
      if (verdict === undefined) return { client, failed: error, setting };
      const { server, succeeded, elapsedMs, idealMs } = verdict;
      return {
        client,
        refused: server.refused,
        succeeded,
        'most in 1 s': server.maxInWindow,
        'elapsed s': elapsedMs / 1e3,
        'ideal s': idealMs === undefined ? undefined : idealMs / 1e3,
        'over ideal %': idealMs === undefined ? undefined : (elapsedMs / idealMs - 1) * 100,
        setting,
      };
    }),
  };
}

/** As if everybody had known which of its ways suits the server best. */
function bestTable(cases: readonly Case[]): Table {
  const rows = LIBRARIES.map((library): Row => {
    const own = SERVERS.flatMap(({ algorithm }) => {
      const best = bestOf(cases.filter((one) => one.library === library && one.server.algorithm === algorithm));
      return best === undefined ? [] : [best];
    });
    const refused = own.reduce((sum, { verdict }) => sum + verdict.server.refused, 0);
    return {
      library,
      refused: own.length === SERVERS.length ? refused : Number.NaN,
      ...Object.fromEntries(
        own.map(({ server, client, verdict }) => {
          const way = client === US ? '' : `, ${client.slice(library.length + 2)}`;
          return [server.algorithm, `${verdict.server.refused} in ${(verdict.elapsedMs / 1e3).toFixed(2)} s${way}`];
        }),
      ),
    };
  });
  return {
    title: 'the best way of each library for each server',
    rows,
    notes: ['best: fewest refused, then quickest, chosen afterwards; ours has one way for each server, chosen before'],
  };
}

/** Fewest refused, then quickest; undefined if all failed. */
function bestOf(cases: readonly Case[]): (Case & { readonly verdict: Verdict }) | undefined {
  return cases
    .flatMap((one) => (one.verdict === undefined ? [] : [{ ...one, verdict: one.verdict }]))
    .toSorted(({ verdict: a }, { verdict: b }) => a.server.refused - b.server.refused || a.elapsedMs - b.elapsedMs)[0];
}

function sumTable(cases: readonly Case[], notes: readonly string[]): Table {
  const clients = LIBRARIES.flatMap(clientsOf);
  return {
    title: 'refused, by all five',
    rows: clients.map((client): Row => {
      const own = cases.filter((one) => one.client === client);
      const refused = ({ verdict }: Case) => verdict?.server.refused ?? Number.NaN;
      return {
        client,
        refused: own.reduce((sum, one) => sum + refused(one), 0),
        ...Object.fromEntries(own.map((one) => [one.server.algorithm, refused(one)])),
      };
    }),
    notes: [
      'nobody tries again: what is refused is lost; most in 1 s counts refused ones, too',
      'every client has the same rate for a server: 20 per second, and 19 for the sliding counter, which estimates',
      'peers: undici in the main thread, 20 connections open before the start; ours: 2 threads',
      ...notes,
    ],
  };
}

function chartOf(cases: readonly Case[], title: string): Chart {
  const clients = LIBRARIES.flatMap(clientsOf);
  return {
    title,
    kind: 'bars',
    xLabel: '',
    yLabel: 'refused',
    x: clients,
    series: SERVERS.map(({ algorithm }) => ({
      name: algorithm,
      values: clients.map(
        (client) =>
          cases.find((one) => one.client === client && one.server.algorithm === algorithm)?.verdict?.server.refused,
      ),
    })),
  };
}
