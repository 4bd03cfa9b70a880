import type { CircuitState } from '../events.ts';
import type { CircuitCounters } from '../shared/circuit-counters.ts';
import {
  type Circuit,
  type CircuitRules,
  CLOSED,
  halfOpened,
  opened,
  openLeftMs,
  openMsOf,
  probeSucceeded,
  probesAllowed,
} from './circuit.ts';

export interface BreakerRules extends CircuitRules {
  /** What becomes of items while it is open: they wait for half-open, once, or end at once. */
  readonly whenOpen: 'wait' | 'fail';
}

export interface BreakerOptions {
  readonly rules: BreakerRules;
  readonly counters: CircuitCounters;
  readonly nowMs: () => number;
  readonly onChange: (from: CircuitState, to: CircuitState, openMs: number | undefined) => void;
}

/**
 * The circuit breaker's state, on the main thread. That there are too many failures is found by the thread that has the
 * last one, which closes the gate; so nothing depends on how soon this hears of it.
 */
export class CircuitBreaker {
  readonly rules: BreakerRules;
  readonly #options: BreakerOptions;
  #circuit: Circuit = CLOSED;
  /** How often it was opened. */
  openings = 0;

  constructor(options: BreakerOptions) {
    this.#options = options;
    this.rules = options.rules;
  }

  get state(): CircuitState {
    return this.#circuit.kind;
  }

  /** Until it may be half-open; 0 if it is not open. */
  get openLeftMs(): number {
    return this.#circuit.kind === 'open' ? openLeftMs(this.#circuit, this.#options.nowMs()) : 0;
  }

  /** Probes that may be in flight; undefined: everything goes. Not to be asked while it is open. */
  get probesAllowed(): number | undefined {
    return this.#circuit.kind === 'half-open' ? probesAllowed(this.#circuit, this.rules) : undefined;
  }

  /** Too many failures, or a probe that failed. */
  open(): void {
    if (this.#circuit.kind === 'open') return;
    this.openings++;
    const next = opened(this.#circuit, this.rules, this.#options.nowMs());
    this.#change(next, openMsOf(next.reopenings, this.rules));
  }

  /** Let probes go if its time is over. */
  halfOpenIfDue(): void {
    if (this.#circuit.kind === 'open' && this.openLeftMs === 0) this.#change(halfOpened(this.#circuit));
  }

  /** A probe succeeded. True if that closed the circuit. */
  succeed(): boolean {
    if (this.#circuit.kind !== 'half-open') return false;
    const next = probeSucceeded(this.#circuit, this.rules);
    // Nothing that counts is in flight: what the threads knew belongs to the time before.
    if (next.kind === 'closed') this.#options.counters.reset();
    this.#change(next);
    return next.kind === 'closed';
  }

  #change(next: Circuit, openMs?: number): void {
    const from = this.#circuit.kind;
    this.#circuit = next;
    if (next.kind !== from) this.#options.onChange(from, next.kind, openMs);
  }
}
