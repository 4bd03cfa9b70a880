import { types } from 'node:util';

import { describeValue } from '../lib/errors.ts';
import type { HttpItem } from '../lib/types.ts';
import { FinalResponseError, refuseItem } from './http-errors.ts';

/** Alternating names (in lower case) and values: the one form that no dispatcher writes into. */
export type HeaderList = (string | string[])[];

/** A request, checked and ready for the wire. */
export interface WireRequest {
  readonly url: URL;
  readonly method: string;
  readonly headers: HeaderList;
  /** Always a Buffer object of this request alone: who waits for it to be sent is written on it. Never empty. */
  readonly body: Buffer | undefined;
  /** It goes, or has been sent on, to somebody whom our credentials are not for. */
  readonly isElsewhere: boolean;
}

/** What every request of this thread starts from. */
export interface RequestDefaults {
  readonly baseUrl: string | undefined;
  /** The origin of `baseUrl`: only there go our headers. */
  readonly origin: string | undefined;
  readonly headers: HeaderList;
}

const KNOWN_METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE']);
const IDEMPOTENT_METHODS = new Set(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'TRACE']);
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const KNOWN_SCHEMES = new Set(['file:', 'data:', 'blob:', 'ftp:', 'javascript:', 'mailto:', 'ws:', 'wss:']);
const NOT_IN_HEADER_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

/**
 * Fields that belong to the client. undici refuses them too, but a pool counts a client that refused a request as busy
 * from then on: as many refusals as it has connections, and it never sends anything again. So it must not come to that.
 */
const CLIENT_HEADERS = new Set(['transfer-encoding', 'keep-alive', 'upgrade', 'expect']);

/** All that may go along to another origin. */
const SAFE_ELSEWHERE = new Set(['accept', 'accept-language', 'user-agent', 'content-type']);
/** What speaks of a body, and goes when the body goes. */
const ABOUT_THE_BODY = new Set([
  'content-type',
  'content-length',
  'content-encoding',
  'content-language',
  'content-location',
]);

/** True if the method of this item may be sent twice without harm (RFC 9110, 9.2.2). */
export function isIdempotentItem(item: unknown): boolean {
  const method = typeof item === 'object' && item !== null ? (item as { method?: unknown }).method : undefined;
  return typeof method !== 'string' || IDEMPOTENT_METHODS.has(method.toUpperCase());
}

/**
 * Check an item and make the request of it.
 * @throws ItemError with the code `HANDLER` and `notSent`, never with a query string or a header value in its message
 */
export function buildRequest(item: HttpItem, defaults: RequestDefaults): WireRequest {
  if (typeof item !== 'object' || item === null || typeof item.url !== 'string') {
    throw refuseItem(`An item of the HTTP handler is an object with a string "url"; got ${describeKind(item)}.`);
  }
  const url = parseUrl(item.url, defaults.baseUrl);
  if (item.query !== undefined && item.query !== null) appendQuery(url, item.query);
  const method = checkMethod(item.method);
  const isElsewhere = defaults.origin !== undefined && url.origin !== defaults.origin;
  const headers = mergeHeaders(item.headers, isElsewhere ? harmlessOf(defaults.headers) : defaults.headers);
  const body = encodeBody(item.body, headers);
  dropContentLength(headers, body?.length ?? 0);
  return { url, method, headers, body, isElsewhere };
}

/**
 * What every request starts from, with the `headers` of the engine's credentials on top.
 * @throws ItemError with the code `HANDLER` and `notSent`, without anything of the credentials in its message
 */
export function withCredentials(defaults: RequestDefaults, credentials: unknown): RequestDefaults {
  const own = typeof credentials === 'object' && credentials !== null && 'headers' in credentials;
  if (!own) return defaults;
  try {
    return { ...defaults, headers: mergeHeaders(credentials.headers, defaults.headers) };
  } catch {
    throw refuseItem(
      'The "headers" of the engine\'s credentials are not valid: an object of header names and strings or lists of them.',
    );
  }
}

function describeKind(item: unknown): string {
  if (typeof item !== 'object' || item === null) return typeof item === 'string' ? 'a string' : describeValue(item);
  return `an object whose "url" is ${describeValue((item as { url?: unknown }).url)}`;
}

function parseUrl(text: string, baseUrl: string | undefined): URL {
  let url: URL;
  try {
    url = new URL(text, baseUrl);
  } catch {
    // The error of URL carries the whole text.
    const hint = baseUrl === undefined ? ' A relative one needs "http.baseUrl".' : '';
    throw refuseItem(`The "url" of the item is not a valid URL.${hint}`);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    // A name that nobody knows may be half of "user:password".
    const scheme = KNOWN_SCHEMES.has(url.protocol) ? url.protocol : 'another scheme';
    throw refuseItem(`The "url" of the item must begin with http: or https:, not ${scheme}`);
  }
  if (url.username !== '' || url.password !== '') {
    throw refuseItem('The "url" of the item holds a user name or password: send an "authorization" header instead.');
  }
  return url;
}

function appendQuery(url: URL, query: unknown): void {
  if (typeof query !== 'object' || query === null || Array.isArray(query)) {
    throw refuseItem('The "query" of an item must be an object.');
  }
  let added = '';
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined) continue;
    const key = encodeQueryPart(name);
    if (Array.isArray(value)) for (const one of value) added += `&${key}=${encodeQueryPart(one)}`;
    else added += `&${key}=${encodeQueryPart(value)}`;
  }
  if (added === '') return;
  url.search = url.search === '' ? added.slice(1) : url.search + added;
}

function encodeQueryPart(value: unknown): string {
  switch (typeof value) {
    case 'string':
      try {
        return encodeURIComponent(value);
      } catch {
        throw refuseItem('The "query" of the item holds half of a surrogate pair.');
      }
    case 'number':
    case 'boolean':
    case 'bigint':
      return encodeURIComponent(String(value));
    default:
      if (value === null) return '';
      throw refuseItem('The "query" of an item may hold strings, numbers, booleans, null, and lists of them.');
  }
}

function checkMethod(method: unknown): string {
  if (method === undefined) return 'GET';
  if (typeof method !== 'string' || !TOKEN.test(method)) throw refuseItem('The "method" of the item is not valid.');
  const upper = method.toUpperCase();
  if (upper === 'CONNECT') throw refuseItem('The method CONNECT is not supported: set "http.proxy" to use a proxy.');
  // Methods are case sensitive, but nobody who writes "post" means anything else than POST.
  return KNOWN_METHODS.has(upper) ? upper : method;
}

/**
 * The headers of an item on top of the defaults. `undefined` and `null` mean "not given".
 * @throws ItemError with the code `HANDLER` that names the field, not its value
 */
export function mergeHeaders(own: unknown, defaults: HeaderList): HeaderList {
  if (own === undefined || own === null) return defaults.slice();
  if (typeof own !== 'object' || Array.isArray(own)) throw refuseItem('The "headers" of an item must be an object.');
  const list: HeaderList = [];
  for (const [name, value] of Object.entries(own)) {
    if (value === undefined || value === null) continue;
    if (!TOKEN.test(name)) throw refuseItem('The "headers" of the item hold a name that is not valid.');
    const lower = name.toLowerCase();
    const checked = checkHeaderValue(lower, value);
    checkSpecialHeader(lower, checked);
    const at = indexOfHeader(list, lower);
    if (at === -1) list.push(lower, checked);
    else list[at + 1] = checked;
  }
  for (let i = 0; i < defaults.length; i += 2) {
    const name = defaults[i] as string;
    if (indexOfHeader(list, name) === -1) list.push(name, defaults[i + 1] as string | string[]);
  }
  return list;
}

function checkHeaderValue(name: string, value: unknown): string | string[] {
  if (Array.isArray(value)) return value.map((one) => checkHeaderText(name, one));
  return checkHeaderText(name, value);
}

function checkHeaderText(name: string, value: unknown): string {
  const text = typeof value === 'number' || typeof value === 'boolean' ? String(value) : value;
  if (typeof text !== 'string')
    throw refuseItem(`The header "${name}" of the item must be a string or a list of strings.`);
  if (NOT_IN_HEADER_VALUE.test(text)) {
    throw refuseItem(`The header "${name}" of the item holds a character that no header may hold.`);
  }
  return text;
}

function checkSpecialHeader(name: string, value: string | string[]): void {
  if (CLIENT_HEADERS.has(name)) throw refuseItem(`The header "${name}" of the item is set by the client itself.`);
  const isValid =
    name === 'host'
      ? typeof value === 'string'
      : name === 'connection'
        ? typeof value === 'string' && value.split(',').every((option) => TOKEN.test(option.trim()))
        : true;
  if (!isValid) throw refuseItem(`The header "${name}" of the item is not valid.`);
}

function harmlessOf(headers: HeaderList): HeaderList {
  const harmless: HeaderList = [];
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (SAFE_ELSEWHERE.has(name)) harmless.push(name, headers[i + 1] as string | string[]);
  }
  return harmless;
}

function indexOfHeader(list: HeaderList, name: string): number {
  for (let i = 0; i < list.length; i += 2) if (list[i] === name) return i;
  return -1;
}

function encodeBody(body: unknown, headers: HeaderList): Buffer | undefined {
  if (body === undefined || body === null) return undefined;
  let bytes: Buffer;
  if (typeof body === 'string') bytes = Buffer.from(body);
  else if (ArrayBuffer.isView(body)) bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  else if (types.isAnyArrayBuffer(body)) bytes = Buffer.from(body);
  else {
    let json: string | undefined;
    try {
      json = JSON.stringify(body);
    } catch (cause) {
      throw refuseItem('The "body" of the item cannot be written as JSON.', cause);
    }
    if (json === undefined) throw refuseItem('The "body" of the item cannot be written as JSON.');
    if (indexOfHeader(headers, 'content-type') === -1) headers.push('content-type', 'application/json');
    bytes = Buffer.from(json);
  }
  return bytes.length === 0 ? undefined : bytes;
}

/** The client counts for itself; an item may say the same, but nothing else. */
function dropContentLength(headers: HeaderList, length: number): void {
  const at = indexOfHeader(headers, 'content-length');
  if (at === -1) return;
  const [, said] = headers.splice(at, 2);
  if (said !== String(length)) throw refuseItem('The header "content-length" of the item does not fit its body.');
}

/** True for the statuses that send the client on to another address. */
export function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

/**
 * The request that a redirect asks for, by the rules of fetch. To another origin goes nothing but a few harmless
 * headers, and what was dropped on the way does not come back.
 * @throws ItemError with the code `INVALID_RESPONSE` if the address is not one of http or https
 */
export function redirectRequest(request: WireRequest, status: number, location: string): WireRequest {
  let url: URL;
  try {
    // Header bytes arrive one to a character; servers that do not encode send UTF-8.
    url = new URL(Buffer.from(location, 'latin1').toString(), request.url);
  } catch {
    throw new FinalResponseError(`${describeTarget(request)}: redirected to something that is not a URL.`, status);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new FinalResponseError(`${describeTarget(request)}: redirected to a URL that is not http or https.`, status);
  }
  const { method } = request;
  const toGet =
    status === 303 ? method !== 'GET' && method !== 'HEAD' : (status === 301 || status === 302) && method === 'POST';
  const elsewhere = url.origin !== request.url.origin;
  const all = elsewhere ? harmlessOf(request.headers) : request.headers;
  const headers: HeaderList = [];
  for (let i = 0; i < all.length; i += 2) {
    const name = all[i] as string;
    if (toGet && ABOUT_THE_BODY.has(name)) continue;
    headers.push(name, all[i + 1] as string | string[]);
  }
  const { body } = request;
  // The next request gets a Buffer object of its own, over the same bytes.
  const again = toGet || body === undefined ? undefined : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const isElsewhere = request.isElsewhere || elsewhere;
  return { url, method: toGet ? 'GET' : method, headers, body: again, isElsewhere };
}

/** The method and origin of a request: all that may stand in a message. */
export function describeTarget(request: WireRequest): string {
  return `${request.method} ${request.url.origin}`;
}
