import type { EngineEvents } from '../../lib/events.ts';
import type { CircuitOptions, Engine } from '../../lib/index.ts';
import type { HeldServer } from '../support/held-server.ts';

/** Longer than any test: what waits for it is stuck. */
export const HOUR_MS = 3_600_000;

/** Opens at the third failure in a row, and for no other reason. */
export const THREE_IN_ROW = {
  failureThreshold: 3,
  minimumCalls: 1_000_000,
  successThreshold: 2,
  halfOpenProbes: 1,
  openMs: 30,
  // So that it stays open for the rest of the test if it is opened again.
  openFactor: 100,
  maxOpenMs: HOUR_MS,
} as const satisfies CircuitOptions;

/** What the circuit breaker of an engine does, in order. */
export class CircuitLog {
  readonly changes: string[] = [];
  readonly openings: number[] = [];
  #wake: (() => void)[] = [];

  constructor(engine: Pick<Engine<unknown, unknown>, 'on'>) {
    engine.on('circuit', ({ from, to, openMs }: EngineEvents['circuit']) => {
      this.changes.push(`${from} > ${to}`);
      if (openMs !== undefined) this.openings.push(openMs);
      for (const wake of this.#wake.splice(0)) wake();
    });
  }

  /** Resolves as soon as so many changes have been heard. */
  async until(changes: number): Promise<void> {
    while (this.changes.length < changes) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }
}

/** A server that is down until the circuit opens, and from then on holds every request. */
export function downUntilOpen(server: HeldServer, engine: Pick<Engine<unknown, unknown>, 'on'>): void {
  server.onRequest = (request) => request.answer(500);
  engine.on('circuit', ({ to }) => {
    // All that was in flight has been answered by then.
    if (to === 'open') server.onRequest = undefined;
  });
}
