import type { TraceCells } from '../lib/shared/trace-cells.ts';
import type { TokenEnd } from './token-end.ts';

/**
 * When one request of an attempt left and when it ended. The times are the very ones that its tokens get: another look
 * at the clock would be later, and an audit of exact limits sees the difference. They are noted before its tokens get
 * them: a thread that dies in between has held its tokens for too long, never told of an answer too late.
 */
export class RequestClock {
  readonly #cells: TraceCells;
  readonly cell: number;
  isSent = false;
  isEnded = false;
  /** It certainly never left: its cell is another request's. */
  isDropped = false;

  constructor(cells: TraceCells, cell: number) {
    this.#cells = cells;
    this.cell = cell;
  }

  /** As for its tokens, nothing counts after its end. */
  sent(nowNs: bigint): void {
    if (this.isSent || this.isEnded) return;
    this.isSent = true;
    this.#cells.sent(this.cell, nowNs);
  }

  answered(nowNs: bigint): void {
    this.end(nowNs, true);
  }

  end(nowNs: bigint, isAnswered: boolean): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.#cells.end(this.cell, nowNs, isAnswered);
  }

  drop(): void {
    this.isEnded = true;
    this.isDropped = true;
    this.#cells.drop(this.cell);
  }
}

/** The times of all requests of one attempt, for the trace. */
export class AttemptTimes {
  readonly #cells: TraceCells;
  readonly #slot: number;
  readonly #position: number;
  readonly #requests: RequestClock[] = [];

  constructor(cells: TraceCells, slot: number, position: number) {
    this.#cells = cells;
    this.#slot = slot;
    this.#position = position;
  }

  /** The next request may leave from now on; the first one is the one that the call of the handler stands for. */
  open(nowNs: bigint): RequestClock {
    const cell = this.#cells.open(this.#slot, this.#position, this.#requests.length, nowNs);
    const clock = new RequestClock(this.#cells, cell);
    this.#requests.push(clock);
    return clock;
  }

  /** Requests that have not ended end as their tokens do. */
  settle(how: TokenEnd, nowNs: bigint): void {
    for (const clock of this.#requests) {
      if (clock.isEnded) continue;
      if (how !== 'notSent' || clock.isSent) clock.end(nowNs, how === 'answered');
      else clock.drop();
    }
  }

  /** Add the cells of requests that have left, or may have. */
  tell(cells: number[]): void {
    for (const { cell, isDropped } of this.#requests) if (!isDropped) cells.push(cell);
  }
}
