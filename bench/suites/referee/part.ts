import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Algorithm, Arrival, SimulatorStats } from '../../../lib/simulator/index.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { type IdealSettings, idealElapsedMs } from '../../harness/ideal.ts';
import { type LimitedPlan, openEngineRun, serviceTimesMs } from '../../harness/limited-run.ts';
import { openPeerRun, type PeerPlan } from '../../harness/peer-run.ts';
import { sideBySide } from '../../harness/side-by-side.ts';
import { atMost, exactly, type Part, type Row, type Table } from '../../harness/suite.ts';
import { RATE_LIMIT_PEERS } from '../../peers/rate-limiters.ts';

const ITEMS = 200;
const QUICK_ITEMS = 50;
const LIMIT = 20;
const WINDOW_MS = 1000;
const ARRIVAL_WITHIN_MS = 25;
const IDEAL_GOAL_PERCENT = 3;
/** Many runs at once: closer together than usual, or the last would start long after the first. */
const STAGGER_MS = 23;
const US = 'sluicegate';

/** The five ways in which servers count, and our setting for each. */
const SERVERS: readonly { readonly algorithm: Algorithm; readonly tokens: number; readonly isEven: boolean }[] = [
  { algorithm: 'fixed', tokens: LIMIT, isEven: false },
  { algorithm: 'sliding-log', tokens: LIMIT, isEven: false },
  { algorithm: 'token-bucket', tokens: LIMIT, isEven: false },
  { algorithm: 'gcra', tokens: LIMIT, isEven: true },
  { algorithm: 'sliding-counter', tokens: LIMIT - 1, isEven: true },
];

/** What all clients have in common. */
interface Verdict {
  readonly algorithm: Algorithm;
  readonly client: string;
  readonly setting: string;
  readonly elapsedMs: number;
  readonly succeeded: number;
  readonly arrivals: readonly Arrival[];
  readonly server: SimulatorStats;
  /** The least possible time; of ours only. */
  readonly idealMs: number | undefined;
}

/** Every client against every server, for one range of service times. */
export function refereePart(name: string, title: string, serviceTimeMs: readonly [number, number]): Part {
  return {
    name,
    title: `${ITEMS} requests, ${title}, five kinds of servers that allow ${LIMIT}/s`,
    isMostlyIdle: true,
    async run({ isQuick }) {
      const items = isQuick ? QUICK_ITEMS : ITEMS;
      const watch = watchMachine();
      const delay = monitorEventLoopDelay({ resolution: 1 });
      const runs = SERVERS.flatMap((server) => [
        () => ourRun(server, items, serviceTimeMs),
        ...RATE_LIMIT_PEERS.map((peer) => () => peerRun(peer, server.algorithm, items, serviceTimeMs)),
      ]);
      delay.enable();
      const verdicts = await sideBySide(runs, STAGGER_MS);
      delay.disable();
      const note = `${describeDisturbance(watch())}; event-loop delay of the main thread p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms`;
      const ours = verdicts.filter(({ client }) => client === US);
      return {
        tables: [...SERVERS.map(({ algorithm }) => tableOf(verdicts, algorithm)), sumTable(verdicts, note)],
        targets: ours.flatMap(({ algorithm, server, elapsedMs, idealMs = Number.NaN }) => [
          exactly(`referee, ${algorithm}, ${title}: refused`, server.refused, 0, 'requests'),
          atMost(
            `referee, ${algorithm}, ${title}: over the ideal`,
            (elapsedMs / idealMs - 1) * 100,
            IDEAL_GOAL_PERCENT,
            '%',
          ),
        ]),
        charts: [
          {
            title: `Refused of ${items} requests, ${title}`,
            kind: 'bars',
            xLabel: '',
            yLabel: 'refused',
            x: clients(),
            series: SERVERS.map(({ algorithm }) => ({
              name: algorithm,
              values: clients().map((client) => find(verdicts, algorithm, client)?.server.refused),
            })),
          },
        ],
      };
    },
  };
}

async function ourRun(
  { algorithm, tokens, isEven }: (typeof SERVERS)[number],
  items: number,
  serviceTimeMs: readonly [number, number],
) {
  const rate = {
    limit: tokens,
    windowMs: WINDOW_MS,
    arrivalWithinMs: ARRIVAL_WITHIN_MS,
    spacing: isEven ? ('even' as const) : ('none' as const),
  };
  const plan: LimitedPlan = {
    name: US,
    items,
    engine: { rate, concurrency: LIMIT, threads: 2 },
    server: { algorithm, limit: LIMIT, windowMs: WINDOW_MS, serviceTimeMs },
  };
  const ideal: IdealSettings = {
    tokens,
    windowMs: WINDOW_MS,
    arrivalWithinMs: ARRIVAL_WITHIN_MS,
    gapMs: isEven ? WINDOW_MS / tokens : 0,
    concurrency: LIMIT,
  };
  const run = await openEngineRun(plan);
  return {
    async measure(): Promise<Verdict> {
      const { elapsedMs, arrivals, server, summary } = await run.measure();
      const setting = `{ limit: ${tokens}, windowMs: 1000, arrivalWithinMs: 25${isEven ? ", spacing: 'even'" : ''} }`;
      const idealMs = idealElapsedMs(ideal, serviceTimesMs(arrivals));
      return { algorithm, client: US, setting, elapsedMs, succeeded: summary.succeeded, arrivals, server, idealMs };
    },
    close: () => run.close(),
  };
}

async function peerRun(
  peer: (typeof RATE_LIMIT_PEERS)[number],
  algorithm: Algorithm,
  items: number,
  serviceTimeMs: readonly [number, number],
) {
  const plan: PeerPlan = {
    name: peer.name,
    items,
    server: { algorithm, limit: LIMIT, windowMs: WINDOW_MS, serviceTimeMs },
    open: () => peer.open(LIMIT),
  };
  const run = await openPeerRun(plan);
  return {
    async measure(): Promise<Verdict> {
      const { elapsedMs, arrivals, server, succeeded } = await run.measure();
      const setting = peer.setting(LIMIT);
      return { algorithm, client: peer.name, setting, elapsedMs, succeeded, arrivals, server, idealMs: undefined };
    },
    close: () => run.close(),
  };
}

function clients(): string[] {
  return [US, ...RATE_LIMIT_PEERS.map(({ name }) => name)];
}

function find(verdicts: readonly Verdict[], algorithm: Algorithm, client: string): Verdict | undefined {
  return verdicts.find((one) => one.algorithm === algorithm && one.client === client);
}

function tableOf(verdicts: readonly Verdict[], algorithm: Algorithm): Table {
  return {
    title: algorithm,
    rows: verdicts
      .filter((verdict) => verdict.algorithm === algorithm)
      .map(
        ({ client, setting, server, elapsedMs, idealMs, succeeded }): Row => ({
          client,
          refused: server.refused,
          succeeded,
          'most in 1 s': server.maxInWindow,
          'elapsed s': elapsedMs / 1e3,
          'ideal s': idealMs === undefined ? undefined : idealMs / 1e3,
          'over ideal %': idealMs === undefined ? undefined : (elapsedMs / idealMs - 1) * 100,
          setting,
        }),
      ),
  };
}

function sumTable(verdicts: readonly Verdict[], note: string): Table {
  const rows = clients().map((client): Row => {
    const own = verdicts.filter((verdict) => verdict.client === client);
    return {
      client,
      refused: own.reduce((sum, { server }) => sum + server.refused, 0),
      ...Object.fromEntries(own.map(({ algorithm, server }) => [algorithm, server.refused])),
    };
  });
  return {
    title: 'refused, by all five',
    rows,
    notes: [
      'nobody tries again: what is refused is lost; most in 1 s counts refused ones, too',
      'peers: undici in the main thread, 20 connections open before the start; ours: 2 threads',
      note,
    ],
  };
}
