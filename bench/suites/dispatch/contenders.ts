import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { FixedThreadPool } from 'poolifier';
import { Tinypool } from 'tinypool';
// biome-ignore lint/correctness/noUnresolvedImports: CommonJS, whose exports are the default import.
import workerpool from 'workerpool';
import { createEngine } from '../../../lib/index.ts';
import { within } from '../../harness/within.ts';

export const THREADS = 2;
const PER_THREAD = 8;
export const IN_WORK = THREADS * PER_THREAD;
export const CHUNK = 256;
/** The longest that closing Poolifier may take. */
const CLOSE_MS = 2_000;

/** A way to bring items to two threads and their values back. */
export interface Pool {
  /** Resolves when every thread can work. */
  ready?(): Promise<unknown>;
  run(items: readonly number[]): Promise<readonly (number | undefined)[]>;
  close(): Promise<unknown>;
}

/** One batch; each result is looked at. */
export async function runBatch(pool: Pool, items: readonly number[]): Promise<void> {
  const values = await pool.run(items);
  let wrong = values.length === items.length ? 0 : 1;
  for (let index = 0; index < items.length; index++) if (values[index] !== items[index]) wrong++;
  if (wrong > 0) throw new Error(`${wrong} of ${items.length} items have the wrong result.`);
}

export function sluicegatePool(): Pool {
  const engine = createEngine<number, number>({
    handler: fixture('work'),
    threads: THREADS,
    concurrency: IN_WORK,
  });
  return {
    ready: () => engine.ready(),
    run: async (items) => {
      const { outcomes } = await engine.run(items);
      return outcomes.map((outcome, index) => (outcome.ok && outcome.index === index ? outcome.value : undefined));
    },
    close: () => engine.close(),
  };
}

export function piscinaAllAtOnce(): Pool {
  const pool = makePiscina('work');
  return {
    run: (items) => Promise.all(items.map((item) => pool.run(item) as Promise<number>)),
    close: () => pool.destroy(),
  };
}

export function piscinaInTurn(): Pool {
  const pool = makePiscina('work');
  return {
    run: (items) => inTurn(items, (item) => pool.run(item) as Promise<number>),
    close: () => pool.destroy(),
  };
}

/** What messages alone cost: no limit, no outcome, no recovery, no accounting. */
export function piscinaChunks(): Pool {
  const pool = makePiscina('work-chunk');
  return {
    run: async (items) => {
      const chunks: Promise<number[]>[] = [];
      for (let from = 0; from < items.length; from += CHUNK) chunks.push(pool.run(items.slice(from, from + CHUNK)));
      return (await Promise.all(chunks)).flat();
    },
    close: () => pool.destroy(),
  };
}

export function tinypool(): Pool {
  const pool = new Tinypool({
    filename: fixture('work').href,
    minThreads: THREADS,
    maxThreads: THREADS,
    concurrentTasksPerWorker: PER_THREAD,
    idleTimeout: 60_000,
    isolateWorkers: false,
    useAtomics: false,
  });
  return {
    run: (items) => Promise.all(items.map((item) => pool.run(item) as Promise<number>)),
    close: () => pool.destroy(),
  };
}

export function workerPool(): Pool {
  const pool = workerpool.pool(fileURLToPath(fixture('workerpool')), {
    minWorkers: THREADS,
    maxWorkers: THREADS,
    workerType: 'thread',
  });
  return {
    run: (items) => Promise.all(items.map(async (item) => (await pool.exec('work', [item])) as number)),
    close: () => Promise.resolve(pool.terminate()),
  };
}

export function poolifier(): Pool {
  const pool = new FixedThreadPool<number, number>(THREADS, fileURLToPath(fixture('poolifier')), {
    enableTasksQueue: true,
    tasksQueueOptions: { concurrency: PER_THREAD },
    enableEvents: false,
  });
  return {
    run: (items) => pool.mapExecute(items),
    // Its threads are gone, but now and then it does not notice.
    close: () => within(CLOSE_MS, pool.destroy()).catch(() => undefined),
  };
}

/**
 * What two cores can do: two threads that have half of the items each, call the same function for each of them, and bring
 * back their values. Nothing else is between them and their work.
 */
export function bareThreads(): Pool {
  const threads = Array.from({ length: THREADS }, () => new Worker(fixture('bare')));
  return {
    ready: () => Promise.all(threads.map((thread) => once(thread, 'message'))),
    run: async (items) => {
      const half = Math.ceil(items.length / THREADS);
      const values = await Promise.all(
        threads.map(async (thread, place) => {
          const done = once(thread, 'message');
          thread.postMessage(items.slice(place * half, (place + 1) * half));
          return ((await done) as [number[]])[0];
        }),
      );
      return values.flat();
    },
    close: () => Promise.all(threads.map((thread) => thread.terminate())),
  };
}

function makePiscina(module: 'work' | 'work-chunk'): Piscina {
  return new Piscina({
    filename: fixture(module).href,
    minThreads: THREADS,
    maxThreads: THREADS,
    concurrentTasksPerWorker: PER_THREAD,
    idleTimeout: Number.POSITIVE_INFINITY,
    atomics: 'disabled',
    recordTiming: false,
  });
}

function fixture(name: string): URL {
  return new URL(`./fixtures/${name}.js`, import.meta.url);
}

async function inTurn(items: readonly number[], call: (item: number) => Promise<number>): Promise<number[]> {
  const values = new Array<number>(items.length);
  let next = 0;
  const lane = async () => {
    for (let index = next++; index < items.length; index = next++) values[index] = await call(items[index] ?? 0);
  };
  await Promise.all(Array.from({ length: IN_WORK }, lane));
  return values;
}
