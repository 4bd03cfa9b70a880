import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BatchSummary, createEngine, type Engine, type EngineOptions, type HttpItem } from '../../lib/index.ts';
import {
  type Arrival,
  type Fault,
  type Simulator,
  type SimulatorOptions,
  type SimulatorStats,
  startSimulator,
} from '../../lib/simulator/index.ts';
import { type SideRun, sideBySide } from './side-by-side.ts';
import type { Mode } from './suite.ts';

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
  /** Look so often at how many tokens are free. Default: never. */
  readonly sampleEveryMs?: number;
  readonly storm?: Storm;
}

/** A time in which something is wrong with the server, whatever number the requests have. */
export interface Storm {
  readonly afterMs: number;
  readonly durationMs: number;
  readonly fault: Fault;
}

/** How many tokens could be taken at a time, from the start of the batch. */
export interface TokenSample {
  readonly atMs: number;
  readonly free: number;
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
  /** Times that handlers took, of the items that succeeded. */
  readonly responsesMs: readonly number[];
  readonly samples: readonly TokenSample[];
}

/**
 * Run engines side by side, each against a server of its own.
 *
 * @throws Error that names all that failed: they are all ours, so it is no use to go on without them
 */
export async function runSideBySide(plans: readonly LimitedPlan[]): Promise<LimitedResult[]> {
  const results = await sideBySide(plans.map((plan) => () => openEngineRun(plan)));
  const failed = results.flatMap(({ error }, place) =>
    error === undefined ? [] : [`${plans[place]?.name}: ${error}`],
  );
  if (failed.length > 0) throw new Error(failed.join('\n'));
  return results.flatMap(({ result }) => result ?? []);
}

/** The same plans, or in a quick run with a quarter of their items. */
export function inMode(plans: readonly LimitedPlan[], { isQuick }: Mode): LimitedPlan[] {
  return plans.map((plan) => (isQuick ? { ...plan, items: Math.ceil(plan.items / 4) } : plan));
}

/** An engine and a server of its own, threads and connections ready unless the plan says otherwise. */
export async function openEngineRun(plan: LimitedPlan): Promise<SideRun<LimitedResult>> {
  const run = new LimitedRun(plan, await startServer(plan));
  if (plan.isCold !== true) await run.warmUp();
  return run;
}

/** A server without its faults: they come with the batch that is measured, not with the warm-up. */
export function startServer({ server, api }: Pick<LimitedPlan, 'server' | 'api'>): Promise<Simulator> {
  // Tokens of the API are beside the point here.
  const { faults: _, ...options } = server;
  return startSimulator({ ...options, kis: api === 'kis' ? { checkHeaders: false } : false });
}

/** Let a storm come and go while something runs; the returned function ends it. */
export function startStorm(simulator: Simulator, storm: Storm | undefined): () => void {
  if (storm === undefined) return () => {};
  const { afterMs, durationMs, fault } = storm;
  const set = (faults: Fault[]) => void simulator.setFaults(faults).catch(() => undefined);
  const timers = [setTimeout(set, afterMs, [fault]), setTimeout(set, afterMs + durationMs, [])];
  return () => timers.forEach(clearTimeout);
}

class LimitedRun implements SideRun<LimitedResult> {
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

  async measure(): Promise<LimitedResult> {
    await this.#simulator.reset();
    await this.#simulator.setFaults(this.#plan.server.faults ?? []);
    const backoffsMs: number[] = [];
    const startedMs = performance.now();
    const engine = this.#open();
    engine.on('paused', ({ delayMs }) => backoffsMs.push(delayMs));
    const samples: TokenSample[] = [];
    const sample = () =>
      samples.push({ atMs: performance.now() - startedMs, free: engine.stats().tokens[0]?.free ?? 0 });
    const sampler = this.#plan.sampleEveryMs === undefined ? undefined : setInterval(sample, this.#plan.sampleEveryMs);
    const endStorm = startStorm(this.#simulator, this.#plan.storm);
    const { outcomes, summary } = await engine.run(this.#items);
    const elapsedMs = performance.now() - startedMs;
    clearInterval(sampler);
    endStorm();
    return {
      plan: this.#plan,
      elapsedMs,
      summary,
      arrivals: await this.#simulator.arrivals(),
      server: await this.#simulator.stats(),
      refusedEver: engine.stats().refused,
      backoffsMs,
      responsesMs: outcomes.flatMap((outcome) => (outcome.ok ? [outcome.durationMs] : [])),
      samples,
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

/** How many requests arrived in each full second since the first one. */
export function arrivalsPerSecond(arrivals: readonly Arrival[]): number[] {
  const firstNs = arrivals[0]?.atNs ?? 0n;
  const lastNs = arrivals.at(-1)?.atNs ?? 0n;
  const counts = new Array<number>(Math.floor(Number(lastNs - firstNs) / 1e9)).fill(0);
  for (const { atNs } of arrivals) {
    const second = Math.floor(Number(atNs - firstNs) / 1e9);
    if (second < counts.length) counts[second] = (counts[second] ?? 0) + 1;
  }
  return counts;
}
