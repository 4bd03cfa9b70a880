import { CAUSE, type Gate } from './gate.ts';

/** Tell all threads that this generation has begun, and whether that cancels what is in flight of older ones. */
export type TellAll = (generation: number, cancels: boolean) => void;

/** What a thread does when something happened to a request after which no further one of its generation may start. */
export class GateCloser {
  readonly #gate: Gate;
  readonly #cancelsInFlight: boolean;
  readonly #tellAll: TellAll;

  /** @param cancelsInFlight Whether a refusal cancels what is in flight. */
  constructor(gate: Gate, cancelsInFlight: boolean, tellAll: TellAll) {
    this.#gate = gate;
    this.#cancelsInFlight = cancelsInFlight;
    this.#tellAll = tellAll;
  }

  /**
   * Close the gate for a generation, and be the first to tell everybody.
   * @param quietUntilNs Until when the upstream wants quiet, if it says so.
   */
  close(generation: number, cause: number, quietUntilNs: bigint | undefined): void {
    const next = (generation + 1) | 0;
    // Before the gate: who sees it closed must see for how long. A thread that dies in between leaves a wish that is true.
    if (quietUntilNs !== undefined) this.#gate.pauseUntil(quietUntilNs);
    const isKnown = (this.#gate.causesOf(next) & cause) !== 0;
    const isFirst = this.#gate.close(generation, cause);
    // A refusal stops what another cause has let finish. Race: several are refused at once, and none sees the others'
    // cause; then each of them tells, and hearing it twice is harmless.
    const isFirstRefusal = cause === CAUSE.refused && !isKnown && this.#gate.generation === next;
    if (isFirst || isFirstRefusal) this.#tellAll(next, cause === CAUSE.refused && this.#cancelsInFlight);
  }
}
