import { performance } from 'node:perf_hooks';
import { Agent, type Dispatcher } from 'undici';
import type { Arrival, Simulator, SimulatorOptions, SimulatorStats } from '../../lib/simulator/index.ts';
import { type Storm, startServer, startStorm } from './limited-run.ts';
import type { SideRun } from './side-by-side.ts';

/** As many connections as an engine with 20 in flight has when it starts. */
const WARM_CONNECTIONS = 20;

/** The server said that this was too fast. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  readonly retryAfterMs: number | undefined;

  constructor(status: number, retryAfterMs: number | undefined) {
    super(`Refused with status ${status}.`);
    this.retryAfterMs = retryAfterMs;
  }
}

/** A way to keep calls under a rate, made for one run. */
export interface Schedule {
  /** Call `send` when it is time to, and again after a refusal if that is part of the recipe. */
  schedule(send: () => Promise<void>): Promise<void>;
  close(): void;
  /** What stands between a request and the wire: the last one is asked first. */
  readonly interceptors?: Dispatcher.DispatcherComposeInterceptor[];
}

/** One client's batch against a server of its own, all in the main thread, requests by undici. */
export interface PeerPlan {
  readonly name: string;
  readonly items: number;
  readonly server: SimulatorOptions;
  readonly storm?: Storm;
  open(): Schedule;
}

export interface PeerResult {
  readonly plan: PeerPlan;
  readonly elapsedMs: number;
  readonly succeeded: number;
  readonly arrivals: readonly Arrival[];
  readonly server: SimulatorStats;
}

/** A peer and a server of its own, connections ready. */
export async function openPeerRun(plan: PeerPlan): Promise<SideRun<PeerResult>> {
  const run = new PeerRun(plan, await startServer(plan));
  await run.warmUp();
  return run;
}

class PeerRun implements SideRun<PeerResult> {
  readonly #plan: PeerPlan;
  readonly #simulator: Simulator;
  readonly #agent = new Agent();

  constructor(plan: PeerPlan, simulator: Simulator) {
    this.#plan = plan;
    this.#simulator = simulator;
  }

  /** Refusals do not matter here: what counts begins with `reset`. */
  async warmUp(): Promise<void> {
    await Promise.allSettled(Array.from({ length: WARM_CONNECTIONS }, () => this.#send('/warm', this.#agent)));
  }

  async measure(): Promise<PeerResult> {
    const plan = this.#plan;
    await this.#simulator.reset();
    await this.#simulator.setFaults(plan.server.faults ?? []);
    const startedMs = performance.now();
    // Made now: some count their intervals from when they were made.
    const schedule = plan.open();
    const { interceptors } = schedule;
    const dispatcher = interceptors === undefined ? this.#agent : this.#agent.compose(interceptors);
    const endStorm = startStorm(this.#simulator, plan.storm);
    const settled = await Promise.allSettled(
      Array.from({ length: plan.items }, (_, index) =>
        schedule.schedule(() => this.#send(`/items/${index}`, dispatcher)),
      ),
    );
    const elapsedMs = performance.now() - startedMs;
    endStorm();
    schedule.close();
    const wrong = settled.find((one) => one.status === 'rejected' && !isRefusal(one.reason));
    if (wrong !== undefined)
      throw new Error(`${plan.name} failed.`, { cause: (wrong as PromiseRejectedResult).reason });
    return {
      plan,
      elapsedMs,
      succeeded: settled.filter(({ status }) => status === 'fulfilled').length,
      arrivals: await this.#simulator.arrivals(),
      server: await this.#simulator.stats(),
    };
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
    await this.#simulator.close();
  }

  async #send(path: string, dispatcher: Dispatcher): Promise<void> {
    const { statusCode, headers, body } = await dispatcher.request({
      origin: this.#simulator.url,
      path,
      method: 'GET',
    });
    await body.text();
    if (statusCode === 200) return;
    const seconds = Number(headers['retry-after']);
    throw new RefusedError(statusCode, Number.isNaN(seconds) ? undefined : seconds * 1e3);
  }
}

/** Ours, or undici's when its own retries have come to an end. */
function isRefusal(reason: unknown): boolean {
  return reason instanceof RefusedError || (reason instanceof Error && 'statusCode' in reason);
}
