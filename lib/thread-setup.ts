import type { RecordableHistogram } from 'node:perf_hooks';
import type { PlannedLimit } from './limit/plan.ts';
import type { SharedSetup } from './pool/thread-pool.ts';
import type { ResolvedOptions } from './resolve-options.ts';
import type { ControlBlock } from './shared/control-block.ts';

/** What every thread of an engine is told. */
export function threadSetupOf(
  options: ResolvedOptions,
  shared: {
    readonly block: ControlBlock;
    readonly limits: readonly PlannedLimit[];
    readonly channel: string;
    readonly waitUs: RecordableHistogram;
    readonly serviceUs: RecordableHistogram;
  },
): SharedSetup {
  const { block, limits, channel, waitUs, serviceUs } = shared;
  return {
    buffer: block.buffer,
    layout: block.layout,
    limits,
    channel,
    handlerUrl: options.handler.url,
    handlerData: options.handlerData,
    http: options.http,
    dispatcherUrl: options.dispatcherUrl,
    timeoutMs: options.timeoutMs,
    acquireTimeoutMs: acquireTimeoutOf(options),
    onRateLimit: options.onRateLimit,
    recovery: options.recovery,
    circuit: options.circuit,
    // With a limit of our own the upstream's count is expected to be used up now and then.
    obeysQuota: options.hints === 'strict' || options.rate.length === 0,
    maxRetryAfterMs: options.retry.maxRetryAfterMs,
    maxAttempts: options.retry.maxAttempts,
    canRefresh: options.onRefreshCredentials !== undefined,
    isTracing: options.trace !== undefined,
    waitUs,
    serviceUs,
  };
}

/**
 * The longest wait for a further token that can still come to a good end: all lanes ask for one, and each token comes
 * back after the longest attempt and the longest rest. What waits longer waits for itself.
 */
function acquireTimeoutOf({ rate, concurrency, timeoutMs }: ResolvedOptions): number {
  let longestMs = timeoutMs;
  for (const { tokens, windowMs, straggleMs } of rate) {
    const turns = Math.ceil(concurrency / tokens) + 1;
    longestMs = Math.max(longestMs, turns * (timeoutMs + windowMs + straggleMs));
  }
  return longestMs;
}
