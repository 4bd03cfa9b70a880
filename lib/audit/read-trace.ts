import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { parseTraceLine, type TraceEntry, TraceLineError } from './trace-line.ts';

/** A longer line is not of a trace; the bound keeps the memory for one line small, whatever the file is. */
const MAX_LINE_LENGTH = 65_536;

/** A trace that cannot be read, or that is not whole. */
export class TraceError extends Error {
  override readonly name = 'TraceError';
  /** True if the trace was cut short and what there is of it can be read. */
  readonly isCut: boolean;

  constructor(message: string, options: ErrorOptions & { readonly isCut?: boolean } = {}) {
    super(message, options);
    this.isCut = options.isCut ?? false;
  }
}

export interface ReadOptions {
  /** Go on where the trace was cut short, and tell `onCut` how, instead of throwing. */
  readonly onCut?: ((how: string) => void) | undefined;
}

/** One line of a trace, with its number in the file, from 1 on. */
export interface NumberedEntry {
  readonly number: number;
  readonly entry: TraceEntry;
}

/**
 * Read a trace line by line; one that ends in `.gz` is unpacked on the way. Empty lines are skipped. Several traces of
 * one machine may follow each other in one file.
 *
 * A trace that starts with a header and has no end was cut short: what was in flight when its process ended is missing.
 *
 * @throws TraceError that names the line, if the file cannot be read, a line is malformed, or the trace was cut short
 */
export async function* readTrace(path: string, { onCut }: ReadOptions = {}): AsyncGenerator<NumberedEntry> {
  const cut = (how: string): void => {
    if (onCut === undefined) throw new TraceError(`${path} was cut short: ${how}.`, { isCut: true });
    onCut(how);
  };
  /** Lines since the header; undefined outside a trace that has one. */
  let lines: number | undefined;
  let isEmpty = true;
  for await (const line of linesOf(path, cut)) {
    const where = `${path}, line ${line.number}`;
    let entry: TraceEntry;
    try {
      entry = parseTraceLine(line.text);
    } catch (error) {
      if (!(error instanceof TraceLineError)) throw error;
      if (line.isWhole) throw new TraceError(`${where}: ${error.message}.`);
      cut(`line ${line.number}, the last one, is not whole`);
      return;
    }
    if (entry.kind === 'start') {
      if (lines !== undefined) cut(`another trace begins in line ${line.number}, and the one before has no end`);
      lines = 0;
    } else if (entry.kind === 'attempt') {
      if (lines !== undefined) lines++;
    } else if (entry.lines === lines) {
      lines = undefined;
    } else {
      throw new TraceError(
        `${where}: this is the end of a trace of ${entry.lines} lines, but it has ${lines ?? 'no start'}.`,
      );
    }
    isEmpty = false;
    yield { number: line.number, entry };
  }
  if (isEmpty) throw new TraceError(`${path} is empty.`);
  if (lines !== undefined) cut('it has no end, so requests that were under way may be missing');
}

interface Line {
  readonly number: number;
  readonly text: string;
  /** False for what comes after the last line break. */
  readonly isWhole: boolean;
}

async function* linesOf(path: string, cut: (how: string) => void): AsyncGenerator<Line> {
  let number = 0;
  let rest = '';
  try {
    for await (const chunk of textOf(path)) {
      const texts = `${rest}${chunk}`.split('\n');
      rest = texts.pop() ?? '';
      for (const text of texts) {
        number++;
        if (text.trim().length > 0) yield { number, text, isWhole: true };
      }
      if (rest.length > MAX_LINE_LENGTH) {
        throw new TraceError(
          `${path}, line ${number + 1}: longer than ${MAX_LINE_LENGTH} characters, so this is no trace.`,
        );
      }
    }
  } catch (error) {
    // Of a packed file the end is missing: what comes before it is as good as ever.
    if (!isError(error, 'Z_BUF_ERROR')) throw readable(error, path);
    cut('the end of the packed file is missing');
  }
  if (rest.trim().length > 0) yield { number: number + 1, text: rest, isWhole: false };
}

function textOf(path: string): AsyncIterable<string> {
  const file = createReadStream(path);
  if (!path.endsWith('.gz')) return file.setEncoding('utf8');
  // Its error is also thrown where the unpacked text is read.
  return pipeline(file, createGunzip(), () => {}).setEncoding('utf8');
}

function readable(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error;
  if (String(error.code).startsWith('Z_')) return new TraceError(`${path} is not a gzip file.`, { cause: error });
  return new TraceError(`${path} cannot be read: ${error.message}.`, { cause: error });
}

function isError(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
