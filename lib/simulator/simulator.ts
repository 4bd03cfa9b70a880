import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { SluicegateError } from '../errors.ts';
import { SIMULATOR_FILE } from '../files.ts';
import { resolveFaults } from './fault-options.ts';
import { arrivalsOf } from './journal.ts';
import { type ResolvedOptions, resolveLimit, resolveOptions } from './options.ts';
import type { CallName, Calls, ServerMessage } from './protocol.ts';
import type { Arrival, Fault, Order, Simulator, SimulatorOptions, SimulatorStats } from './types.ts';

/** How long the thread may take to end by itself before it is terminated. */
const CLOSE_GRACE_MS = 1000;

interface PendingCall {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/**
 * Start an HTTP server on 127.0.0.1 that behaves like the KIS Open API behind a rate limit: it counts, refuses, is slow
 * and fails as told, and remembers what it saw. It runs in a thread of its own, so a busy client does not distort it.
 *
 * Paths under `/oauth2/` and `/uapi/` are KIS' (unless `kis: false`). Any other path, with any method, answers 200 and
 * `{ path, method, n, echo? }`, where n is the number of the request. `?bytes=N` makes it a text of that size, and
 * `/redirect?to=URL&status=302` redirects.
 *
 * @throws InvalidOptionError for a wrong option, before anything starts
 * @throws SluicegateError with code `SIMULATOR_START` if it cannot listen; `cause` has the system's code
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const thread = new ServerThread(resolveOptions(options));
  const port = await thread.listening;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    stats: (): Promise<SimulatorStats> => thread.call('stats', undefined),
    arrivals: async (): Promise<Arrival[]> => arrivalsOf(await thread.call('arrivals', undefined)),
    orders: async (): Promise<Order[]> => [...(await thread.call('orders', undefined))],
    reset: (): Promise<void> => thread.call('reset', undefined),
    setFaults: async (faults: readonly Fault[]): Promise<void> => thread.call('setFaults', resolveFaults(faults)),
    setLimit: async (limit: number): Promise<void> => thread.call('setLimit', resolveLimit(limit)),
    expireToken: (): Promise<void> => thread.call('expireTokens', undefined),
    close: (): Promise<void> => thread.close(),
    [Symbol.asyncDispose]: (): Promise<void> => thread.close(),
  };
}

/** The worker thread of a simulator, seen from the thread that started it. */
class ServerThread {
  /** The port, as soon as the server listens on it. */
  readonly listening: Promise<number>;
  readonly #worker: Worker;
  readonly #exited: Promise<unknown>;
  readonly #pending = new Map<number, PendingCall>();
  #start: { resolve(port: number): void; reject(error: Error): void };
  #lastId = 0;
  #closed: Promise<void> | undefined;
  #hasExited = false;

  constructor(options: ResolvedOptions) {
    this.#start = { resolve: () => {}, reject: () => {} };
    this.listening = new Promise((resolve, reject) => {
      this.#start = { resolve, reject };
    });
    this.#worker = new Worker(SIMULATOR_FILE, {
      workerData: options,
      name: 'sluicegate-simulator',
      // What this process was started with may not suit a module: `--input-type` with `--eval` would make it fail.
      execArgv: [],
    });
    this.#exited = new Promise((resolve) => this.#worker.once('exit', resolve));
    this.#worker.on('message', (message: ServerMessage) => this.#onMessage(message));
    this.#worker.on('error', (cause) =>
      this.#fail(new SluicegateError('SIMULATOR_CRASHED', 'The simulator crashed.', { cause })),
    );
    this.#worker.once('exit', () => {
      this.#hasExited = true;
      this.#fail(closedError());
    });
  }

  call<Name extends CallName>(name: Name, argument: Calls[Name]['argument']): Promise<Calls[Name]['result']> {
    if (this.#closed || this.#hasExited) return Promise.reject(closedError());
    return this.#post(name, argument);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    if (this.#hasExited) return;
    const grace = new AbortController();
    const isTooLate = sleep(CLOSE_GRACE_MS, undefined, { signal: grace.signal }).catch(() => undefined);
    this.#post('close', undefined).catch(() => undefined);
    await Promise.race([this.#exited, isTooLate]);
    grace.abort();
    if (!this.#hasExited) await this.#worker.terminate();
  }

  #post<Name extends CallName>(name: Name, argument: Calls[Name]['argument']): Promise<Calls[Name]['result']> {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      this.#pending.set(id, { resolve: resolve as (result: unknown) => void, reject });
      this.#worker.postMessage({ id, name, argument });
    });
  }

  #onMessage(message: ServerMessage): void {
    if (message.kind === 'listening') {
      this.#start.resolve(message.port);
    } else if (message.kind === 'reply') {
      this.#pending.get(message.id)?.resolve(message.result);
      this.#pending.delete(message.id);
    } else {
      const cause = Object.assign(new Error(message.message), { code: message.code });
      this.#fail(new SluicegateError('SIMULATOR_START', `The simulator cannot start: ${message.message}`, { cause }));
    }
  }

  /** Everything that is waited for ends with this error; what has already ended is not touched. */
  #fail(error: Error): void {
    this.#start.reject(error);
    for (const call of this.#pending.values()) call.reject(error);
    this.#pending.clear();
  }
}

function closedError(): SluicegateError {
  return new SluicegateError('SIMULATOR_CLOSED', 'The simulator is closed.');
}
