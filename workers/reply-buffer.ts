import type { MessagePort } from 'node:worker_threads';
import { END, NOT_IDEMPOTENT, type Reply } from '../lib/protocol.ts';
import { cloneCause, uncloneableRecord } from '../lib/recover/stop-records.ts';
import type { AttemptTimes } from './attempt-times.ts';

/** From this many items on, columns travel as typed arrays; below, plain arrays are cheaper to clone. */
const TYPED_FROM = 16;

/** Collects the ends of one chunk's items and sends them as columns. */
export class ReplyBuffer {
  readonly #port: MessagePort;
  readonly #id: number;
  #from = 0;
  #values: unknown[] = [];
  #ends: number[] = [];
  #times: number[] = [];
  #cells: number[] | undefined;
  #allOk = true;

  constructor(port: MessagePort, id: number, isTracing = false) {
    this.#port = port;
    this.#id = id;
    if (isTracing) this.#cells = [];
  }

  /** True while there is something that has not been sent. */
  get isPending(): boolean {
    return this.#values.length > 0;
  }

  /** Add the end of the next item; `requests` is for the trace. */
  add(end: number, value: unknown, waitMs: number, durationMs: number, requests?: AttemptTimes): void {
    this.#values.push(value);
    this.#ends.push(end);
    this.#times.push(waitMs, durationMs);
    if (end !== END.ok) this.#allOk = false;
    if (this.#cells !== undefined) requests?.tell(this.#cells);
  }

  /** Send what there is. */
  flush(last = false, elapsedMs = 0): void {
    const count = this.#values.length;
    const typed = count >= TYPED_FROM;
    const reply = {
      kind: 'reply',
      id: this.#id,
      from: this.#from,
      ends: this.#allOk ? undefined : typed ? Uint8Array.from(this.#ends) : this.#ends,
      values: this.#values,
      times: typed ? Float64Array.from(this.#times) : this.#times,
      cells: typed && this.#cells !== undefined ? Int32Array.from(this.#cells) : this.#cells,
      last,
      elapsedMs,
    } satisfies Reply;
    try {
      this.#port.postMessage(reply);
    } catch {
      // One value cannot be cloned, or a getter of it threw. Find it, and send copies of the others.
      this.#port.postMessage({ ...reply, ...this.#onlyCloneable() });
    }
    this.#from += count;
    this.#values = [];
    this.#ends = [];
    this.#times = [];
    this.#allOk = true;
    if (this.#cells !== undefined) this.#cells = [];
  }

  #onlyCloneable(): Pick<Reply, 'values' | 'ends'> {
    const ends = [...this.#ends];
    const values = this.#values.map((value, position) => {
      try {
        return structuredClone(value);
      } catch (error) {
        ends[position] = END.fatal | ((ends[position] ?? 0) & NOT_IDEMPOTENT);
        return uncloneableRecord(cloneCause(error));
      }
    });
    return { values, ends };
  }
}
