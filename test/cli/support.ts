import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

/** As it is published. */
const MAIN = fileURLToPath(new URL('../../bundle/lib/cli/main.js', import.meta.url));

export type Command = ChildProcessByStdio<null, Readable, Readable>;

/** How a command ended, and what it said. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The object that `demo --json` prints. */
export interface Report {
  readonly items: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly errorRate: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly elapsedMs: number;
  readonly throughputPerSecond: number;
  readonly rateLimitEvents: number;
  readonly rounds: number;
  readonly requestsSent: number;
  readonly server: {
    readonly total: number;
    readonly refused: number;
    readonly injected: number;
    readonly maxInWindow: number;
  };
  readonly startupMs: number;
  readonly aborted: boolean;
}

/** Start the command as a process of its own, that ends with the test at the latest. */
export function start(t: TestContext, args: readonly string[], env: NodeJS.ProcessEnv = {}): Command {
  // The command is no test, although a test runs it.
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
  const command = spawn(process.execPath, [MAIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...inherited, ...env },
  });
  t.after(() => command.kill('SIGKILL'));
  return command;
}

/** Run the command to its end. */
export async function run(t: TestContext, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Ended> {
  const command = start(t, args, env);
  const [[code, signal], stdout, stderr] = await Promise.all([
    once(command, 'close') as Promise<[number | null, NodeJS.Signals | null]>,
    text(command.stdout),
    text(command.stderr),
  ]);
  return { code, signal, stdout, stderr };
}

/** Wait until the output has this in it. */
export async function waitFor(output: Readable, pattern: RegExp): Promise<string> {
  let seen = '';
  output.setEncoding('utf8');
  for (;;) {
    const chunk: unknown = output.read();
    if (typeof chunk === 'string') seen += chunk;
    else if (output.readableEnded) throw new Error(`${pattern} never came. There was:\n${seen}`);
    else await Promise.race([once(output, 'readable'), once(output, 'end')]);
    if (pattern.test(seen)) return seen;
  }
}
