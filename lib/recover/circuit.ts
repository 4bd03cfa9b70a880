/** How the circuit breaker opens and closes. Times in milliseconds. */
export interface CircuitRules {
  /** Successes of probes until it closes. */
  readonly successThreshold: number;
  /** How long it stays open the first time. */
  readonly openMs: number;
  /** Each time that a probe fails it stays open this many times as long as before. */
  readonly openFactor: number;
  readonly maxOpenMs: number;
  /** Most probes in flight at a time, over all threads together. */
  readonly halfOpenProbes: number;
}

/** Everything goes. */
export interface ClosedCircuit {
  readonly kind: 'closed';
}

/** Nothing goes until `untilMs`. */
export interface OpenCircuit {
  readonly kind: 'open';
  readonly untilMs: number;
  /** How often it was opened again since it was closed last. */
  readonly reopenings: number;
}

/** A few probes go, and what becomes of them decides. */
export interface HalfOpenCircuit {
  readonly kind: 'half-open';
  readonly reopenings: number;
  readonly successes: number;
}

/** The circuit breaker: each state has only the data that it needs, and each step takes only the state that allows it. */
export type Circuit = ClosedCircuit | OpenCircuit | HalfOpenCircuit;

export const CLOSED: ClosedCircuit = Object.freeze({ kind: 'closed' });

/**
 * The circuit breaker of Nygard's "Release It!", with an open time that grows as a backoff does.
 * Too many failures, or a probe that failed.
 */
export function opened(from: ClosedCircuit | HalfOpenCircuit, rules: CircuitRules, nowMs: number): OpenCircuit {
  const reopenings = from.kind === 'closed' ? 0 : from.reopenings + 1;
  return { kind: 'open', untilMs: nowMs + openMsOf(reopenings, rules), reopenings };
}

/** How long it stays open when it was opened again so often. */
export function openMsOf(reopenings: number, rules: CircuitRules): number {
  const growth = Math.min(rules.openFactor ** reopenings, Number.MAX_VALUE);
  return Math.min(Math.max(rules.maxOpenMs, rules.openMs), rules.openMs * growth);
}

/** How long it stays open; 0 if its time is over. */
export function openLeftMs(circuit: OpenCircuit, nowMs: number): number {
  return Math.max(0, circuit.untilMs - nowMs);
}

/** Its time is over: probes may go. */
export function halfOpened(from: OpenCircuit): HalfOpenCircuit {
  return { kind: 'half-open', reopenings: from.reopenings, successes: 0 };
}

/** A probe succeeded: enough of them close the circuit. */
export function probeSucceeded(from: HalfOpenCircuit, rules: CircuitRules): HalfOpenCircuit | ClosedCircuit {
  const successes = from.successes + 1;
  return successes >= rules.successThreshold ? CLOSED : { ...from, successes };
}

/** How many probes may be in flight at a time: never more than are needed to close it. */
export function probesAllowed(circuit: HalfOpenCircuit, rules: CircuitRules): number {
  return Math.min(rules.halfOpenProbes, rules.successThreshold - circuit.successes);
}
