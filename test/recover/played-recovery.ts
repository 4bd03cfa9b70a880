import { mock } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RetryRules } from '../../lib/batch/decide.ts';
import { type BreakerRules, CircuitBreaker } from '../../lib/recover/circuit-breaker.ts';
import { Credentials, type RefreshRequest } from '../../lib/recover/credentials.ts';
import { Recovery } from '../../lib/recover/recovery.ts';
import { CircuitCounters } from '../../lib/shared/circuit-counters.ts';
import { Gate } from '../../lib/shared/gate.ts';
import { RULES, Stage } from '../batch/played-threads.ts';

export const BREAKER: BreakerRules = {
  successThreshold: 1,
  openMs: 300,
  openFactor: 2,
  maxOpenMs: 10_000,
  halfOpenProbes: 1,
  whenOpen: 'wait',
};

export interface SceneOptions {
  readonly lanes?: readonly number[];
  readonly mode?: 'cancel' | 'drain';
  readonly rules?: Partial<RetryRules>;
  readonly random?: number;
  readonly stretch?: number;
  readonly initial?: unknown;
  readonly hook?: (request: RefreshRequest) => unknown;
  readonly breaker?: Partial<BreakerRules> | false;
}

/** All promises that can go on have gone on. */
export const settled = () => nextTurn();

/** What happens from a closed gate to going on, in a time of its own: the clock and the timers are the test's. */
export class Scene {
  readonly stage: Stage;
  readonly gate: Gate;
  readonly credentials: Credentials;
  readonly breaker: CircuitBreaker | undefined;
  readonly recovery: Recovery;
  /** What the engine would tell its threads and its listeners, in order. */
  readonly log: unknown[][] = [];
  readonly asked: string[] = [];

  constructor(options: SceneOptions = {}) {
    mock.timers.enable({ apis: ['setTimeout'] });
    this.stage = new Stage(options.lanes ?? [2]);
    const { block, dispatcher } = this.stage;
    this.gate = new Gate(block);
    const nowMs = () => this.stage.nowMs;
    const { hook } = options;
    this.credentials = new Credentials({
      initial: 'initial' in options ? options.initial : 'old',
      refresh:
        hook &&
        ((request) => {
          this.asked.push(request.reason);
          return hook(request);
        }),
      timeoutMs: 60_000,
      onSettled: (reason, ok) => this.log.push(['credentials', reason, ok]),
    });
    if (options.breaker !== undefined && options.breaker !== false) {
      this.breaker = new CircuitBreaker({
        rules: { ...BREAKER, ...options.breaker },
        counters: new CircuitCounters(block, {
          failureThreshold: 1,
          failureRate: 1,
          minimumCalls: 100,
          windowMs: 60_000,
        }),
        nowMs,
        onChange: (from, to) => this.log.push(['circuit', from, to]),
      });
    }
    this.recovery = new Recovery({
      gate: this.gate,
      dispatcher,
      rules: { ...RULES, ...options.rules },
      mode: options.mode ?? 'cancel',
      timeoutMs: 500,
      cancelGraceMs: 100,
      stretch: () => options.stretch ?? 1,
      breaker: this.breaker,
      credentials: this.credentials,
      events: {
        rateLimited: (event) => this.log.push(['rateLimited', event]),
        paused: (event) => this.log.push(['paused', event]),
        resumed: (event) => this.log.push(['resumed', event]),
      },
      clock: {
        nowMs,
        nowNs: () => this.nowNs,
        setTimer: setTimeout,
        clearTimer: (timer) => clearTimeout(timer as NodeJS.Timeout),
      },
      random: () => options.random ?? 0,
      broadcast: (generation, cancels) => this.log.push(['broadcast', generation, cancels]),
      kill: (thread, because) => this.log.push(['kill', thread.place, because]),
    });
  }

  get nowNs(): bigint {
    return BigInt(Math.round(this.stage.nowMs * 1e6));
  }

  /** A thread closes the gate, and the main thread hears of it. */
  async close(causes: number): Promise<void> {
    this.gate.close(this.gate.generation, causes);
    this.recovery.notice();
    await settled();
  }

  async advance(ms: number): Promise<void> {
    this.stage.nowMs += ms;
    mock.timers.tick(ms);
    await settled();
  }

  /** What was told since this was asked last. */
  told(): unknown[][] {
    return this.log.splice(0);
  }

  /** The names only. */
  names(): unknown[] {
    return this.told().map(([name]) => name);
  }
}
