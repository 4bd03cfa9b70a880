import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate, inflateRaw, type ZlibOptions } from 'node:zlib';

import { ItemError } from '../lib/errors.ts';
import type { HttpOptions, HttpValue } from '../lib/types.ts';
import { FinalResponseError } from './http-errors.ts';
import { describeTarget, type WireRequest } from './http-request.ts';

export type ResponseType = NonNullable<HttpOptions['responseType']>;
type Headers = HttpValue['headers'];
type Decoder = (bytes: Buffer, options: ZlibOptions) => Promise<Buffer>;

const gunzipAsync = promisify<Buffer, ZlibOptions, Buffer>(gunzip);
const inflateAsync = promisify<Buffer, ZlibOptions, Buffer>(inflate);
const inflateRawAsync = promisify<Buffer, ZlibOptions, Buffer>(inflateRaw);

const DECODERS = new Map<string, Decoder>([
  ['gzip', gunzipAsync],
  ['x-gzip', gunzipAsync],
  // Some servers leave the zlib header out, which always has 8 in its low four bits.
  ['deflate', (bytes, options) => (((bytes[0] ?? 0) & 15) === 8 ? inflateAsync : inflateRawAsync)(bytes, options)],
  ['br', promisify<Buffer, ZlibOptions, Buffer>(brotliDecompress)],
]);

/** Each coding costs up to the whole limit once more, so a list of thousands is an attack. */
const MAX_CODINGS = 5;

/** Broken or endless bodies of error statuses are given up: the status has said what matters. */
const FIRST_ERROR_STATUS = 400;

/** The first value of a field, if the answer has it. */
export function firstHeader(headers: Headers, name: string): string | undefined {
  // A field may be called like a property of every object.
  if (!Object.hasOwn(headers, name)) return undefined;
  const value = headers[name];
  return typeof value === 'string' ? value : value?.[0];
}

/**
 * Undo the content codings of a body.
 *
 * @param maxBytes limit for the result, and for each step on the way
 * @returns the bytes, or `null` for an error status whose body cannot be decoded
 * @throws ItemError with the code `INVALID_RESPONSE`
 */
export async function decodeContent(
  bytes: Buffer,
  encoding: string,
  status: number,
  maxBytes: number,
  request: WireRequest,
): Promise<Buffer | null> {
  const codings = encoding
    .toLowerCase()
    .split(',')
    .map((coding) => coding.trim())
    .filter((coding) => coding !== '' && coding !== 'identity');
  try {
    if (codings.length > MAX_CODINGS)
      throw new FinalResponseError(`${describeTarget(request)}: too many content codings.`, status);
    let decoded = bytes;
    for (const coding of codings.reverse()) {
      const decode = DECODERS.get(coding);
      if (decode === undefined)
        throw new FinalResponseError(`${describeTarget(request)}: unknown content coding.`, status);
      decoded = await decode(decoded, { maxOutputLength: maxBytes });
    }
    return decoded;
  } catch (error) {
    if (status >= FIRST_ERROR_STATUS) return null;
    if (error instanceof ItemError) throw error;
    if ((error as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(request, status, maxBytes);
    const message = `${describeTarget(request)}: the body is not what its content coding says.`;
    throw new ItemError('INVALID_RESPONSE', message, { status, cause: error });
  }
}

/** The error for a body over `maxBodyBytes`. */
export function tooLarge(request: WireRequest, status: number, maxBytes: number): FinalResponseError {
  const message = `${describeTarget(request)}: the body is larger than maxBodyBytes (${maxBytes}).`;
  return new FinalResponseError(message, status);
}

/**
 * The body of an answer in the form that the user asked for. JSON that is empty is `null`.
 *
 * @throws ItemError with the code `INVALID_RESPONSE` for broken JSON; its message holds no piece of the body. With an
 * error status the text is returned instead, so that the body does not hide the status.
 */
export function parseBody(
  bytes: Buffer,
  headers: Headers,
  status: number,
  type: ResponseType,
  request: WireRequest,
): unknown {
  if (type === 'bytes') {
    // A copy of exactly this size: the buffer is a window on a larger one, which would travel with it to another thread.
    const copy = new Uint8Array(bytes.length);
    copy.set(bytes);
    return copy;
  }
  const contentType = parseContentType(firstHeader(headers, 'content-type') ?? '');
  const isJson = type === 'json' || (type === 'auto' && contentType.isJson);
  if (bytes.length === 0) return isJson ? null : '';
  let text: string;
  try {
    text = decodeText(bytes, contentType.charset);
  } catch (cause) {
    const message = `${describeTarget(request)}: the body is too long for a string.`;
    throw new ItemError('INVALID_RESPONSE', message, { status, cause });
  }
  if (!isJson) return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    if (status >= FIRST_ERROR_STATUS) return text;
    // The parser's own error quotes the body.
    throw new ItemError('INVALID_RESPONSE', `${describeTarget(request)}: the body is not valid JSON.`, { status });
  }
}

interface ContentType {
  readonly text: string;
  readonly isJson: boolean;
  readonly charset: string | undefined;
}

/** Answers of one upstream mostly have the same type as the one before. */
let lastContentType: ContentType = { text: '', isJson: false, charset: undefined };

function parseContentType(text: string): ContentType {
  if (text !== lastContentType.text) {
    lastContentType = {
      text,
      isJson: /^[^;]*[/+]json\s*(?:;|$)/i.test(text),
      charset: /;\s*charset\s*=\s*"?([^\s";]+)/i.exec(text)?.[1]?.toLowerCase(),
    };
  }
  return lastContentType;
}

function decodeText(bytes: Buffer, charset: string | undefined): string {
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8') {
    const decoder = decoderFor(charset);
    if (decoder !== undefined) return decoder.decode(bytes);
  }
  const hasByteOrderMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  return bytes.toString('utf8', hasByteOrderMark ? 3 : 0);
}

/** `undefined` for a name that nobody knows: the text is read as UTF-8, as if none were given. */
function decoderFor(charset: string) {
  try {
    return new TextDecoder(charset);
  } catch {
    return undefined;
  }
}
