import { closeSync, fstatSync, openSync, type Stats, statSync, write, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { InvalidOptionError } from '../errors.ts';
import { TRACE_VERSION, type TraceEnd, type TraceStart } from './trace-line.ts';

const writeAsync = promisify(write);

/** So many characters are written at once, if they come in time: a write costs far more than a line. */
const BLOCK = 64 * 1024;
/** Lines wait no longer than this for the rest of their block. */
const FLUSH_MS = 50;
/** The most text that waits for the disk, in characters. */
const MAX_PENDING = 4 * 1024 * 1024;

/**
 * Writes a trace, on the main thread. Lines are gathered to blocks, and while the ones before are being written.
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
  /** Of the file, while it is open. */
  readonly #key: string;
  #pending = '';
  #lines = 0;
  /** Where the next write goes: two may be under way at a time, and neither waits for the other to know its place. */
  #position = 0;
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isFailed = false;
  #closed: Promise<void> | undefined;

  /**
   * Open the file, which is made or emptied, and write the first line.
   * @param nowNs the time on the clock of all times of the trace, at `startedAt`
   * @throws InvalidOptionError if the file cannot be opened, or is something else than a file
   */
  constructor(path: string, nowNs: bigint, startedAt: Date = new Date()) {
    this.#path = path;
    [this.#fd, this.#key] = open(path);
    this.#put(
      JSON.stringify({
        trace: 'start',
        version: TRACE_VERSION,
        startedAt: startedAt.toISOString(),
        startedNs: String(nowNs),
      } satisfies TraceStart),
    );
  }

  /** Add a line. It is in the file soon, and at the latest when `close` has resolved. After `close` this does nothing. */
  add(line: string): void {
    if (this.#isFailed || this.#closed !== undefined) return;
    this.#lines++;
    this.#put(line);
  }

  /** Write what is left, and the end of the trace, and close the file. Never rejects. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#writing;
    this.#pending += `${JSON.stringify({ trace: 'end', lines: this.#lines } satisfies TraceEnd)}\n`;
    this.#writePending();
    openFiles.delete(this.#key);
    try {
      closeSync(this.#fd);
    } catch (error) {
      // Some file systems tell only now that what was written is not there.
      this.#fail(error);
    }
  }

  #put(line: string): void {
    this.#pending += `${line}\n`;
    if (this.#pending.length > MAX_PENDING) this.#writePending();
    else if (this.#writing !== undefined) return;
    else if (this.#pending.length >= BLOCK) this.#startWriting();
    else this.#timer ??= setTimeout(() => this.#startWriting(), FLUSH_MS);
  }

  #startWriting(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#pending.length > 0) this.#writing ??= this.#writeAll();
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
    this.#writing = undefined;
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

/** Files that are being written: two traces in one would overwrite each other. */
const openFiles = new Set<string>();

function open(path: string): [fd: number, key: string] {
  const allowed = 'the path of a file that can be written';
  let fd: number | undefined;
  try {
    // Opening a pipe would wait for its other end, and what is no file has no places to write to.
    const before = statSync(path, { throwIfNoEntry: false });
    if (before === undefined || (before.isFile() && !openFiles.has(keyOf(before)))) fd = openSync(path, 'w');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new InvalidOptionError('trace', path, `${allowed} (${reason})`);
  }
  if (fd === undefined) throw new InvalidOptionError('trace', path, `${allowed}, and that no other engine writes`);
  const key = keyOf(fstatSync(fd));
  openFiles.add(key);
  return [fd, key];
}

/** The same by whatever path. */
function keyOf({ dev, ino }: Stats): string {
  return `${dev}:${ino}`;
}
