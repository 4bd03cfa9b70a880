/** Words of the board: flags, one thread id per item, then times. */
const GO = 0;
const WAITING = 1;
const FIRED = 2;
const HEADER_INTS = 4;

/** What the items of the cancel benchmark and the main thread tell each other, in shared memory: no message in between. */
export class CancelBoard {
  readonly items: number;
  readonly buffer: SharedArrayBuffer;
  readonly #ints: Int32Array;
  readonly #timesNs: BigInt64Array;

  /** @param buffer that of another thread's board; a new one without it. */
  constructor(items: number, buffer = new SharedArrayBuffer(4 * HEADER_INTS + 8 * (items + 1))) {
    this.items = items;
    this.buffer = buffer;
    this.#ints = new Int32Array(buffer, 0, HEADER_INTS);
    this.#timesNs = new BigInt64Array(buffer, 4 * HEADER_INTS);
  }

  /** Before the next event, while no thread has work. */
  reset(): void {
    this.#ints.fill(0);
    this.#timesNs.fill(0n);
  }

  /** Let the item that throws go on. */
  go(): void {
    Atomics.store(this.#ints, GO, 1);
  }

  get isGo(): boolean {
    return Atomics.load(this.#ints, GO) === 1;
  }

  /** One more item waits for its signal. */
  countWaiting(): void {
    Atomics.add(this.#ints, WAITING, 1);
  }

  get waiting(): number {
    return Atomics.load(this.#ints, WAITING);
  }

  /** The last thing before the error is thrown. */
  fire(): void {
    Atomics.store(this.#ints, FIRED, 1);
    Atomics.store(this.#timesNs, this.items, process.hrtime.bigint());
  }

  /** True in the second attempt of everybody. */
  get hasFired(): boolean {
    return Atomics.load(this.#ints, FIRED) === 1;
  }

  noteAborted(index: number): void {
    Atomics.store(this.#timesNs, index, process.hrtime.bigint());
  }

  /** Milliseconds from the throw to the abort of each item that was aborted, in the order of the items. */
  delaysMs(): number[] {
    const firedAtNs = Atomics.load(this.#timesNs, this.items);
    const delaysMs: number[] = [];
    for (let index = 0; index < this.items; index++) {
      const atNs = Atomics.load(this.#timesNs, index);
      if (atNs > 0n) delaysMs.push(Number(atNs - firedAtNs) / 1e6);
    }
    return delaysMs;
  }
}
