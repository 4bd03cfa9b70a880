import type { GroupReport } from '../../../lib/batch/feeder.ts';
import type { EngineEvents } from '../../../lib/events.ts';
import type { Outcome } from '../../../lib/types.ts';

/** A request, from its leaving until our side is done with it. */
export interface Flight {
  readonly item: number;
  readonly threadId: number;
}

/** How a request that was sent ended on our side. */
export type FlightEnd = 'ok' | 'refused' | 'failed' | 'TIMEOUT' | 'CANCELLED' | 'ABORTED' | 'dead';

/** A time in which the gate was closed. All times in milliseconds since the start. */
export interface Pause {
  readonly causes: EngineEvents['paused']['causes'];
  readonly delayMs: number;
  /** When everything that was under way had come back. */
  readonly passedMs: number;
  openedMs: number | undefined;
  /** Events in a row without an answered item in between, as recovery counts them, and as was to be seen. */
  readonly eventsInRow: number;
  readonly seenInRow: number;
  readonly stretch: number;
  /** Until when the server wanted quiet; 0 if it did not say. */
  quietUntilMs: number;
}

/** A state of the circuit breaker, and when it began. */
export interface CircuitPhase {
  readonly state: EngineEvents['circuit']['to'];
  readonly fromMs: number;
}

/** What was to be seen of a loop, written down as it happens. */
export class LoopLog {
  /** When the server counted each request, in nanoseconds since the start. */
  countedNs: readonly number[] = [];
  /** Requests that the server refused because of its limit, and not for no reason. */
  refusedByLimit = 0;
  /** Per item: its outcomes, and how each request for it ended; undefined while it is in flight. */
  readonly outcomes: Outcome[][];
  readonly flights: (FlightEnd | undefined)[][];
  readonly pauses: Pause[] = [];
  readonly circuit: CircuitPhase[] = [{ state: 'closed', fromMs: 0 }];
  readonly groups: (GroupReport & { readonly atMs: number })[] = [];
  /** Most requests in flight at a time that were sent while the circuit was half-open. */
  mostProbes = 0;
  /** Of each request that failed and was sent while the circuit was half-open: which phase of it comes next. */
  readonly failedProbes: number[] = [];
  /** Each time that the circuit opened from closed: the most failures in a row, and all calls, since it was closed. */
  readonly openedAfter: { readonly inRow: number; readonly calls: number }[] = [];
  /** Most failures in a row that threads counted since the circuit was closed. */
  mostFailuresInRow = 0;
  /** Requests that left while the gate was closed. */
  sentWhileClosed = 0;
  /** Requests of before that were still in flight when the gate opened. */
  overlaps = 0;
  kills = 0;
  deaths = 0;
  /** Once everything is over: lanes that still wait, chunks that are still out, free tokens. */
  waiting = 0;
  chunks = 0;
  free = 0;
  readonly #nowMs: () => number;
  readonly #inFlight = new Map<Flight, number>();
  readonly #probes = new Set<Flight>();
  #openGeneration = 0;
  #isClosed = false;
  #quietUntilMs = 0;
  #failuresInRow = 0;
  #mostSinceClosed = 0;
  #callsSinceClosed = 0;
  /** Events in a row, and whether an item has succeeded since the last one. */
  #eventsInRow = 0;
  #hasSucceeded = false;

  constructor(items: number, nowMs: () => number) {
    this.#nowMs = nowMs;
    this.outcomes = Array.from({ length: items }, () => []);
    this.flights = Array.from({ length: items }, () => []);
  }

  /** Somebody has closed the gate for work of this generation. */
  closed(generation: number): void {
    if (generation === this.#openGeneration) this.#isClosed = true;
  }

  quiet(ms: number): void {
    this.#quietUntilMs = Math.max(this.#quietUntilMs, this.#nowMs() + ms);
  }

  paused({ causes, delayMs, eventsInRow }: EngineEvents['paused'], stretch: number): void {
    if (causes.includes('refused')) {
      this.#eventsInRow = this.#hasSucceeded ? 1 : this.#eventsInRow + 1;
      this.#hasSucceeded = false;
    }
    const passedMs = this.#nowMs();
    const quietUntilMs = this.#quietUntilMs;
    const seenInRow = this.#eventsInRow;
    this.pauses.push({ causes, delayMs, passedMs, openedMs: undefined, eventsInRow, seenInRow, stretch, quietUntilMs });
  }

  resumed(generation: number): void {
    const pause = this.pauses.at(-1);
    if (pause !== undefined) pause.openedMs = this.#nowMs();
    this.#openGeneration = generation;
    this.#isClosed = false;
    this.#quietUntilMs = 0;
    this.overlaps += this.#inFlight.size;
  }

  circuitChanged(state: CircuitPhase['state']): void {
    if (this.circuit.at(-1)?.state === 'closed') {
      this.openedAfter.push({ inRow: this.#mostSinceClosed, calls: this.#callsSinceClosed });
    }
    this.circuit.push({ state, fromMs: this.#nowMs() });
    if (state !== 'closed') return;
    this.#failuresInRow = 0;
    this.#mostSinceClosed = 0;
    this.#callsSinceClosed = 0;
  }

  /** A thread counts a failure, or a success, which ends the row. */
  counted(failures: 0 | 1): void {
    this.#failuresInRow = failures === 0 ? 0 : this.#failuresInRow + 1;
    this.#callsSinceClosed++;
    this.#mostSinceClosed = Math.max(this.#mostSinceClosed, this.#failuresInRow);
    this.mostFailuresInRow = Math.max(this.mostFailuresInRow, this.#failuresInRow);
  }

  /** A request leaves. */
  sent(flight: Flight, isHalfOpen: boolean): void {
    if (this.#isClosed) this.sentWhileClosed++;
    const flights = this.flights[flight.item] ?? [];
    this.#inFlight.set(flight, flights.push(undefined) - 1);
    if (!isHalfOpen) return;
    this.#probes.add(flight);
    this.mostProbes = Math.max(this.mostProbes, this.#inFlight.size);
  }

  /** Our side is done with it. */
  landed(flight: Flight, end: FlightEnd): void {
    const place = this.#inFlight.get(flight);
    const flights = this.flights[flight.item];
    if (place === undefined || flights === undefined) return;
    flights[place] = end;
    const isFailure = end === 'failed' || end === 'TIMEOUT';
    if (this.#probes.delete(flight) && isFailure) this.failedProbes.push(this.circuit.length);
    this.#inFlight.delete(flight);
  }

  /** A thread is gone, and what it had in flight with it. */
  lost(threadId: number): void {
    for (const flight of [...this.#inFlight.keys()]) if (flight.threadId === threadId) this.landed(flight, 'dead');
  }

  put(outcome: Outcome): void {
    this.outcomes[outcome.index]?.push(outcome);
    if (outcome.ok) this.#hasSucceeded = true;
  }
}
