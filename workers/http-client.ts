import { Agent, type Dispatcher, Pool, ProxyAgent } from 'undici';

import { HandlerLoadError } from '../lib/errors.ts';
import type { HttpOptions } from '../lib/types.ts';
import type { ResponseType } from './http-body.ts';
import { type HttpConfig, httpConfig } from './http-config.ts';
import { mergeHeaders, type RequestDefaults } from './http-request.ts';

/** Everything that the requests of this thread share. */
export interface HttpClient extends RequestDefaults {
  readonly dispatcher: Dispatcher;
  /** For whom our client certificate is not for. Often the same one. */
  readonly dispatcherElsewhere: Dispatcher;
  /** The dispatcher was made by the user's module, and is the user's to end. */
  readonly isForeign: boolean;
  readonly maxBodyBytes: number;
  readonly maxRedirects: number;
  readonly responseType: ResponseType;
}

const DEFAULT_MAX_BODY_BYTES = 10 * 1024 * 1024;
const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
const DEFAULT_KEEP_ALIVE_TIMEOUT_MS = 4_000;

/** Some servers refuse requests that do not say who they are. */
const BASE_HEADERS = ['accept', '*/*', 'user-agent', 'sluicegate'];

let ready: HttpClient | undefined;
let loading: Promise<HttpClient> | undefined;

/** The client of this thread, if it is there already: spares every request a turn of the microtask queue. */
export function readyClient(): HttpClient | undefined {
  return ready;
}

/**
 * The client of this thread, made from `httpConfig()` on the first call.
 * @throws HandlerLoadError if the user's dispatcher cannot be loaded or an option does not work
 */
export function loadClient(): Promise<HttpClient> {
  loading ??= createClient(httpConfig()).then((client) => {
    ready = client;
    return client;
  });
  return loading;
}

/** End our connections at once; the next request starts afresh. A thread that is terminated does not need this. */
export async function destroyHttp(): Promise<void> {
  const current = loading;
  ready = undefined;
  loading = undefined;
  const client = await current?.catch(() => undefined);
  if (client?.isForeign !== false) return;
  await Promise.all([client.dispatcher.destroy(), client.dispatcherElsewhere.destroy()]);
}

async function createClient(config: HttpConfig): Promise<HttpClient> {
  const { options, dispatcherUrl } = config;
  const baseUrl = checkBaseUrl(options.baseUrl);
  const dispatcher =
    dispatcherUrl === undefined ? createDispatcher(config) : await loadDispatcher(dispatcherUrl, options);
  return {
    baseUrl,
    origin: baseUrl === undefined ? undefined : new URL(baseUrl).origin,
    headers: checkHeaders(options.headers),
    maxBodyBytes: options.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES,
    maxRedirects: options.maxRedirects ?? 0,
    responseType: options.responseType ?? 'auto',
    isForeign: dispatcherUrl !== undefined,
    dispatcher,
    dispatcherElsewhere: hasIdentity(config) ? createDispatcher(withoutIdentity(config)) : dispatcher,
  };
}

function hasIdentity({ options: { tls }, dispatcherUrl }: HttpConfig): boolean {
  return dispatcherUrl === undefined && (tls?.cert !== undefined || tls?.key !== undefined);
}

/** The same, for those to whom we are nobody. The name to check is that of the upstream, too. */
function withoutIdentity(config: HttpConfig): HttpConfig {
  const { cert: _cert, key: _key, passphrase: _passphrase, servername: _servername, ...tls } = config.options.tls ?? {};
  return { ...config, options: { ...config.options, tls } };
}

function checkBaseUrl(baseUrl: string | undefined): string | undefined {
  if (baseUrl !== undefined && !URL.canParse(baseUrl)) throw new HandlerLoadError('"http.baseUrl" is not a valid URL.');
  return baseUrl;
}

function checkHeaders(headers: HttpOptions['headers']): RequestDefaults['headers'] {
  try {
    return mergeHeaders(headers, BASE_HEADERS);
  } catch (cause) {
    throw new HandlerLoadError('"http.headers" cannot be sent.', { cause });
  }
}

function createDispatcher({ options, lanes }: HttpConfig): Dispatcher {
  const timeout = options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS;
  const tls = { ...options.tls } as NonNullable<Agent.Options['connect']>;
  const shared = {
    // More than one request on a connection, and undici sends some of them again when it breaks.
    pipelining: 1,
    allowH2: false,
    connections: options.connections ?? lanes,
    keepAliveTimeout: options.keepAliveTimeoutMs ?? DEFAULT_KEEP_ALIVE_TIMEOUT_MS,
    // The engine times every attempt itself; the timers of undici are half a second coarse.
    headersTimeout: 0,
    bodyTimeout: 0,
  };
  if (options.proxy === undefined) return new Agent({ ...shared, connect: { ...tls, timeout } });
  const { uri, token } = parseProxy(options.proxy);
  const { ca } = options.tls ?? {};
  return new ProxyAgent({
    ...shared,
    uri,
    ...(token === undefined ? undefined : { token }),
    requestTls: { ...tls, timeout },
    proxyTls: { ...(ca === undefined ? undefined : { ca }), timeout } as ProxyAgent.Options['proxyTls'] & object,
    // A proxy that never answers must not keep a connection of ours busy for undici's five minutes.
    clientFactory: (origin, poolOptions) => createTunnelPool(origin, { ...poolOptions, headersTimeout: timeout }),
  });
}

type OpenTunnel = (options: Dispatcher.ConnectOptions) => Promise<Dispatcher.ConnectData>;

/** The connections to a proxy itself, over which tunnels are opened. */
function createTunnelPool(origin: URL, options: object): Pool {
  const pool = new Pool(origin, options);
  const connect = pool.connect.bind(pool) as OpenTunnel;
  const connectOnce: OpenTunnel = async (target) => {
    try {
      return await connect(target);
    } catch (cause) {
      // A client that fails to connect with this code tries again, at once and forever: a proxy that hangs up would
      // get thousands of connections per second, and the request would never settle.
      if ((cause as { code?: unknown }).code !== 'UND_ERR_SOCKET') throw cause;
      throw Object.assign(new Error('The proxy closed the connection.', { cause }), { code: 'ECONNRESET' });
    }
  };
  pool.connect = connectOnce as Pool['connect'];
  return pool;
}

/** Credentials are taken out of the address, so that no message of undici can show them. */
function parseProxy(proxy: string): { uri: string; token: string | undefined } {
  let url: URL;
  let user: string;
  let password: string;
  try {
    url = new URL(proxy);
    user = decodeURIComponent(url.username);
    password = decodeURIComponent(url.password);
  } catch {
    throw new HandlerLoadError('"http.proxy" is not a valid URL.');
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new HandlerLoadError('"http.proxy" must begin with http: or https:.');
  }
  const token =
    user === '' && password === '' ? undefined : `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  return { uri: url.origin, token };
}

async function loadDispatcher(moduleUrl: string, options: HttpOptions): Promise<Dispatcher> {
  let create: unknown;
  try {
    ({ default: create } = (await import(moduleUrl)) as { default?: unknown });
  } catch (cause) {
    throw new HandlerLoadError(`The dispatcher module ${moduleUrl} cannot be imported.`, { cause });
  }
  if (typeof create !== 'function') {
    throw new HandlerLoadError(`The dispatcher module ${moduleUrl} must export a function as its default.`);
  }
  let dispatcher: unknown;
  try {
    dispatcher = await (create as (options: HttpOptions) => unknown)(options);
  } catch (cause) {
    throw new HandlerLoadError(`The function of the dispatcher module ${moduleUrl} failed.`, { cause });
  }
  if (typeof (dispatcher as Partial<Dispatcher> | null | undefined)?.dispatch !== 'function') {
    throw new HandlerLoadError(`The function of the dispatcher module ${moduleUrl} must return an undici Dispatcher.`);
  }
  return dispatcher as Dispatcher;
}
