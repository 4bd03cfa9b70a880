import type { GroupReport } from './batch/feeder.ts';
import type { Progress } from './batch/progress.ts';
import type { ErrorCode } from './errors.ts';
import type { CauseName } from './shared/gate.ts';
import type { ErrorRecord } from './types.ts';

/** The states of the circuit breaker. */
export type CircuitState = 'closed' | 'open' | 'half-open';

/** Why credentials are asked for: there are none yet, the upstream refused them, or `refreshCredentials` was called. */
export type RefreshReason = 'initial' | 'refused' | 'requested';

/** What an engine reports while it works. No event needs a listener. */
export interface EngineEvents {
  /** At most every 100 ms for each batch (or by its `progressInterval`), and once at its end. `batch` numbers the runs of this engine from 1. */
  progress: Progress & { readonly batch: number };
  /** The upstream refused a request: no further one starts. `generation` counts from 1 how often the engine was stopped, for whatever cause. */
  rateLimited: { readonly generation: number };
  /**
   * All requests of before have come to an end; the engine waits for `delayMs`, or until its credentials are fresh or
   * its circuit is half-open. `causes` says why: `refused`, `quota`, `credentials`, `circuit`.
   */
  paused: {
    readonly generation: number;
    readonly delayMs: number;
    readonly eventsInRow: number;
    readonly causes: readonly CauseName[];
  };
  /** The engine goes on, `pausedMs` after it heard of the event. */
  resumed: { readonly generation: number; readonly pausedMs: number };
  /** The circuit breaker went from one state to another; `openMs` says for how long it opened. */
  circuit: { readonly from: CircuitState; readonly to: CircuitState; readonly openMs?: number };
  /** New credentials were asked for; `ok: false` if that failed, and the batches that needed them with it. */
  credentials: { readonly reason: RefreshReason; readonly ok: boolean };
  /** An item failed for good with an error that the recovery table wants somebody to know of. */
  notify: { readonly batch: number; readonly index: number; readonly error: ErrorRecord };
  /** A group of a batch with `batchSize` or `dynamicBatch` is done. */
  group: GroupReport & { readonly batch: number };
  /** An item will be tried again after `delayMs`. */
  retry: {
    readonly batch: number;
    readonly index: number;
    readonly attempt: number;
    readonly code: ErrorCode;
    readonly delayMs: number;
  };
  /** A worker thread has ended while the engine was open, and is being replaced. */
  workerExit: { readonly threadId: number; readonly exitCode: number; readonly reason: string };
}
