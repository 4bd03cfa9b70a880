import { ERROR_CODES, type ErrorCode } from '../errors.ts';
import type { CauseRecord } from '../types.ts';

/** An error record as a thread sends it: the main thread adds how many attempts there were. */
export interface FailureRecord {
  code: ErrorCode;
  name: string;
  message: string;
  status?: number;
  /** The upstream's own code for what is wrong. */
  upstreamCode?: string;
  retryAfterMs?: number;
  possiblyExecuted: boolean;
  stack?: string;
  cause?: CauseRecord;
}

/** Longer codes of an upstream are cut. */
export const MAX_UPSTREAM_CODE_CHARS = 64;

const MAX_MESSAGE_CHARS = 2_000;
const MAX_STACK_CHARS = 8_000;
const MAX_CAUSE_DEPTH = 4;

/** Codes of the system and of undici that mean: the connection failed, not the request. */
const NETWORK_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_CLOSED',
  'UND_ERR_DESTROYED',
]);

/** Read a property of something that may be a proxy, a getter that throws, or nothing at all. */
export function read(value: unknown, key: string): unknown {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return undefined;
  try {
    return (value as Record<string, unknown>)[key];
  } catch {
    return undefined;
  }
}

/** Read a property that is text and not empty; what is longer than `maxChars` is cut. */
export function readString(value: unknown, key: string, maxChars = MAX_MESSAGE_CHARS): string | undefined {
  const text = read(value, key);
  return typeof text === 'string' && text !== '' ? text.slice(0, maxChars) : undefined;
}

/** What somebody threw, in words, whatever it is. */
function describeThrown(thrown: unknown): string {
  if (typeof thrown === 'object' || typeof thrown === 'function') {
    return thrown === null ? 'The handler threw null.' : 'The handler threw something that is not an Error.';
  }
  return `The handler threw ${String(thrown).slice(0, MAX_MESSAGE_CHARS)}.`;
}

/** Plain data about an error underneath another one. */
export function toCauseRecord(cause: unknown, depth = MAX_CAUSE_DEPTH): CauseRecord | undefined {
  if (cause === undefined || cause === null || depth === 0) return undefined;
  const code = readString(cause, 'code');
  const next = toCauseRecord(read(cause, 'cause'), depth - 1);
  return {
    name: readString(cause, 'name') ?? 'Error',
    message: readString(cause, 'message') ?? code ?? describeThrown(cause),
    ...(code === undefined ? {} : { code }),
    ...(next === undefined ? {} : { cause: next }),
  };
}

/** The stable code of something that a handler threw: its own, `NETWORK` by the system's codes, else `HANDLER`. */
export function codeOf(thrown: unknown): ErrorCode {
  let error = thrown;
  for (let depth = 0; depth < MAX_CAUSE_DEPTH && error !== undefined && error !== null; depth++) {
    const code = read(error, 'code');
    if (typeof code === 'string') {
      if (depth === 0 && (ERROR_CODES as readonly string[]).includes(code)) return code as ErrorCode;
      if (NETWORK_CODES.has(code)) return 'NETWORK';
    }
    error = read(error, 'cause');
  }
  return 'HANDLER';
}

/** Read a property that is true or false. */
export function readFlag(value: unknown, key: string): boolean | undefined {
  const flag = read(value, key);
  return typeof flag === 'boolean' ? flag : undefined;
}

/** A hint when to come back that an error or a verdict carries, in milliseconds. */
export function retryAfterOf(value: unknown): number | undefined {
  return positiveOf(value, 'retryAfterMs');
}

/** Read a property that is a number above 0. */
export function positiveOf(value: unknown, key: string): number | undefined {
  const ms = read(value, key);
  if (typeof ms !== 'number' || !Number.isFinite(ms) || ms <= 0) return undefined;
  // Beyond that it would be no number of nanoseconds any more.
  return Math.min(ms, Number.MAX_SAFE_INTEGER);
}

/** The status that an error or an answer carries: a whole number above 0. */
export function statusOf(value: unknown): number | undefined {
  const status = read(value, 'status');
  return typeof status === 'number' && Number.isSafeInteger(status) && status > 0 ? status : undefined;
}

/** What is underneath: with a code of its own, which is none of ours, the error itself, because a record has no other place for it. */
function causeOf(thrown: unknown): CauseRecord | undefined {
  const code = readString(thrown, 'code');
  const isForeign = code !== undefined && !(ERROR_CODES as readonly string[]).includes(code);
  return toCauseRecord(isForeign ? thrown : read(thrown, 'cause'));
}

/** Turn what a handler threw into plain data. Never throws itself, whatever it is given. */
export function toFailureRecord(thrown: unknown, possiblyExecuted: boolean): FailureRecord {
  const code = codeOf(thrown);
  const status = statusOf(thrown);
  const retryAfterMs = retryAfterOf(thrown);
  const stack = code === 'HANDLER' ? readString(thrown, 'stack', MAX_STACK_CHARS) : undefined;
  const cause = causeOf(thrown);
  return {
    code,
    name: readString(thrown, 'name') ?? 'Error',
    message: readString(thrown, 'message') ?? readString(thrown, 'code') ?? describeThrown(thrown),
    ...(status === undefined ? {} : { status }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    possiblyExecuted,
    ...(stack === undefined ? {} : { stack }),
    ...(cause === undefined ? {} : { cause }),
  };
}
