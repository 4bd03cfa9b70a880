export type { KisErrorCode } from './kis/codes.ts';
export type { Algorithm } from './limiters.ts';
export { startSimulator } from './simulator.ts';
export type {
  Arrival,
  ArrivalOutcome,
  Fault,
  FaultKind,
  HugeBodyFault,
  KisFault,
  KisOptions,
  Order,
  PlainFault,
  Refusal,
  RefuseFault,
  RetryAfter,
  RetryAfterFault,
  Simulator,
  SimulatorOptions,
  SimulatorStats,
  SlowBodyFault,
  StatusFault,
} from './types.ts';
