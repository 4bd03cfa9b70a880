import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BatchSummary, createEngine, type Engine, type EngineOptions, type HttpItem } from '../../lib/index.ts';
import {
  type Arrival,
  type Simulator,
  type SimulatorOptions,
  type SimulatorStats,
  startSimulator,
} from '../../lib/simulator/index.ts';

/** Distance between the starts of runs that go side by side, so that their bursts do not meet. */
const STAGGER_MS = 83;
/** How often to look if all tokens are free again. */
const LOOK_MS = 20;

/** One batch under a rate limit against a simulator of its own. */
export interface LimitedPlan {
  readonly name: string;
  readonly items: number;
  /** `handler` and `http` are filled in by `api`. */
  readonly engine: Omit<EngineOptions, 'handler' | 'http'>;
  readonly server: SimulatorOptions;
  /** `kis`: prices of symbols, and refusals as KIS words them. Default `plain`. */
  readonly api?: 'plain' | 'kis';
  /** Time the start of the engine and its connections as well. Default: threads and connections are there. */
  readonly isCold?: boolean;
}

/** How it went: the client's view, and the server's, which is the one that counts. */
export interface LimitedResult {
  readonly plan: LimitedPlan;
  /** From the call of `run` to its end; of a cold run, from the call of `createEngine`. */
  readonly elapsedMs: number;
  readonly summary: BatchSummary;
  /** As the server saw them; those of the warm-up are not among them. */
  readonly arrivals: readonly Arrival[];
  readonly server: SimulatorStats;
  /** Refused since the engine was made, in the warm-up too. */
  readonly refusedEver: number;
  /** The waits after rate-limit events. */
  readonly backoffsMs: readonly number[];
  /** Mean time that handlers took, over the items that succeeded. */
  readonly meanResponseMs: number;
}

/**
 * Run plans side by side: these runs wait most of the time. All are warmed up before the first one starts, and they
 * start one after the other.
 */
export async function runSideBySide(plans: readonly LimitedPlan[]): Promise<LimitedResult[]> {
  const runs: LimitedRun[] = [];
  try {
    for (const plan of plans) {
      const run = new LimitedRun(plan, await startServer(plan));
      runs.push(run);
      if (plan.isCold !== true) await run.warmUp();
    }
    return await Promise.all(runs.map((run, place) => run.measure(place * STAGGER_MS)));
  } finally {
    await Promise.all(runs.map((run) => run.close()));
  }
}

function startServer({ server, api }: LimitedPlan): Promise<Simulator> {
  // Faults come with the batch that is measured, not with the warm-up. Tokens of the API are beside the point here.
  const { faults: _, ...options } = server;
  return startSimulator({ ...options, kis: api === 'kis' ? { checkHeaders: false } : false });
}

class LimitedRun {
  readonly #plan: LimitedPlan;
  readonly #simulator: Simulator;
  readonly #items: readonly HttpItem[];
  #engine: Engine | undefined;

  constructor(plan: LimitedPlan, simulator: Simulator) {
    this.#plan = plan;
    this.#simulator = simulator;
    this.#items = Array.from({ length: plan.items }, (_, index) => itemOf(plan, index));
  }

  /** Threads, handlers and connections ready, every token free. */
  async warmUp(): Promise<void> {
    const engine = this.#open();
    await engine.ready();
    await engine.run(this.#items.slice(0, engine.stats().concurrency));
    while (engine.stats().tokens.some(({ free, total }) => free < total)) await sleep(LOOK_MS);
  }

  async measure(afterMs: number): Promise<LimitedResult> {
    await sleep(afterMs);
    await this.#simulator.reset();
    await this.#simulator.setFaults(this.#plan.server.faults ?? []);
    const backoffsMs: number[] = [];
    const startedMs = performance.now();
    const engine = this.#open();
    engine.on('paused', ({ delayMs }) => backoffsMs.push(delayMs));
    const { outcomes, summary } = await engine.run(this.#items);
    const elapsedMs = performance.now() - startedMs;
    const responsesMs = outcomes.flatMap((outcome) => (outcome.ok ? [outcome.durationMs] : []));
    return {
      plan: this.#plan,
      elapsedMs,
      summary,
      arrivals: await this.#simulator.arrivals(),
      server: await this.#simulator.stats(),
      refusedEver: engine.stats().refused,
      backoffsMs,
      meanResponseMs: mean(responsesMs),
    };
  }

  async close(): Promise<void> {
    await this.#engine?.close({ mode: 'abort' });
    await this.#simulator.close();
  }

  #open(): Engine {
    const { engine, api } = this.#plan;
    this.#engine ??= (createEngine as (options: EngineOptions) => Engine)({
      ...engine,
      ...(api === 'kis' ? { handler: new URL('../../workers/kis.js', import.meta.url) } : {}),
      http: { baseUrl: this.#simulator.url, headers: HEADERS },
    });
    return this.#engine;
  }
}

/** As many bytes as a client of KIS sends. */
const HEADERS = {
  'content-type': 'application/json; charset=utf-8',
  authorization: `Bearer ${'x'.repeat(340)}`,
  appkey: 'x'.repeat(36),
  appsecret: 'x'.repeat(180),
  tr_id: 'FHKST01010100',
  custtype: 'P',
};

function itemOf({ api }: LimitedPlan, index: number): HttpItem {
  if (api !== 'kis') return { url: `/items/${index}` };
  const symbol = String(5_930 + 10 * index).padStart(6, '0');
  return {
    url: '/uapi/domestic-stock/v1/quotations/inquire-price',
    query: { FID_COND_MRKT_DIV_CODE: 'J', FID_INPUT_ISCD: symbol },
  };
}

/** Arithmetic mean; NaN of none. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** How long the server took for each request that it accepted, in the order of arrival. */
export function serviceTimesMs(arrivals: readonly Arrival[]): number[] {
  return arrivals.flatMap(({ outcome, atNs, answeredAtNs }) =>
    outcome === 'ok' && answeredAtNs !== undefined ? [Number(answeredAtNs - atNs) / 1e6] : [],
  );
}

/**
 * Requests per second once the bucket's first burst is over: (n - N) / (start[n-1] - start[N-1]), as the server saw the
 * starts. NaN for fewer than N + 1 requests.
 */
export function sustainedPerSecond(arrivals: readonly Arrival[], tokens: number): number {
  const burstEnd = arrivals[tokens - 1];
  const last = arrivals.at(-1);
  if (burstEnd === undefined || last === undefined || arrivals.length <= tokens) return Number.NaN;
  return ((arrivals.length - tokens) * 1e9) / Number(last.atNs - burstEnd.atNs);
}
