/// <reference lib="es2024.sharedmemory" />

/*
 * What a trace is to say of a request stands in memory that its thread shares with the main thread, from before the
 * request can leave until the main thread has written its line. Whatever dies when, no request is missing.
 *
 * Each request has a cell of 40 bytes:
 *
 * | bytes | field | special values |
 * |---|---|---|
 * | 0 | owner: the work slot of its chunk, + 1 | 0: the cell is free |
 * | 4 | position of its item in the chunk | - |
 * | 8 | number of the request in its attempt | 0: the one that the call of the handler stands for |
 * | 16 | fromNs: when it could be sent | - |
 * | 24 | sentNs: when it left | 0: nobody told |
 * | 32 | endNs: when it was answered | 0: under way; < 0: given up on at -ns |
 *
 * A thread takes cells from its own memory, and makes that larger when too few are free. It gives back only cells of
 * requests that never left; all others are the main thread's to free. `owner` is written last and freed last, so it is
 * the one word that both write. The others need no atomic access: a message, or the thread's end, comes before the main
 * thread reads them.
 */

const INTS = 10;
const WORDS = 5;
const CELL_BYTES = 40;
const OWNER = 0;
const POSITION = 1;
const REQUEST = 2;
const FROM_NS = 2;
const SENT_NS = 3;
const END_NS = 4;

const FIRST_BYTES = 1024 * CELL_BYTES;
/** Address space only, for 8 million cells: before so many requests are under way, the thread's own heap is full. */
const MAX_BYTES = 2 ** 13 * FIRST_BYTES;

/** When one request of an attempt can have been counted by the upstream. */
export interface TracedRequest {
  /** Position of its item in the chunk. */
  readonly position: number;
  /** 0: the one that the call of the handler stands for; others are further ones. */
  readonly request: number;
  /** When its token was there and it could be sent. */
  readonly fromNs: bigint;
  /** When it was sent; undefined: nobody told. */
  readonly sentNs: bigint | undefined;
  /** Undefined: it is under way. */
  readonly endNs: bigint | undefined;
  /** False: at its end it was given up. */
  readonly isAnswered: boolean;
}

/** Memory for the requests of one thread. */
export function createTraceBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(FIRST_BYTES, { maxByteLength: MAX_BYTES });
}

/** Notes the requests of this thread. One object per thread. */
export class TraceCells {
  readonly #buffer: SharedArrayBuffer;
  #ints: Int32Array;
  #words: BigInt64Array;
  #free: number[] = [];

  constructor(buffer: SharedArrayBuffer) {
    this.#buffer = buffer;
    [this.#ints, this.#words] = viewsOf(buffer);
  }

  /** A request may leave from now on. Returns its cell. */
  open(slot: number, position: number, request: number, nowNs: bigint): number {
    const cell = this.#free.pop() ?? this.#findFree();
    const ints = this.#ints;
    const at = cell * INTS;
    ints[at + POSITION] = position;
    ints[at + REQUEST] = request;
    this.#words[cell * WORDS + FROM_NS] = nowNs;
    this.#words[cell * WORDS + SENT_NS] = 0n;
    this.#words[cell * WORDS + END_NS] = 0n;
    // Last: a thread that dies before it has sent nothing, and one that dies after it has a cell that makes sense.
    Atomics.store(ints, at + OWNER, slot + 1);
    return cell;
  }

  /** The request left. */
  sent(cell: number, nowNs: bigint): void {
    this.#words[cell * WORDS + SENT_NS] = nowNs;
  }

  /** The request was answered, or given up on. */
  end(cell: number, nowNs: bigint, isAnswered: boolean): void {
    this.#words[cell * WORDS + END_NS] = isAnswered ? nowNs : -nowNs;
  }

  /** The request certainly never left. */
  drop(cell: number): void {
    Atomics.store(this.#ints, cell * INTS + OWNER, 0);
    this.#free.push(cell);
  }

  /** Look for cells that the main thread has freed; make more if that are too few to be worth the look. */
  #findFree(): number {
    const ints = this.#ints;
    const cells = ints.length / INTS;
    // From the end, so that the first ones are taken first.
    for (let cell = cells - 1; cell >= 0; cell--) {
      // Race: the main thread frees the cell at this moment. It is found free now or next time.
      if (Atomics.load(ints, cell * INTS + OWNER) === 0) this.#free.push(cell);
    }
    if (this.#free.length < cells / 2) {
      this.#buffer.grow(2 * this.#buffer.byteLength);
      [this.#ints, this.#words] = viewsOf(this.#buffer);
      for (let cell = 2 * cells - 1; cell >= cells; cell--) this.#free.push(cell);
    }
    return this.#free.pop() ?? 0;
  }
}

/** Reads the requests of another thread. */
export class TraceReader {
  readonly #buffer: SharedArrayBuffer;
  #ints: Int32Array;
  #words: BigInt64Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#buffer = buffer;
    [this.#ints, this.#words] = viewsOf(buffer);
  }

  /** What a cell says. To be called only for one that the thread has told of. */
  read(cell: number): TracedRequest {
    this.#refresh();
    const ints = this.#ints;
    const sentNs = this.#words[cell * WORDS + SENT_NS] ?? 0n;
    const endNs = this.#words[cell * WORDS + END_NS] ?? 0n;
    return {
      position: ints[cell * INTS + POSITION] ?? 0,
      request: ints[cell * INTS + REQUEST] ?? 0,
      fromNs: this.#words[cell * WORDS + FROM_NS] ?? 0n,
      sentNs: sentNs === 0n ? undefined : sentNs,
      endNs: endNs === 0n ? undefined : endNs < 0n ? -endNs : endNs,
      isAnswered: endNs > 0n,
    };
  }

  /** The line of this request, which was read before, is written: the thread may use the cell again. */
  free(cell: number): void {
    // Race: the thread looks for free cells. Whichever it sees, all that was read here was read before this.
    Atomics.store(this.#ints, cell * INTS + OWNER, 0);
  }

  /** All requests of a work slot whose cells have not been freed. For a thread that is gone. */
  requestsOf(slot: number): TracedRequest[] {
    this.#refresh();
    const ints = this.#ints;
    const requests: TracedRequest[] = [];
    for (let at = 0; at < ints.length; at += INTS) {
      if (Atomics.load(ints, at + OWNER) === slot + 1) requests.push(this.read(at / INTS));
    }
    return requests;
  }

  #refresh(): void {
    if (this.#ints.byteLength < this.#buffer.byteLength) [this.#ints, this.#words] = viewsOf(this.#buffer);
  }
}

/** Of fixed length: views that grow with their memory are ten times as slow. */
function viewsOf(buffer: SharedArrayBuffer): [Int32Array, BigInt64Array] {
  const { byteLength } = buffer;
  return [new Int32Array(buffer, 0, byteLength / 4), new BigInt64Array(buffer, 0, byteLength / 8)];
}
