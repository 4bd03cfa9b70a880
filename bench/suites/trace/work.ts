import { createEngine, type Engine, type EngineOptions } from '../../../lib/index.ts';
import { startHttpServer } from '../http/server.ts';

const THREADS = 2;
const IN_FLIGHT = 16;

/** The same items for engines with and without a trace. */
export interface Work {
  readonly items: readonly unknown[];
  readonly options: EngineOptions;
  close(): Promise<void>;
}

/** Opens what the items need. */
export type OpenWork = () => Promise<Work>;

/** Requests that wait for nothing but the CPU. */
export const smallGets: OpenWork = () => openHttp(2_000, {});

/** Requests that wait for tokens most of the time. */
export const limitedHttp: OpenWork = () => openHttp(200, { rate: { limit: 2, windowMs: 1 } });

async function openHttp(count: number, options: EngineOptions): Promise<Work> {
  const server = await startHttpServer();
  const items = new Array<unknown>(count).fill({ url: `${server.url}/small` });
  return { items, options: { threads: THREADS, concurrency: IN_FLIGHT, ...options }, close: () => server.close() };
}

/** What an engine does itself, and nothing else. */
export const noOps: OpenWork = async () => ({
  items: Array.from({ length: 50_000 }, (_, index) => index),
  options: {
    threads: THREADS,
    concurrency: IN_FLIGHT,
    handler: new URL('../core/fixtures/noop.js', import.meta.url),
  },
  close: async () => {},
});

/** An engine that is ready to work. */
export async function openEngine(options: EngineOptions): Promise<Engine<unknown, unknown>> {
  const engine = createEngine<unknown, unknown>(options);
  await engine.ready();
  return engine;
}
