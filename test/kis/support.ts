import type { TestContext } from 'node:test';
import { createKisClient, type KisClient, type KisClientOptions, type KisItem } from '../../lib/kis/index.ts';
import { type KisOptions, type Simulator, type SimulatorOptions, startSimulator } from '../../lib/simulator/index.ts';
import type { Outcome } from '../../lib/types.ts';

/** As long as the real ones, and easy to find wherever they are not supposed to be. */
export const APP_KEY = 'PSkey-canary-0123456789-abcdefghij-x';
export const APP_SECRET = `secret-canary-${'0123456789'.repeat(16)}+/==x`;

/** A limit that no test waits for. */
export const FAST = { limit: 200, windowMs: 1000, initial: 'full' } as const;

export interface KisBench {
  readonly sim: Simulator;
  readonly client: KisClient;
}

/** A simulator that knows only these keys, ends with the test, refuses nothing and answers at once. */
export async function startSim(
  t: TestContext,
  kis: KisOptions = {},
  options: SimulatorOptions = {},
): Promise<Simulator> {
  const sim = await startSimulator({
    algorithm: 'none',
    serviceTimeMs: 0,
    ...options,
    kis: { appKey: APP_KEY, appSecret: APP_SECRET, tokenIntervalMs: 0, ...kis },
  });
  t.after(() => sim.close());
  return sim;
}

/** A client that ends with the test, quick in everything but what the test is about. */
export function makeClient(t: TestContext, sim: Simulator, options: KisClientOptions = {}): KisClient {
  const client = createKisClient({
    appKey: APP_KEY,
    appSecret: APP_SECRET,
    baseUrl: sim.url,
    tokenIntervalMs: 20,
    rate: FAST,
    threads: 2,
    retry: { initialMs: 1, maxMs: 5, jitter: 0 },
    ...options,
  });
  t.after(() => client.close({ mode: 'abort' }));
  return client;
}

export async function startKis(
  t: TestContext,
  client: KisClientOptions = {},
  kis: KisOptions = {},
  simulator: SimulatorOptions = {},
): Promise<KisBench> {
  const sim = await startSim(t, kis, simulator);
  return { sim, client: makeClient(t, sim, client) };
}

/** Codes of domestic stocks that the simulator knows. */
export function symbols(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(100 + index).padStart(6, '0'));
}

export function domestic(count: number): KisItem[] {
  return symbols(count).map((symbol) => [symbol, 'KR']);
}

/** The end of each item in a word: its code and the upstream's, or `ok`. */
export function ends(outcomes: readonly Outcome[]): string[] {
  return outcomes.map((outcome) =>
    outcome.ok ? 'ok' : [outcome.error.code, outcome.error.upstreamCode].filter((code) => code !== undefined).join(' '),
  );
}
