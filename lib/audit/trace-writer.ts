import { closeSync, openSync, statSync, write, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { InvalidOptionError } from '../errors.ts';
import { TRACE_VERSION, type TraceEnd, type TraceLine, type TraceStart } from './trace-line.ts';

const writeAsync = promisify(write);

/** The most text that waits for the disk, in characters. */
const MAX_PENDING = 4 * 1024 * 1024;

/**
 * Writes a trace, on the main thread. Lines are gathered while the ones before are being written, so that one write
 * takes many of them where there are many.
 *
 * No line is ever dropped to save memory, because an audit of a part proves nothing: where the disk does not keep up,
 * and `MAX_PENDING` characters wait, `add` writes them itself and comes back when that is done.
 *
 * If the file cannot be written, there is one process warning, and the rest of the trace is discarded; it then has no
 * end, by which the audit knows it.
 */
export class TraceWriter {
  readonly #path: string;
  readonly #fd: number;
  #pending = '';
  #lines = 0;
  /** Where the next write goes: two may be under way at a time, and neither waits for the other to know its place. */
  #position = 0;
  #writing: Promise<void> | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #isFailed = false;
  #closed: Promise<void> | undefined;

  /**
   * Open the file, which is made or emptied, and write the first line.
   * @param nowNs the time on the clock of all times of the trace, at `startedAt`
   * @throws InvalidOptionError if the file cannot be opened, or is something else than a file
   */
  constructor(path: string, nowNs: bigint, startedAt: Date = new Date()) {
    this.#path = path;
    this.#fd = open(path);
    this.#put({
      trace: 'start',
      version: TRACE_VERSION,
      startedAt: startedAt.toISOString(),
      startedNs: String(nowNs),
    });
  }

  /** Add a line. It is in the file soon, and at the latest when `close` has resolved. After `close` this does nothing. */
  add(line: TraceLine): void {
    if (this.#isFailed || this.#closed !== undefined) return;
    this.#lines++;
    this.#put(line);
    if (this.#pending.length > MAX_PENDING) this.#writePending();
  }

  /** Write what is left, and the end of the trace, and close the file. Never rejects. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#writing;
    clearImmediate(this.#immediate);
    this.#pending += lineOf({ trace: 'end', lines: this.#lines });
    this.#writePending();
    try {
      closeSync(this.#fd);
    } catch (error) {
      // Some file systems tell only now that what was written is not there.
      this.#fail(error);
    }
  }

  #put(line: TraceStart | TraceLine): void {
    this.#pending += lineOf(line);
    this.#immediate ??= setImmediate(() => {
      this.#writing = this.#writeAll();
    });
  }

  async #writeAll(): Promise<void> {
    try {
      while (this.#pending.length > 0 && !this.#isFailed) {
        const { bytes, at } = this.#takePending();
        for (let done = 0; done < bytes.length; ) {
          done += (await writeAsync(this.#fd, bytes, done, bytes.length - done, at + done)).bytesWritten;
        }
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#immediate = undefined;
  }

  #writePending(): void {
    if (this.#isFailed) return;
    try {
      const { bytes, at } = this.#takePending();
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(this.#fd, bytes, done, bytes.length - done, at + done);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #takePending(): { readonly bytes: Buffer; readonly at: number } {
    const bytes = Buffer.from(this.#pending);
    const at = this.#position;
    this.#position += bytes.length;
    this.#pending = '';
    return { bytes, at };
  }

  #fail(error: unknown): void {
    if (this.#isFailed) return;
    this.#isFailed = true;
    this.#pending = '';
    const reason = error instanceof Error ? error.message : String(error);
    process.emitWarning(`The trace ${this.#path} is not whole: ${reason}`, { code: 'SLUICEGATE_TRACE' });
  }
}

function lineOf(line: TraceStart | TraceLine | TraceEnd): string {
  return `${JSON.stringify(line)}\n`;
}

function open(path: string): number {
  const allowed = 'the path of a file that can be written';
  try {
    // Opening a pipe would wait for its other end, and what is no file has no places to write to.
    const before = statSync(path, { throwIfNoEntry: false });
    if (before === undefined || before.isFile()) return openSync(path, 'w');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new InvalidOptionError('trace', path, `${allowed} (${reason})`);
  }
  throw new InvalidOptionError('trace', path, allowed);
}
