import { subscribe } from 'node:diagnostics_channel';
import { threadId } from 'node:worker_threads';

/** What happened: a request is written to its socket, or one that was in flight is told to stop. */
const KINDS = ['sent', 'stopped'] as const;

export interface WireEntry {
  readonly kind: (typeof KINDS)[number];
  readonly atNs: bigint;
  readonly threadId: number;
  /** The request's `x-item`. */
  readonly item: string;
}

const WORDS_PER_ENTRY = 3;

/**
 * A log in shared memory of what the threads of an engine do on the wire, at the very moment when they do it. The
 * server's own record tells when a request arrived, which on a busy machine is some time later.
 */
export class WireLog {
  /** Give it to the threads as `handlerData: { log }`. */
  readonly buffer: SharedArrayBuffer;
  readonly #words: BigInt64Array;

  constructor(capacity = 10_000) {
    this.buffer = new SharedArrayBuffer(8 + capacity * WORDS_PER_ENTRY * 8);
    this.#words = new BigInt64Array(this.buffer);
  }

  /** In the order of time. */
  entries(): WireEntry[] {
    const count = Number(Atomics.load(this.#words, 0));
    const entries = Array.from({ length: count }, (_, index): WireEntry => {
      const at = 1 + index * WORDS_PER_ENTRY;
      const code = Number(this.#words[at] ?? 0n);
      return {
        kind: KINDS[code % 2] ?? 'sent',
        threadId: code >> 1,
        atNs: this.#words[at + 1] ?? 0n,
        item: String(this.#words[at + 2]),
      };
    });
    return entries.sort((a, b) => Number(a.atNs - b.atNs));
  }

  /** Forget all, while no thread writes. */
  clear(): void {
    Atomics.store(this.#words, 0, 0n);
  }

  of(kind: WireEntry['kind']): WireEntry[] {
    return this.entries().filter((entry) => entry.kind === kind);
  }
}

/** In a worker thread: write to the log what undici does in this thread from now on. */
export function logWire(buffer: SharedArrayBuffer): void {
  const words = new BigInt64Array(buffer);
  const add = (kind: number, item: number) => {
    const at = 1 + Number(Atomics.add(words, 0, 1n)) * WORDS_PER_ENTRY;
    words[at] = BigInt(threadId * 2 + kind);
    words[at + 1] = process.hrtime.bigint();
    words[at + 2] = BigInt(item);
  };
  const inFlight = new WeakSet<object>();
  // Published right before the bytes are handed to the socket, and right when a request is given up.
  subscribe('undici:client:sendHeaders', (message) => {
    const { headers, request } = message as { headers: string; request: object };
    const item = /^x-item: (\d+)\r?$/im.exec(headers)?.[1];
    if (item === undefined) return;
    inFlight.add(request);
    add(0, Number(item));
  });
  subscribe('undici:request:error', (message) => {
    const { error, request } = message as { error: { code?: unknown }; request: { headers: readonly unknown[] } };
    // One that was cancelled before it was sent may be given up much later, when its connection is there.
    if (error.code !== 'CANCELLED' || !inFlight.delete(request)) return;
    add(1, Number(request.headers[request.headers.indexOf('x-item') + 1]));
  });
}
