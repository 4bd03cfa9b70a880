import type { EngineCore } from './engine-core.ts';
import type { CircuitState } from './events.ts';
import { type Latency, latencyOf } from './shared/latency.ts';
import { WORK } from './shared/layout.ts';

/** A snapshot of an engine. Plain data. */
export interface EngineStats {
  readonly threads: number;
  readonly threadsReady: number;
  readonly concurrency: number;
  /** Batches that run now. */
  readonly batches: number;
  /** Items that wait on the main thread to be handed out. */
  readonly pending: number;
  /** Items that wait in a lane for their tokens or start slot. */
  readonly waiting: number;
  /** Items whose handler runs. */
  readonly inFlight: number;
  /** Since the engine was made. */
  readonly succeeded: number;
  readonly failed: number;
  readonly requestsSent: number;
  readonly refused: number;
  readonly cancelled: number;
  readonly retried: number;
  readonly rateLimitEvents: number;
  /** Hints of the upstream that made no sense, or asked for longer than `retry.maxRetryAfterMs`. */
  readonly hintsIgnored: number;
  /** The state of the circuit breaker; `closed` also if there is none. */
  readonly circuit: CircuitState;
  /** How often the circuit breaker was opened. */
  readonly circuitOpenings: number;
  /** How often new credentials were obtained. */
  readonly credentialRefreshes: number;
  readonly workerExits: number;
  /** True while a rate-limit event is being dealt with. */
  readonly isPaused: boolean;
  /** How long the engine still waits before it goes on; 0 if it does not. */
  readonly pauseLeftMs: number;
  /** Per limit, the scarcest first: all tokens, and how many could be taken now. */
  readonly tokens: readonly { readonly total: number; readonly free: number }[];
  /** How long attempts waited for their tokens and start slot, since the engine was made. */
  readonly waitMs: Latency;
  /** How long handlers ran, since the engine was made. */
  readonly durationMs: Latency;
}

/** Read the numbers of an engine. */
export function statsOf(core: EngineCore): EngineStats {
  const { breaker, counts, credentials, dispatcher, gate, limiter, options, pool, recovery } = core;
  const nowNs = process.hrtime.bigint();
  let waiting = 0;
  let inFlight = 0;
  for (const { slot } of dispatcher.chunks) {
    const { work } = slot;
    if ((work & WORK.called) !== 0) inFlight++;
    else if ((work & WORK.waiting) !== 0) waiting++;
  }
  let pending = 0;
  for (const batch of dispatcher.batches) {
    pending += batch.pending + batch.held + batch.delayed.size + batch.lost.length;
  }
  return {
    threads: options.threads,
    threadsReady: pool.ready.length,
    concurrency: options.concurrency,
    batches: dispatcher.batches.size,
    pending,
    waiting,
    inFlight,
    succeeded: counts.succeeded,
    failed: counts.failed,
    requestsSent: counts.sent,
    refused: counts.refused,
    cancelled: counts.cancelled,
    retried: counts.retried,
    rateLimitEvents: recovery.events,
    hintsIgnored: gate.hintsIgnored,
    circuit: breaker?.state ?? 'closed',
    circuitOpenings: breaker?.openings ?? 0,
    credentialRefreshes: credentials.refreshes,
    workerExits: core.workerExits,
    isPaused: !dispatcher.isOpen,
    pauseLeftMs: recovery.pauseLeftMs,
    tokens: limiter.buckets.map((bucket) => ({ total: bucket.limit.tokens, free: bucket.countFree(nowNs) })),
    waitMs: latencyOf(core.waitUs),
    durationMs: latencyOf(core.serviceUs),
  };
}
