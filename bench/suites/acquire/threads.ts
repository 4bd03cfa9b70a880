import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

/** Threads that run the same fixture, and answer each message with one. */
export class ThreadGroup<Data, Question, Answer> {
  readonly #workers: readonly Worker[];

  constructor(module: URL, threads: number, dataFor: (place: number) => Data) {
    this.#workers = Array.from({ length: threads }, (_, place) => new Worker(module, { workerData: dataFor(place) }));
  }

  /** Ask all of them the same at once. */
  ask(question: Question): Promise<Answer[]> {
    return Promise.all(
      this.#workers.map(async (worker) => {
        const answered = once(worker, 'message');
        worker.postMessage(question);
        return ((await answered) as [Answer])[0];
      }),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}
