import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

/** Run a fixture in so many threads at once, and collect what each one says at its end. */
export async function inThreads<Data, Result>(
  module: URL,
  threads: number,
  dataFor: (place: number) => Data,
): Promise<Result[]> {
  const workers = Array.from({ length: threads }, (_, place) => new Worker(module, { workerData: dataFor(place) }));
  try {
    return await Promise.all(workers.map(async (worker) => ((await once(worker, 'message')) as [Result])[0]));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
