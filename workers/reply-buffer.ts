import type { MessagePort } from 'node:worker_threads';
import { columnOf, END, NOT_IDEMPOTENT, type Reply, type ThreadMessage } from '../lib/protocol.ts';
import { cloneCause, uncloneableRecord } from '../lib/recover/stop-records.ts';
import type { AttemptTimes } from './attempt-times.ts';

/** Collects the ends of one chunk's items and sends them as columns. */
export class ReplyBuffer {
  readonly #port: MessagePort;
  readonly #id: number;
  #from = 0;
  #values: unknown[] = [];
  /** Undefined while all are `ok`: then there is nothing to say. The same holds for waits. */
  #ends: number[] | undefined;
  #waits: number[] | undefined;
  #durations: number[] = [];
  #cells: number[] | undefined;

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
    const count = this.#values.push(value);
    this.#durations.push(durationMs);
    if (end !== END.ok) this.#ends ??= new Array<number>(count - 1).fill(END.ok);
    this.#ends?.push(end);
    if (waitMs !== 0) this.#waits ??= new Array<number>(count - 1).fill(0);
    this.#waits?.push(waitMs);
    if (this.#cells !== undefined) requests?.tell(this.#cells);
  }

  /** Send what there is. */
  flush(last = false, elapsedMs = 0): void {
    const reply = this.take(last, elapsedMs);
    try {
      this.#port.postMessage(reply);
    } catch {
      this.#port.postMessage(onlyCloneable(reply));
    }
  }

  /** What there is, for somebody else to send. */
  take(last = false, elapsedMs = 0): Reply {
    const reply: Reply = {
      kind: 'reply',
      id: this.#id,
      from: this.#from,
      ends: this.#ends,
      values: columnOf(this.#values),
      waitsMs: this.#waits && columnOf(this.#waits),
      durationsMs: columnOf(this.#durations),
      cells: this.#cells && columnOf(this.#cells),
      last,
      elapsedMs,
    };
    this.#from += this.#values.length;
    this.#values = [];
    this.#ends = undefined;
    this.#waits = undefined;
    this.#durations = [];
    if (this.#cells !== undefined) this.#cells = [];
    return reply;
  }
}

/** Send what several lanes have as one message: each message wakes the main thread. */
export function postReplies(port: MessagePort, replies: readonly Reply[]): void {
  if (replies.length === 0) return;
  try {
    port.postMessage({ kind: 'replies', replies } satisfies ThreadMessage);
  } catch {
    port.postMessage({ kind: 'replies', replies: replies.map(onlyCloneable) } satisfies ThreadMessage);
  }
}

/** One value cannot be cloned, or a getter of it threw. Find it, and send copies of the others. */
function onlyCloneable(reply: Reply): Reply {
  const given = Array.from(reply.values);
  const ends = Array.from(reply.ends ?? new Uint8Array(given.length));
  const values = given.map((value, position) => {
    try {
      return structuredClone(value);
    } catch (error) {
      ends[position] = END.fatal | ((ends[position] ?? 0) & NOT_IDEMPOTENT);
      return uncloneableRecord(cloneCause(error));
    }
  });
  return { ...reply, values, ends };
}
