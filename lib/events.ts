import type { Progress } from './batch/progress.ts';
import type { ErrorCode } from './errors.ts';

/** What an engine reports while it works. No event needs a listener. */
export interface EngineEvents {
  /** At most every 100 ms for each batch, and once at its end. `batch` numbers the runs of this engine from 1. */
  progress: Progress & { readonly batch: number };
  /** The upstream refused a request: no further one starts. `generation` counts these events from 1. */
  rateLimited: { readonly generation: number };
  /** All requests of before have come to an end; the engine waits for `delayMs`. */
  paused: { readonly generation: number; readonly delayMs: number; readonly eventsInRow: number };
  /** The engine goes on, `pausedMs` after it heard of the event. */
  resumed: { readonly generation: number; readonly pausedMs: number };
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
