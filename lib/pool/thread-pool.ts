import { createRequire } from 'node:module';
import type { ResourceLimits, Worker } from 'node:worker_threads';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import type { Piscina } from 'piscina';
import { HandlerLoadError, WorkerStartError } from '../errors.ts';
import { THREAD_FILE } from '../files.ts';
import type { ChunkTask, InitTask, Task, ThreadMessage, ThreadSetup } from '../protocol.ts';
import { toCauseRecord } from '../recover/error-record.ts';
import { createTraceBuffer, TraceReader } from '../shared/trace-cells.ts';
import type { CauseRecord } from '../types.ts';

/** After this many deaths in a row before a thread was ready, the pool gives up: something kills every thread. */
const MAX_START_FAILURES = 5;
/** A thread inside a native call cannot be ended; after this long its work is given to others all the same. */
const MAX_EXIT_WAIT_MS = 1_000;

/** What a thread that is missing will get. */
interface Vacancy {
  readonly lanes: number;
  readonly place: number;
}

/** A worker thread, as the main thread sees it. */
export class ThreadHandle {
  readonly threadId: number;
  readonly worker: Worker;
  readonly port: MessagePort;
  /** Items that the thread works on at a time. */
  readonly lanes: number;
  /** Where in shared memory it counts its calls: from 0 on, of no other thread that lives. */
  readonly place: number;
  /** What it notes of its requests, for a trace. */
  readonly trace: TraceReader | undefined;
  state: 'starting' | 'ready' | 'dying' | 'gone' = 'starting';
  /** Chunks that are with the thread. */
  load = 0;
  /** Chunks that were posted to it, since it began. */
  posted = 0;
  /** What killed it, as far as it is known. */
  cause: CauseRecord | undefined;
  /** Set when the engine itself ended the thread. */
  killedBecause: string | undefined;
  /** Ends of items that it may have come to will never be known. */
  isMute = false;

  constructor(worker: Worker, port: MessagePort, { lanes, place }: Vacancy, trace?: TraceReader) {
    this.worker = worker;
    // Remembered, because it is -1 once the thread has exited.
    this.threadId = worker.threadId;
    this.port = port;
    this.lanes = lanes;
    this.place = place;
    this.trace = trace;
  }
}

/** What the pool tells the engine. */
export interface PoolEvents {
  onReady(thread: ThreadHandle): void;
  onMessage(thread: ThreadHandle, message: Exclude<ThreadMessage, { kind: 'ready' | 'failed' }>): void;
  /** The thread runs no more code, and every message it sent has been delivered. */
  onGone(thread: ThreadHandle): void;
  /** The thread has really exited, so its tokens can be taken back. Not before `onGone` unless a native call delays it. */
  onExit(thread: ThreadHandle, code: number): void;
  /** A chunk could not be posted to the thread. */
  onNotSent(chunkId: number, thread: ThreadHandle, error: unknown): void;
  /** No thread can take up work. */
  onFailed(error: HandlerLoadError | WorkerStartError): void;
}

export interface PoolOptions {
  readonly threads: number;
  readonly concurrency: number;
  readonly resourceLimits: ResourceLimits | undefined;
  readonly setupTimeoutMs: number;
}

/** The setup of a thread, without what differs from thread to thread. */
export type SharedSetup = Omit<ThreadSetup, 'lanes' | 'place' | 'trace'> & { readonly isTracing: boolean };

/**
 * Piscina's threads, each with a port of its own for what it says. Tasks go to a thread by name: the engine decides
 * which one gets what. Threads that die are replaced, also those that die while they start.
 */
export class ThreadPool {
  readonly #pool: Piscina<Task, number>;
  readonly #setup: SharedSetup;
  readonly #events: PoolEvents;
  readonly #options: PoolOptions;
  readonly #threads = new Map<number, ThreadHandle>();
  /** One for each missing thread. */
  readonly #vacancies: Vacancy[];
  #target: number | undefined;
  #startFailures = 0;
  #startError: unknown;
  #isClosed = false;

  constructor(options: PoolOptions, setup: SharedSetup, events: PoolEvents) {
    const { threads, concurrency } = options;
    this.#options = options;
    this.#setup = setup;
    this.#events = events;
    this.#vacancies = Array.from({ length: threads }, (_, place) => ({
      lanes: Math.floor(concurrency / threads) + (place < concurrency % threads ? 1 : 0),
      place,
    }));
    this.#pool = new (loadPiscina())<Task, number>({
      filename: THREAD_FILE.href,
      minThreads: threads,
      maxThreads: threads,
      idleTimeout: Number.POSITIVE_INFINITY,
      concurrentTasksPerWorker: Number.MAX_SAFE_INTEGER,
      // The other modes stop the thread's sockets, timers and broadcasts while it has no task.
      atomics: 'disabled',
      recordTiming: false,
      ...(options.resourceLimits === undefined ? {} : { resourceLimits: options.resourceLimits }),
      loadBalancer: (_task, workers) => {
        if (this.#target === undefined) return null;
        const found = workers.find((worker) => worker.id === this.#target);
        if (found === undefined) throw new Error('The thread is gone.');
        return found;
      },
    });
    // Without a listener, a thread that fails while idle would end the process.
    this.#pool.on('error', (error: unknown) => {
      this.#startError = error;
    });
    this.#pool.on('workerCreate', ({ id }: { id: number }) => this.#adopt(id));
  }

  /** Threads that can take up work. */
  get ready(): ThreadHandle[] {
    return [...this.#threads.values()].filter((thread) => thread.state === 'ready');
  }

  /** Hand a chunk to a thread. Returns its number among those that the thread gets, from 1 on; 0 if it cannot be posted. */
  send(task: ChunkTask, thread: ThreadHandle): number {
    try {
      thread.port.postMessage(task);
      return ++thread.posted;
    } catch (error) {
      // Not at once: whoever is told hands out more, and is doing so right now.
      queueMicrotask(() => this.#events.onNotSent(task.id, thread, error));
      return 0;
    }
  }

  /** End a thread now. */
  kill(thread: ThreadHandle, because: string): void {
    if (thread.state === 'dying' || thread.state === 'gone') return;
    thread.state = 'dying';
    thread.killedBecause = because;
    void thread.worker.terminate();
    const timer = setTimeout(() => this.#gone(thread), MAX_EXIT_WAIT_MS);
    thread.worker.once('exit', () => clearTimeout(timer));
  }

  /** Look for threads that died before they were known here. Call it now and then while there is work. */
  maintain(): void {
    if (this.#isClosed || this.#pool.threads.length >= this.#options.threads) return;
    this.#noteStartFailure(undefined);
    this.#refill();
  }

  /** Replace threads that died while they started, which Piscina does not. */
  #refill(): void {
    if (this.#isClosed) return;
    for (let missing = this.#options.threads - this.#pool.threads.length; missing > 0; missing--) {
      // A task that no thread may have makes Piscina start one; the task itself is withdrawn at once. It never runs, so
      // aborting it terminates nothing.
      const withdraw = new AbortController();
      const run = this.#pool.run({ kind: 'none' }, { signal: withdraw.signal });
      withdraw.abort();
      run.catch(() => {});
    }
  }

  /** End all threads. Always comes back, even if one of them is inside a native call. */
  async destroy(): Promise<void> {
    this.#isClosed = true;
    for (const thread of this.#threads.values()) {
      if (thread.state !== 'gone') thread.state = 'dying';
      thread.port.close();
    }
    let timer: NodeJS.Timeout | undefined;
    const waited = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, MAX_EXIT_WAIT_MS);
    });
    await Promise.race([this.#pool.destroy().catch(() => {}), waited]);
    clearTimeout(timer);
  }

  #run(task: Task, thread: ThreadHandle, transferList: MessagePort[] = []): Promise<number> {
    this.#target = thread.threadId;
    try {
      return this.#pool.run(task, { transferList });
    } catch (error) {
      return Promise.reject(error);
    } finally {
      this.#target = undefined;
    }
  }

  #adopt(threadId: number): void {
    const worker = this.#pool.threads.find((candidate) => candidate.threadId === threadId);
    if (worker === undefined || this.#isClosed || this.#threads.has(threadId)) return;
    const { port1, port2 } = new MessageChannel();
    const { isTracing, ...setup } = this.#setup;
    const trace = isTracing ? createTraceBuffer() : undefined;
    const reader = trace && new TraceReader(trace);
    const thread = new ThreadHandle(worker, port1, this.#vacancies.pop() ?? { lanes: 1, place: 0 }, reader);
    this.#threads.set(threadId, thread);

    const { setupTimeoutMs } = this.#options;
    const setupTimer = setTimeout(() => {
      const why = `The handler module was not imported and set up within setupTimeoutMs (${setupTimeoutMs} ms).`;
      this.#events.onFailed(new HandlerLoadError(why));
    }, setupTimeoutMs).unref();
    let wasReady = false;
    const portClosed = new Promise<void>((resolve) => port1.once('close', resolve));
    port1.on('message', (message: ThreadMessage) => {
      if (message.kind === 'ready') {
        clearTimeout(setupTimer);
        if (thread.state !== 'starting') return;
        thread.state = 'ready';
        wasReady = true;
        this.#startFailures = 0;
        this.#events.onReady(thread);
      } else if (message.kind === 'failed') {
        clearTimeout(setupTimer);
        const options = message.cause === undefined ? undefined : { cause: message.cause };
        this.#events.onFailed(new HandlerLoadError(message.message, options));
      } else {
        this.#events.onMessage(thread, message);
      }
    });
    // A reply that cannot be read leaves its chunk without an end: as bad as a dead thread, and cured in the same way.
    port1.on('messageerror', () => {
      thread.isMute = true;
      this.kill(thread, 'an unreadable reply');
    });
    port1.unref();

    // At the first of the two: Piscina replaces the thread then, and what has thrown runs no lane any more.
    let isVacant = false;
    const vacate = () => {
      if (!isVacant) this.#vacancies.push({ lanes: thread.lanes, place: thread.place });
      isVacant = true;
    };
    worker.once('error', (error) => {
      vacate();
      thread.cause = toCauseRecord(error) ?? { name: 'Error', message: 'The thread threw nothing.' };
      if (thread.state !== 'gone') thread.state = 'dying';
    });
    worker.once('exit', (code) => {
      clearTimeout(setupTimer);
      thread.cause ??= { name: 'Error', message: `The worker thread exited with code ${code}.` };
      if (thread.state !== 'gone') thread.state = 'dying';
      vacate();
      // Once closed, no token matters any more, and an end that was asked for is no news.
      if (!this.#isClosed) this.#events.onExit(thread, code);
      if (!wasReady) this.#noteStartFailure(thread.cause);
      // What the thread sent before it died still arrives, until the port says that this was all.
      const giveUp = setTimeout(() => this.#gone(thread), MAX_EXIT_WAIT_MS);
      void portClosed.then(() => {
        clearTimeout(giveUp);
        this.#gone(thread);
      });
      this.#refill();
    });

    const { lanes, place } = thread;
    const init: InitTask = { kind: 'init', port: port2, setup: { ...setup, lanes, place, trace } };
    // Not at once: Piscina tells of a replacement before it counts it among those that may get tasks.
    queueMicrotask(() => {
      // A thread that dies now is seen by its exit.
      this.#run(init, thread, [port2]).catch(() => {});
    });
  }

  #gone(thread: ThreadHandle): void {
    if (thread.state === 'gone') return;
    thread.state = 'gone';
    this.#threads.delete(thread.threadId);
    thread.port.close();
    if (!this.#isClosed) this.#events.onGone(thread);
  }

  #noteStartFailure(cause: unknown): void {
    if (cause !== undefined) this.#startError = cause;
    this.#startFailures++;
    if (this.#startFailures < MAX_START_FAILURES || this.#isClosed) return;
    this.#isClosed = true;
    this.#events.onFailed(
      new WorkerStartError(
        `${MAX_START_FAILURES} worker threads in a row ended before they were ready. Are resourceLimits too small, or does the handler module end its thread?`,
        { cause: this.#startError },
      ),
    );
  }
}

/** Loaded with the first engine: who imports this package only for a type, a preset or a command need not wait for it. */
function loadPiscina(): typeof Piscina {
  const require = createRequire(import.meta.url);
  return (require('piscina') as typeof import('piscina')).Piscina;
}
