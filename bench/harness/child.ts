import { type ChildProcess, execFile, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { LimitError } from './within.ts';

const run = promisify(execFile);
const LIMIT_MS = 60_000;

/**
 * Run a module in a process of its own, which nothing has warmed up.
 *
 * @param flags of Node, before the module
 * @returns what it printed, as JSON
 * @throws Error if it fails, or does not end within a minute
 */
export async function runInChild<Result>(module: URL, args: readonly string[], flags: readonly string[] = []) {
  const { stdout } = await run(process.execPath, [...flags, fileURLToPath(module), ...args], {
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  return JSON.parse(stdout) as Result;
}

interface Waiting<Answer> {
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** Those that have not ended. */
const LIVE = new Set<ChildProcess>();

/** End them with this process, however it ends, as far as it can still do something. */
process.once('exit', () => {
  for (const child of LIVE) killGroup(child);
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));

/**
 * In the process that is asked: answer each message, until the one who asks is gone.
 *
 * @param answer what it throws ends the process
 */
export function answerMessages(answer: (message: unknown) => Promise<unknown>): void {
  process.on('message', (message) => {
    void answer(message).then((result) => process.send?.(result as object));
  });
  // Whoever asked has ended: so does everything that was started for it.
  process.once('disconnect', () => killOwnGroup());
}

function killOwnGroup(): void {
  try {
    process.kill(-process.pid, 'SIGKILL');
  } catch {
    process.exit(1);
  }
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Where there are no groups.
    child.kill('SIGKILL');
  }
}

/** A process that answers messages with messages. */
export class Child<Answer> {
  readonly #process: ChildProcess;
  #waiting: Waiting<Answer> | undefined;
  #end: Error | undefined;

  /**
   * @param env of the process; default: that of this one
   */
  constructor(module: URL, env: NodeJS.ProcessEnv = process.env) {
    // A group of its own: what it starts can be ended with it.
    this.#process = fork(module, { serialization: 'advanced', detached: true, env });
    LIVE.add(this.#process);
    this.#process.on('message', (answer) => this.#settle((waiting) => waiting.resolve(answer as Answer)));
    this.#process.once('error', (error) => this.#endWith(error));
    this.#process.once('exit', (code, signal) => {
      LIVE.delete(this.#process);
      this.#endWith(new Error(`The process ended without an answer, with ${signal ?? `code ${code}`}.`));
    });
  }

  /**
   * Send a message and wait for the next one that comes back.
   *
   * @throws LimitError if there is none in time: the process and what it has started are ended
   * @throws Error if the process ends without one
   */
  async ask(message: unknown, limitMs: number): Promise<Answer> {
    if (this.#end !== undefined) throw this.#end;
    const answer = new Promise<Answer>((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
    const timer = setTimeout(() => {
      this.#endWith(new LimitError(`Not done after ${limitMs / 1e3} s, and ended.`));
      this.kill();
    }, limitMs);
    this.#process.send(message as object, (error) => {
      if (error !== null) this.#endWith(error);
    });
    try {
      return await answer;
    } finally {
      clearTimeout(timer);
    }
  }

  /** End it, and all that it has started. */
  kill(): void {
    killGroup(this.#process);
  }

  #endWith(error: Error): void {
    this.#end ??= error;
    this.#settle((waiting) => waiting.reject(error));
  }

  #settle(settle: (waiting: Waiting<Answer>) => void): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) settle(waiting);
  }
}
