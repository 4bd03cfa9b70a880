import { Agent, type buildConnector, type Dispatcher, ProxyAgent, request } from 'undici';
import type { HttpOptions } from '../types.ts';

/** Where and how to ask for tokens. */
export interface TokenEndpoint {
  /** Base URL of the API, with a slash at the end. */
  readonly baseUrl: string;
  readonly appKey: string;
  readonly appSecret: string;
  readonly http: Pick<HttpOptions, 'proxy' | 'tls' | 'connectTimeoutMs'>;
  /** How long one request may take. */
  readonly timeoutMs: number;
}

/** An answer of the token endpoint, as it came. */
export interface RawAnswer {
  readonly status: number;
  readonly text: string;
}

const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
const MAX_BODY_BYTES = 64 * 1024;
/** Codes that mean: there was no connection, so nothing was sent. */
const NOT_SENT_CODES: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/**
 * `POST /oauth2/tokenP`, over a connection of its own: it is needed once a day. Redirects are not followed, so that the
 * secret goes nowhere else.
 *
 * @throws the reason of `signal`; the error of undici or of the system, or `TimeoutError`
 */
export async function postToken(endpoint: TokenEndpoint, signal: AbortSignal | undefined): Promise<RawAnswer> {
  signal?.throwIfAborted();
  const dispatcher = createDispatcher(endpoint.http);
  const stop = new AbortController();
  const onAbort = () => stop.abort(signal?.reason);
  const tooLong = new DOMException(`No answer within ${endpoint.timeoutMs} ms.`, 'TimeoutError');
  const timer = setTimeout(() => stop.abort(tooLong), endpoint.timeoutMs);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const { statusCode, body } = await request(new URL('oauth2/tokenP', endpoint.baseUrl), {
      method: 'POST',
      headers: { 'content-type': 'application/json; charset=utf-8', 'user-agent': 'sluicegate' },
      body: JSON.stringify({
        grant_type: 'client_credentials',
        appkey: endpoint.appKey,
        appsecret: endpoint.appSecret,
      }),
      signal: stop.signal,
      dispatcher,
    });
    return { status: statusCode, text: await body.text() };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    await dispatcher.destroy();
  }
}

/** Has the request certainly not reached anybody? */
export function wasNotSent(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && NOT_SENT_CODES.has(error.code);
}

function createDispatcher(http: TokenEndpoint['http']): Dispatcher {
  const { proxy, tls, connectTimeoutMs: timeout = DEFAULT_CONNECT_TIMEOUT_MS } = http;
  const connect = { ...tls, timeout } as buildConnector.BuildOptions;
  const shared = { pipelining: 1, allowH2: false, maxResponseSize: MAX_BODY_BYTES } satisfies Agent.Options;
  if (proxy === undefined) return new Agent({ ...shared, connect });
  const { username, password, origin } = new URL(proxy);
  const user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return new ProxyAgent({
    ...shared,
    // Without user and password, so that no message of undici can show them.
    uri: origin,
    ...(user === ':' ? {} : { token: `Basic ${Buffer.from(user).toString('base64')}` }),
    requestTls: connect,
    proxyTls: { ...(tls?.ca === undefined ? {} : { ca: tls.ca }), timeout } as buildConnector.BuildOptions,
  });
}
