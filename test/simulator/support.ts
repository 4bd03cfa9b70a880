import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { Agent } from 'undici';
import {
  type Simulator,
  type SimulatorOptions,
  type SimulatorStats,
  startSimulator,
} from '../../lib/simulator/index.ts';

/** An answer, read to its end. */
export interface Reply {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
}

export interface CallOptions {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'HEAD';
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly signal?: AbortSignal;
}

/** A simulator and a client for it, both gone when the test ends. */
export interface Bench {
  readonly sim: Simulator;
  call(path: string, options?: CallOptions): Promise<Reply>;
}

export async function startBench(t: TestContext, options: SimulatorOptions = {}): Promise<Bench> {
  const sim = await startSimulator({ algorithm: 'none', serviceTimeMs: 0, ...options });
  const agent = new Agent({ connections: 16, pipelining: 1 });
  t.after(async () => {
    await agent.destroy();
    await sim.close();
  });
  return {
    sim,
    async call(path, { method = 'GET', ...rest } = {}) {
      const { statusCode, headers, body } = await agent.request({ origin: sim.url, path, method, ...rest });
      return { status: statusCode, headers, text: await body.text() };
    },
  };
}

/** Ask for the numbers until they are as expected: what a client does reaches the server in its own time. */
export async function statsWhen(sim: Simulator, isRight: (stats: SimulatorStats) => boolean): Promise<SimulatorStats> {
  for (;;) {
    const stats = await sim.stats();
    if (isRight(stats)) return stats;
  }
}

/** A raw connection that has sent this text. */
export async function rawRequest(t: TestContext, sim: Simulator, text: string): Promise<Socket> {
  const socket = connect(sim.port, '127.0.0.1');
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  socket.write(text);
  return socket;
}

/** The code of an error, or of its cause. */
export function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
}
