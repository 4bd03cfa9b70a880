import type { ErrorCode } from '../errors.ts';
import type { Latency } from '../shared/latency.ts';

/** How a batch went. Plain data. */
export interface BatchSummary {
  readonly total: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Share of failed items, 0 to 1; 0 for an empty batch. */
  readonly errorRate: number;
  /** Failed items by error code; codes that did not occur are missing. */
  readonly errors: Readonly<Partial<Record<ErrorCode, number>>>;
  /** 1, and one more for each time that the batch went on after a rate-limit event. */
  readonly rounds: number;
  /** How often the upstream's rate limit stopped the engine while the batch ran. */
  readonly rateLimitEvents: number;
  /** Requests that the upstream refused. */
  readonly refused: number;
  /** Requests in flight that were cancelled because of another one's refusal. */
  readonly cancelled: number;
  /** Attempts that were made again because of a `retry` verdict. */
  readonly retried: number;
  /** Requests sent; calls of the handler, for one that does not say when it sends. */
  readonly requestsSent: number;
  readonly elapsedMs: number;
  /** Items per second, whatever their end. */
  readonly throughputPerSecond: number;
  /** How long the last attempt of each item waited for its tokens and start slot. */
  readonly waitMs: Latency;
  /** How long the handler's last attempt at each item took. */
  readonly durationMs: Latency;
}

const seconds = (ms: number): string => (ms < 10_000 ? (ms / 1e3).toFixed(2) : (ms / 1e3).toFixed(1));
const line = (label: string, text: string): string => `${label.padEnd(18)}${text}`;
const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;
const latency = (l: Latency): string =>
  `p50 ${l.p50.toFixed(1)} ms, p90 ${l.p90.toFixed(1)} ms, p99 ${l.p99.toFixed(1)} ms, max ${l.max.toFixed(1)} ms`;

/** The summary as text of several lines, as the command line prints it. */
export function formatSummary(summary: BatchSummary): string {
  const codes = Object.entries(summary.errors)
    .map(([code, count]) => `${code} ${count}`)
    .join(', ');
  return [
    line('items', `${summary.total} (${summary.succeeded} succeeded, ${summary.failed} failed)`),
    line('error rate', `${(summary.errorRate * 100).toFixed(1)} %${codes === '' ? '' : ` (${codes})`}`),
    line('elapsed', `${seconds(summary.elapsedMs)} s`),
    line('throughput', `${summary.throughputPerSecond.toFixed(1)} items/s`),
    line('requests sent', `${summary.requestsSent}`),
    line(
      'rate limit',
      `${count(summary.rateLimitEvents, 'event')}, ${summary.refused} refused, ${summary.cancelled} cancelled, ${count(summary.rounds, 'round')}`,
    ),
    line('retried', `${summary.retried}`),
    line('waiting', latency(summary.waitMs)),
    line('service', latency(summary.durationMs)),
  ].join('\n');
}
