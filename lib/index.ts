export type { TraceLine, TraceVerdict } from './audit/trace-line.ts';
export type { DynamicBatchOptions } from './batch/dynamic-batch.ts';
export type { GroupReport } from './batch/feeder.ts';
export type { Progress } from './batch/progress.ts';
export { type BatchSummary, formatSummary } from './batch/summary.ts';
export { type BatchResult, createEngine, type Engine } from './engine.ts';
export type { EngineStats } from './engine-stats.ts';
export { optionsFromEnvironment } from './environment.ts';
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
export type { CircuitState, EngineEvents, RefreshReason } from './events.ts';
export type {
  CircuitOptions,
  CloseOptions,
  EngineOptions,
  RateLimit,
  RetryOptions,
  RunOptions,
} from './options.ts';
export { type Preset, presets } from './presets.ts';
export type { RefreshRequest } from './recover/credentials.ts';
export type { CauseName } from './shared/gate.ts';
export type { Latency } from './shared/latency.ts';
export type { SaveOptions, StatisticsOptions } from './statistics/options.ts';
export type { Statistics } from './statistics/statistics.ts';
export { StatisticsError } from './statistics/statistics-error.ts';
export type {
  CauseRecord,
  Classify,
  DetailedVerdict,
  ErrorMatch,
  ErrorRecord,
  Failure,
  Handler,
  HandlerContext,
  HttpItem,
  HttpOptions,
  HttpValue,
  LocalizedText,
  Outcome,
  Permit,
  RecoveryAction,
  RecoveryRule,
  Settled,
  Severity,
  Success,
  Verdict,
} from './types.ts';
