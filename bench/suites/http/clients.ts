import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { createEngine } from '../../../lib/index.ts';
import type { BareTask } from './fixtures/bare.ts';
import type { ThreadSetup } from './fixtures/piscina.ts';
import {
  inLanes,
  makeAgent,
  makePool,
  type PathRequest,
  type PlainAnswer,
  type PlainRequest,
  requestByPath,
  requestByUrl,
  type TimedAnswer,
  timed,
} from './request.ts';

export const IN_FLIGHT = 16;
export const THREADS = 2;
const PER_THREAD = IN_FLIGHT / THREADS;

/** A way to make requests. */
export interface Client {
  run(items: readonly PlainRequest[]): Promise<readonly (PlainAnswer | undefined)[]>;
  /** Milliseconds of each request, as measured in the thread that makes it, from one more run. */
  latenciesMs(items: readonly PlainRequest[]): Promise<readonly number[]>;
  close(): Promise<unknown>;
}

export async function engineClient(threads: number): Promise<Client> {
  const engine = createEngine({ threads, concurrency: IN_FLIGHT, http: { headers: { 'content-type': 'text/plain' } } });
  await engine.ready();
  const run = async (items: readonly PlainRequest[]) => {
    const own = items.map(({ path: _, ...item }) => item);
    return (await engine.run(own)).outcomes;
  };
  return {
    run: async (items) =>
      (await run(items)).map((outcome) => (outcome.ok ? (outcome.value as PlainAnswer) : undefined)),
    latenciesMs: async (items) => (await run(items)).map(({ durationMs }) => durationMs),
    close: () => engine.close(),
  };
}

/** By URL, in the main thread. */
export function requestClient(): Client {
  const agent = makeAgent(IN_FLIGHT);
  return mainThreadClient(
    (item) => requestByUrl(item, agent),
    () => agent.close(),
  );
}

/** By a pool for the origin, in the main thread. */
export function poolClient(origin: string): Client {
  const pool = makePool(origin, IN_FLIGHT);
  return mainThreadClient(
    (item) => requestByPath(item, pool),
    () => pool.close(),
  );
}

function mainThreadClient(send: (item: PlainRequest) => Promise<PlainAnswer>, close: Client['close']): Client {
  return {
    run: (items) => inLanes(items, IN_FLIGHT, send),
    latenciesMs: async (items) => msOf(await inLanes(items, IN_FLIGHT, (item) => timed(() => send(item)))),
    close,
  };
}

export function piscinaClient(origin: string): Client {
  const pool = new Piscina({
    filename: new URL('./fixtures/piscina.js', import.meta.url).href,
    minThreads: THREADS,
    maxThreads: THREADS,
    concurrentTasksPerWorker: PER_THREAD,
    idleTimeout: Number.POSITIVE_INFINITY,
    atomics: 'disabled',
    recordTiming: false,
    workerData: { origin, connections: PER_THREAD } satisfies ThreadSetup,
  });
  return {
    run: (items) => inLanes(items.map(withoutUrl), IN_FLIGHT, (item) => pool.run(item) as Promise<PlainAnswer>),
    latenciesMs: async (items) => {
      const answers = await inLanes(items.map(withoutUrl), IN_FLIGHT, (item) => pool.run(item, { name: 'withTime' }));
      return msOf(answers as TimedAnswer[]);
    },
    close: () => pool.destroy(),
  };
}

/**
 * The ceiling: two threads that have half of the items each and do nothing but requests, by the quickest way that undici
 * has. One message with all items goes to each, and one with all answers comes back.
 */
export async function bareClient(origin: string): Promise<Client> {
  const workerData: ThreadSetup = { origin, connections: PER_THREAD };
  const threads = Array.from(
    { length: THREADS },
    () => new Worker(new URL('./fixtures/bare.js', import.meta.url), { workerData }),
  );
  await Promise.all(threads.map((thread) => once(thread, 'message')));
  const ask = async <Result>(items: readonly PlainRequest[], isTimed: boolean): Promise<Result[]> => {
    const half = Math.ceil(items.length / THREADS);
    const answers = await Promise.all(
      threads.map(async (thread, place) => {
        const done = once(thread, 'message');
        const share = items.slice(place * half, (place + 1) * half).map(withoutUrl);
        const task: BareTask = { items: share, isTimed };
        thread.postMessage(task);
        return ((await done) as [Result[]])[0];
      }),
    );
    return answers.flat();
  };
  return {
    run: (items) => ask<PlainAnswer>(items, false),
    latenciesMs: async (items) => msOf(await ask<TimedAnswer>(items, true)),
    close: () => Promise.all(threads.map((thread) => thread.terminate())),
  };
}

/** What a thread that knows the origin is not sent. */
function withoutUrl({ url: _, ...item }: PlainRequest): PathRequest {
  return item;
}

function msOf(answers: readonly TimedAnswer[]): number[] {
  return answers.map(({ ms }) => ms);
}
