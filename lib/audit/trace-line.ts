import type { TracedRequest } from '../shared/trace-cells.ts';
import type { RequestTimes } from './audit.ts';

/** The version of the format that is written, and the only one that is read. */
export const TRACE_VERSION = 1;

/**
 * What one line of a trace says about one request. A trace is text in UTF-8, one JSON object per line.
 *
 * Times are nanoseconds of the machine's monotonic clock (`process.hrtime.bigint()`) as strings of decimal digits: as
 * JSON numbers they would be exact only for the first 104 days after the machine was started.
 *
 * A request has `startedNs`, `sentNs` if that was reported, and either `answeredNs` or `abandonedNs`. An attempt that
 * certainly sent nothing has none of the four.
 */
export interface TraceLine {
  /** Number of the batch, of the item in its batch, and of the attempt at the item (from 1 on). */
  readonly batch: number;
  readonly item: number;
  readonly attempt: number;
  /** Id of the worker thread. */
  readonly thread: number;
  /** Only for the second and further requests of one attempt: their number, from 1 on. */
  readonly request?: number;
  /** When it could be sent: its tokens were there, and the handler was called or its further request granted. */
  readonly startedNs?: string;
  /** When its last byte left, if the handler said so. */
  readonly sentNs?: string;
  /** When its answer was in. */
  readonly answeredNs?: string;
  /** When nobody waited for its answer any more, or when its thread was gone. */
  readonly abandonedNs?: string;
  readonly verdict: TraceVerdict;
}

/** How an attempt ended; `lost` with its thread. */
export type TraceVerdict = 'ok' | 'fatal' | 'retry' | 'refused' | 'cancelled' | 'aborted' | 'not-started' | 'lost';

/** What becomes a line of a trace. */
export interface TraceRecord extends Pick<TraceLine, 'batch' | 'item' | 'attempt' | 'thread' | 'verdict'> {
  /** Undefined if nothing was sent. One that has not ended is given up on when its thread is gone. */
  readonly traced: TracedRequest | undefined;
}

/** The line of an attempt, or of one request of it, without a line break. */
export function traceLine({ batch, item, attempt, thread, verdict, traced }: TraceRecord): string {
  // Put together by hand, which is several times as fast: nothing in it needs to be escaped.
  const who = `{"batch":${batch},"item":${item},"attempt":${attempt},"thread":${thread}`;
  if (traced === undefined) return `${who},"verdict":"${verdict}"}`;
  const { request, fromNs, sentNs, endNs = fromNs, isAnswered } = traced;
  const number = request === 0 ? '' : `,"request":${request}`;
  const sent = sentNs === undefined ? '' : `,"sentNs":"${sentNs}"`;
  const end = `"${isAnswered ? 'answeredNs' : 'abandonedNs'}":"${endNs}"`;
  return `${who}${number},"startedNs":"${fromNs}"${sent},${end},"verdict":"${verdict}"}`;
}

/** The first line of a trace. */
export interface TraceStart {
  readonly trace: 'start';
  readonly version: typeof TRACE_VERSION;
  /** Date and time in UTC, and the same moment on the clock of all other times. */
  readonly startedAt: string;
  readonly startedNs: string;
}

/** The last line of a trace that is whole. */
export interface TraceEnd {
  readonly trace: 'end';
  /** Lines between the first and this one. */
  readonly lines: number;
}

/** What the audit reads from one line. */
export type TraceEntry =
  | { readonly kind: 'start' }
  | { readonly kind: 'end'; readonly lines: number }
  | {
      readonly kind: 'attempt';
      /** False for further requests of an attempt. */
      readonly isFirst: boolean;
      /** Undefined if nothing was sent. */
      readonly times: RequestTimes | undefined;
    };

/** A line that is not of a trace. */
export class TraceLineError extends Error {
  override readonly name = 'TraceLineError';
}

/** Up to 31 years. */
const NS = /^\d{1,18}$/;

/** What an attempt without any times can have come to. The others need an answer. */
const UNSENT: ReadonlySet<unknown> = new Set<TraceVerdict>([
  'fatal',
  'retry',
  'cancelled',
  'aborted',
  'not-started',
  'lost',
]);

/**
 * Read one line. Of a request only the times count, so that traces of other clients can be audited too; fields that are
 * not known are ignored.
 * @throws TraceLineError that says what is wrong.
 */
export function parseTraceLine(text: string): TraceEntry {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch {
    throw new TraceLineError('this is not JSON');
  }
  if (typeof line !== 'object' || line === null || Array.isArray(line)) {
    throw new TraceLineError('this is not a JSON object');
  }
  const fields = line as Readonly<Record<string, unknown>>;
  return fields.trace === undefined ? attemptOf(fields) : frameOf(fields);
}

function frameOf({ trace, version, lines }: Readonly<Record<string, unknown>>): TraceEntry {
  if (trace === 'start') {
    if (version !== TRACE_VERSION) throw new TraceLineError(`the trace is not of version ${TRACE_VERSION}`);
    return { kind: 'start' };
  }
  if (trace === 'end' && typeof lines === 'number') return { kind: 'end', lines };
  throw new TraceLineError('"trace" is neither a start nor an end');
}

function attemptOf(fields: Readonly<Record<string, unknown>>): TraceEntry {
  const isFirst = fields.request === undefined || fields.request === 0;
  const [startedNs, sentNs] = [timeOf(fields, 'startedNs'), timeOf(fields, 'sentNs')];
  const [answeredNs, abandonedNs] = [timeOf(fields, 'answeredNs'), timeOf(fields, 'abandonedNs')];
  // Only the one is there in traces of clients that know nothing of the other.
  const fromNs = startedNs ?? sentNs;
  const endNs = answeredNs ?? abandonedNs;
  if (fromNs === undefined && endNs === undefined) {
    // Whoever names the times otherwise must not pass for somebody who never sent anything.
    if (!UNSENT.has(fields.verdict)) throw new TraceLineError('it has no times, and no "verdict" that explains why');
    return { kind: 'attempt', isFirst, times: undefined };
  }
  if (fromNs === undefined) throw new TraceLineError('it ends with neither "sentNs" nor "startedNs"');
  if (endNs === undefined) throw new TraceLineError('it starts with neither "answeredNs" nor "abandonedNs"');
  if (answeredNs !== undefined && abandonedNs !== undefined) {
    throw new TraceLineError('it has "answeredNs" and "abandonedNs"');
  }
  if (sentNs !== undefined && sentNs < fromNs) throw new TraceLineError('it is sent before it starts');
  if (endNs < (sentNs ?? fromNs)) throw new TraceLineError('it ends before it starts');
  return { kind: 'attempt', isFirst, times: { fromNs, sentNs, endNs, isAnswered: answeredNs !== undefined } };
}

function timeOf(fields: Readonly<Record<string, unknown>>, name: string): bigint | undefined {
  const value = fields[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || !NS.test(value)) {
    throw new TraceLineError(`"${name}" is not a string of up to 18 decimal digits`);
  }
  return BigInt(value);
}
