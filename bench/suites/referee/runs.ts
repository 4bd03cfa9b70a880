import type { Algorithm, SimulatorStats } from '../../../lib/simulator/index.ts';
import { type IdealSettings, idealElapsedMs } from '../../harness/ideal.ts';
import { openEngineRun, serviceTimesMs } from '../../harness/limited-run.ts';
import { openPeerRun } from '../../harness/peer-run.ts';
import type { SideRun } from '../../harness/side-by-side.ts';
import { RATE_LIMIT_PEERS, type RateLimitPeer } from '../../peers/rate-limiters.ts';

export const LIMIT = 20;
export const US = 'sluicegate';
const WINDOW_MS = 1000;
const ARRIVAL_WITHIN_MS = 25;

/** A way in which a server counts, and the setting for it. */
export interface ServerKind {
  readonly algorithm: Algorithm;
  /** Requests per second, for us and for everybody else: a server that estimates its window takes one less. */
  readonly tokens: number;
  /** Ours only: the others stand here with both of their ways. */
  readonly isEven: boolean;
}

export const SERVERS: readonly ServerKind[] = [
  { algorithm: 'fixed', tokens: LIMIT, isEven: false },
  { algorithm: 'sliding-log', tokens: LIMIT, isEven: false },
  { algorithm: 'token-bucket', tokens: LIMIT, isEven: false },
  { algorithm: 'gcra', tokens: LIMIT, isEven: true },
  { algorithm: 'sliding-counter', tokens: LIMIT - 1, isEven: true },
];

/** What all clients have in common. Plain data: it comes from another process. */
export interface Verdict {
  readonly elapsedMs: number;
  readonly succeeded: number;
  readonly server: SimulatorStats;
  /** Refused before the measurement began, too; of ours only. */
  readonly refusedEver: number | undefined;
  /** The least possible time; of ours only. */
  readonly idealMs: number | undefined;
}

/** One client against one kind of server. */
export interface RunPlan {
  readonly client: string;
  readonly server: ServerKind;
  readonly setting: string;
}

/** What a process is to do: all ways of one library against all servers. */
export interface LibraryTask {
  readonly library: string;
  readonly items: number;
  readonly serviceTimeMs: readonly [number, number];
}

/** Ours first, then each other one once. */
export const LIBRARIES: readonly string[] = [US, ...new Set(RATE_LIMIT_PEERS.map(({ library }) => library))];

/** All clients of a library: ours has one setting for each server, the others have all of theirs. */
export function clientsOf(library: string): string[] {
  return library === US ? [US] : peersOf(library).map(({ name }) => name);
}

/** In the order in which the process of the library runs them. */
export function plansOf(library: string): RunPlan[] {
  return SERVERS.flatMap((server) =>
    library === US
      ? [{ client: US, server, setting: ourSetting(server) }]
      : peersOf(library).map((peer) => ({ client: peer.name, server, setting: peer.setting(server.tokens) })),
  );
}

export function openRun({ client, server }: RunPlan, task: LibraryTask): Promise<SideRun<Verdict>> {
  const peer = RATE_LIMIT_PEERS.find(({ name }) => name === client);
  return peer === undefined ? openOurs(server, task) : openPeer(peer, server, task);
}

function peersOf(library: string): RateLimitPeer[] {
  return RATE_LIMIT_PEERS.filter((peer) => peer.library === library);
}

function ourSetting({ tokens, isEven }: ServerKind): string {
  const spacing = isEven ? ", spacing: 'even'" : '';
  return `{ limit: ${tokens}, windowMs: 1000, arrivalWithinMs: ${ARRIVAL_WITHIN_MS}${spacing} }`;
}

async function openOurs({ algorithm, tokens, isEven }: ServerKind, { items, serviceTimeMs }: LibraryTask) {
  const rate = {
    limit: tokens,
    windowMs: WINDOW_MS,
    arrivalWithinMs: ARRIVAL_WITHIN_MS,
    spacing: isEven ? ('even' as const) : ('none' as const),
  };
  const ideal: IdealSettings = {
    tokens,
    windowMs: WINDOW_MS,
    arrivalWithinMs: ARRIVAL_WITHIN_MS,
    gapMs: isEven ? WINDOW_MS / tokens : 0,
    concurrency: LIMIT,
  };
  const run = await openEngineRun({
    name: US,
    items,
    engine: { rate, concurrency: LIMIT, threads: 2 },
    server: { algorithm, limit: LIMIT, windowMs: WINDOW_MS, serviceTimeMs },
  });
  return {
    async measure(): Promise<Verdict> {
      const { elapsedMs, arrivals, server, summary, refusedEver } = await run.measure();
      const idealMs = idealElapsedMs(ideal, serviceTimesMs(arrivals));
      return { elapsedMs, succeeded: summary.succeeded, server, refusedEver, idealMs };
    },
    close: () => run.close(),
  };
}

async function openPeer(
  peer: RateLimitPeer,
  { algorithm, tokens }: ServerKind,
  { items, serviceTimeMs }: LibraryTask,
): Promise<SideRun<Verdict>> {
  const run = await openPeerRun({
    name: peer.name,
    items,
    server: { algorithm, limit: LIMIT, windowMs: WINDOW_MS, serviceTimeMs },
    open: () => peer.open(tokens),
  });
  return {
    async measure() {
      const { elapsedMs, server, succeeded } = await run.measure();
      return { elapsedMs, succeeded, server, refusedEver: undefined, idealMs: undefined };
    },
    close: () => run.close(),
  };
}
