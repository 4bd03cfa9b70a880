import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Progress } from '../batch/progress.ts';
import { type BatchResult, createEngine, type Engine } from '../engine.ts';
import { SluicegateError } from '../errors.ts';
import { KIS_HANDLER } from '../files.ts';
import { type Preset, presets } from '../presets.ts';
import { type Fault, type Simulator, type SimulatorStats, startSimulator } from '../simulator/index.ts';
import type { HttpItem, HttpValue } from '../types.ts';
import type { DemoFlags } from './flags.ts';
import { symbols } from './symbols.ts';

/** What the simulated server allows in any second. */
export const SERVER_LIMIT = 20;
const WINDOW_MS = 1000;
const SERVICE_TIME_MS = [5, 30] as const;
/** The server in words. */
export const SERVER_TEXT = `${SERVER_LIMIT} requests in any second (sliding log), answers in ${SERVICE_TIME_MS.join('-')} ms`;

/** In the lengths of real ones: 36 and 180 characters. */
const APP_KEY = 'PSsluicegatedemo'.padEnd(36, '0');
const APP_SECRET = 'sluicegate-demo'.padEnd(180, '0');
const REST_POLL_MS = 50;

/** A run, as the engine and as the server saw it. */
export interface DemoRun {
  readonly result: BatchResult<HttpValue>;
  readonly server: SimulatorStats;
}

/** A simulated KIS server and an engine that has its threads ready, for one or more runs of the same batch. */
export class DemoSession {
  readonly engine: Engine<HttpItem, HttpValue>;
  readonly preset: Preset;
  readonly symbols: readonly string[];
  /** From making the engine to having all its threads ready. */
  readonly startupMs: number;
  readonly #simulator: Simulator;

  private constructor(
    simulator: Simulator,
    engine: Engine<HttpItem, HttpValue>,
    preset: Preset,
    items: number,
    startupMs: number,
  ) {
    this.#simulator = simulator;
    this.engine = engine;
    this.preset = preset;
    this.symbols = symbols(items);
    this.startupMs = startupMs;
  }

  static async open(flags: DemoFlags): Promise<DemoSession> {
    const simulator = await startSimulator({
      limit: SERVER_LIMIT,
      windowMs: WINDOW_MS,
      algorithm: 'sliding-log',
      serviceTimeMs: SERVICE_TIME_MS,
      seed: flags.seed,
    });
    try {
      const token = await fetchToken(simulator.url);
      const preset = flags.preset === 'exact' ? presets.exact(SERVER_LIMIT, WINDOW_MS) : presets.conservative;
      const startedMs = performance.now();
      const engine = createEngine<HttpItem, HttpValue>({
        ...preset,
        handler: KIS_HANDLER,
        http: {
          baseUrl: simulator.url,
          headers: {
            authorization: `Bearer ${token}`,
            appkey: APP_KEY,
            appsecret: APP_SECRET,
            tr_id: 'FHKST01010100',
            custtype: 'P',
          },
        },
        retry: { scope: flags.scope },
      });
      try {
        await engine.ready();
        return new DemoSession(simulator, engine, preset, flags.items, performance.now() - startedMs);
      } catch (error) {
        await engine.close({ mode: 'abort' });
        throw error;
      }
    } catch (error) {
      await simulator.close();
      throw error;
    }
  }

  /**
   * Fetch all prices.
   *
   * @param rejectAt numbers of the requests that the server refuses, from 1
   */
  async run(
    rejectAt: readonly number[],
    options: { readonly signal: AbortSignal; readonly onProgress?: (progress: Progress) => void },
  ): Promise<DemoRun> {
    const faults: Fault[] = rejectAt.length === 0 ? [] : [{ kind: 'refuse', at: rejectAt }];
    await this.#simulator.setFaults(faults);
    await this.#simulator.reset();
    const items = this.symbols.map((symbol) => ({
      url: '/uapi/domestic-stock/v1/quotations/inquire-price',
      query: { FID_COND_MRKT_DIV_CODE: 'J', FID_INPUT_ISCD: symbol },
    }));
    const result = await this.engine.run(items, options);
    return { result, server: await this.#simulator.stats() };
  }

  /** Wait until all tokens are free, so that a further run starts as the first one did. */
  async rest(signal: AbortSignal): Promise<void> {
    const isRested = () => this.engine.stats().tokens.every(({ total, free }) => free === total);
    while (!isRested() && !signal.aborted) await sleep(REST_POLL_MS);
  }

  async close(): Promise<void> {
    await this.engine.close({ mode: 'abort' });
    await this.#simulator.close();
  }
}

/** An access token lives for a day and is issued once a minute: it is fetched once, here, for all threads. */
async function fetchToken(baseUrl: string): Promise<string> {
  const response = await fetch(`${baseUrl}/oauth2/tokenP`, {
    method: 'POST',
    headers: { 'content-type': 'application/json; charset=utf-8' },
    body: JSON.stringify({ grant_type: 'client_credentials', appkey: APP_KEY, appsecret: APP_SECRET }),
  });
  const body = (await response.json()) as { readonly access_token?: unknown };
  if (typeof body.access_token === 'string') return body.access_token;
  throw new SluicegateError('DEMO_TOKEN', `The simulator issued no access token: HTTP ${response.status}.`);
}
