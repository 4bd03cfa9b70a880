export type { Progress } from './batch/progress.ts';
export { type BatchSummary, formatSummary } from './batch/summary.ts';
export { type BatchResult, createEngine, type Engine, type EngineStats } from './engine.ts';
export {
  EngineClosedError,
  ERROR_CODES,
  type ErrorCode,
  HandlerLoadError,
  InvalidOptionError,
  ItemError,
  RateLimitError,
  SluicegateError,
  StopError,
  WorkerStartError,
} from './errors.ts';
export type { EngineEvents } from './events.ts';
export type { CloseOptions, EngineOptions, RateLimit, RetryOptions, RunOptions } from './options.ts';
export { type Preset, presets } from './presets.ts';
export type { Latency } from './shared/latency.ts';
export type {
  CauseRecord,
  Classify,
  DetailedVerdict,
  ErrorRecord,
  Failure,
  Handler,
  HandlerContext,
  HttpItem,
  HttpOptions,
  HttpValue,
  Outcome,
  Permit,
  Settled,
  Success,
  Verdict,
} from './types.ts';
