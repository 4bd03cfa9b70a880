import { errors } from 'undici';

import { ItemError } from '../lib/errors.ts';

/**
 * An answer that would come out the same the next time: it broke a limit of ours. Its code is `INVALID_RESPONSE`, like
 * that of an answer which arrived damaged, but there is no sense in asking again.
 */
export class FinalResponseError extends ItemError {
  constructor(message: string, status: number) {
    super('INVALID_RESPONSE', message, { status });
    // The difference matters to our classifier only; users know the documented class.
    this.name = 'ItemError';
  }
}

/** The item is at fault and nothing was sent. The message must name neither values nor query strings. */
export function refuseItem(message: string, cause?: unknown): ItemError {
  return new ItemError('HANDLER', message, { notSent: true, ...(cause === undefined ? undefined : { cause }) });
}

/** Codes of undici that blame the request. */
const BAD_REQUEST_CODES = new Set([
  'UND_ERR_INVALID_ARG',
  'UND_ERR_NOT_SUPPORTED',
  'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
]);

/** Codes of undici for an answer that breaks a limit of the client. */
const LIMIT_CODES = new Set(['UND_ERR_HEADERS_OVERFLOW', 'UND_ERR_RES_EXCEEDED_MAX_SIZE']);

/**
 * The error of the wire or of undici as an error of the item.
 *
 * @param target method and origin, for the message
 * @param started the request may have left this machine
 * @param status of the answer, 0 if there was none
 */
export function toItemError(error: unknown, target: string, started: boolean, status: number): ItemError {
  if (error instanceof ItemError) return error;
  // With two addresses to try (IPv4 and IPv6), the error is an AggregateError whose own message is empty.
  const cause: unknown = error instanceof AggregateError ? (error.errors[0] ?? error) : error;
  const code = codeOf(error) ?? codeOf(cause);
  const details = { cause, ...(status === 0 ? undefined : { status }) };
  if (code !== undefined) {
    if (BAD_REQUEST_CODES.has(code)) {
      return new ItemError('HANDLER', `${target}: the request is not valid (${code}).`, {
        ...details,
        notSent: !started,
      });
    }
    if (LIMIT_CODES.has(code)) {
      return new FinalResponseError(`${target}: the answer is larger than the client allows (${code}).`, status);
    }
  }
  // Without rest of the data, the parser complains that there is no more of it: the answer just ended.
  if (cause instanceof errors.HTTPParserError && (cause as { data?: unknown }).data !== '') {
    return new ItemError('INVALID_RESPONSE', `${target}: the answer is not HTTP/1.1.`, details);
  }
  const what = status === 0 ? (started ? 'no answer' : 'no connection') : 'the answer was cut short';
  const message = `${target}: ${what}${code === undefined ? '' : ` (${code})`}.`;
  return new ItemError('NETWORK', message, { ...details, notSent: !started });
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : undefined;
}
