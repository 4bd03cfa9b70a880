import { statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import { type Environment, mergeOptions, type PartialOptions, readEnvironment } from '../environment.ts';
import { InvalidOptionError } from '../errors.ts';
import { KIS_HANDLER } from '../files.ts';
import type { EngineOptions, RateLimit } from '../options.ts';
import { invalidOption, parseOptions } from '../options-schema.ts';
import { DEFAULTS } from '../resolve-options.ts';
import { durationMs, oneOf, options, plainObject } from '../schema-parts.ts';
import type { HttpOptions } from '../types.ts';
import { KIS_RULES } from './rules.ts';

/** The options of the engine that the client takes as they are. */
type PassedOn = Omit<
  EngineOptions,
  'handler' | 'handlerData' | 'http' | 'credentials' | 'onRefreshCredentials' | 'credentialsTimeoutMs'
>;

/** The options of the connections. The token is asked for over the same proxy and with the same `tls`. */
export type KisHttpOptions = Pick<
  HttpOptions,
  'headers' | 'proxy' | 'tls' | 'connections' | 'connectTimeoutMs' | 'keepAliveTimeoutMs' | 'maxBodyBytes'
>;

/** Options of `createKisClient`: these, and those of `createEngine` that are not about the handler or credentials. */
export interface KisClientOptions extends PassedOn {
  /** Default: the environment variable `KIS_APP_KEY`. */
  readonly appKey?: string | undefined;
  /** Default: the environment variable `KIS_APP_SECRET`. */
  readonly appSecret?: string | undefined;
  /** Real or paper trading: another host, another limit. Each has keys of its own. Default `'real'`. */
  readonly environment?: 'real' | 'paper' | undefined;
  /** Where the API is: an `http:` or `https:` URL. Default: KIS' host for `environment`. */
  readonly baseUrl?: string | undefined;
  /**
   * A file that keeps the access token for the next process, readable by its owner only (mode 0600). Its folder must
   * exist. Default: none, and every process asks for a token.
   */
  readonly tokenFile?: string | URL | undefined;
  /** A token is asked for at most once in this time, in milliseconds, from 0 to 2 147 483 647. Default 60 000. */
  readonly tokenIntervalMs?: number | undefined;
  readonly http?: KisHttpOptions | undefined;
}

/** `KisClientOptions`, checked. Holds secrets: it must never be shown. */
export interface ResolvedKisOptions {
  readonly appKey: string;
  readonly appSecret: string;
  readonly environment: 'real' | 'paper';
  /** With a slash at the end. */
  readonly baseUrl: string;
  readonly tokenFile: string | undefined;
  readonly tokenIntervalMs: number;
  /** How long one request for a token may take. */
  readonly timeoutMs: number;
  /** Checked by the engine only. */
  readonly http: KisHttpOptions;
  /** For `createEngine`. */
  readonly engine: EngineOptions;
}

const HOSTS = {
  real: 'https://openapi.koreainvestment.com:9443/',
  paper: 'https://openapivts.koreainvestment.com:29443/',
} as const;

/** What KIS allows, evenly spaced: it refuses bursts, even those within the limit. */
const DEFAULT_RATES: Readonly<Record<'real' | 'paper', RateLimit>> = Object.freeze({
  real: Object.freeze({ limit: 18, windowMs: 1000, spacing: 'even' }),
  paper: Object.freeze({ limit: 1, windowMs: 1000, spacing: 'even' }),
});

const DEFAULT_TOKEN_INTERVAL_MS = 60_000;
const MAX_TIMER_MS = 2_147_483_647;
/** Requests and waits that one token may take, with a moment to spare. */
const TOKEN_TRIES = 3;
const MOMENT_MS = 2000;
/** A header holds it. */
const SECRET = /^[\x21-\x7e]{1,512}$/;

const HTTP_URL = 'an absolute http:// or https:// URL without a query';
const PATH = 'a path or a file: URL of a file in a folder that exists';

const http = options({
  headers: v.optional(plainObject('a plain object of headers')),
  proxy: v.unknown(),
  tls: v.unknown(),
  connections: v.unknown(),
  connectTimeoutMs: v.unknown(),
  keepAliveTimeoutMs: v.unknown(),
  maxBodyBytes: v.unknown(),
});

/** The engine checks these. */
const passedOn = {
  threads: v.unknown(),
  concurrency: v.unknown(),
  rate: v.unknown(),
  timeoutMs: v.unknown(),
  retry: v.unknown(),
  onRateLimit: v.unknown(),
  hints: v.unknown(),
  circuit: v.unknown(),
  recovery: v.unknown(),
  locale: v.unknown(),
  cancelGraceMs: v.unknown(),
  killGraceMs: v.unknown(),
  setupTimeoutMs: v.unknown(),
  resourceLimits: v.unknown(),
  statistics: v.unknown(),
  trace: v.unknown(),
} satisfies Record<keyof PassedOn, v.GenericSchema>;

const schema = options({
  // Not checked here: what is wrong must not be shown.
  appKey: v.unknown(),
  appSecret: v.unknown(),
  baseUrl: v.unknown(),
  environment: v.optional(oneOf(['real', 'paper'])),
  tokenFile: v.optional(v.union([v.string(), v.instance(URL)], PATH)),
  tokenIntervalMs: v.optional(durationMs(0, MAX_TIMER_MS)),
  http: v.optional(http),
  ...passedOn,
});

/**
 * Check the options of a client and fill in the defaults.
 *
 * @param given what the user gave
 * @param env what is not given is looked for here
 * @throws InvalidOptionError for the first option that is unknown, out of range or of the wrong type; never with a secret
 */
export function resolveKisOptions(given: KisClientOptions | undefined, env: Environment): ResolvedKisOptions {
  const {
    appKey,
    appSecret,
    environment = 'real',
    baseUrl,
    tokenFile,
    tokenIntervalMs,
    http,
    ...passed
  } = parseOptions(schema, given);
  // Where the secrets go is not for a variable to say that is meant for other upstreams.
  const { http: { proxy } = {}, credentialsTimeoutMs: _, ...said } = readEnvironment(env);
  const engine = withDefaults(passed as PassedOn, environment, said);
  const connections = { ...(proxy === undefined ? {} : { proxy }), ...http } as KisHttpOptions;
  const intervalMs = tokenIntervalMs ?? DEFAULT_TOKEN_INTERVAL_MS;
  // The engine says what is wrong with another value.
  const timeoutMs = typeof engine.timeoutMs === 'number' ? engine.timeoutMs : DEFAULTS.timeoutMs;
  const keys = {
    appKey: secretOf('appKey', appKey, 'KIS_APP_KEY', env),
    appSecret: secretOf('appSecret', appSecret, 'KIS_APP_SECRET', env),
  };
  const base = baseUrl === undefined ? HOSTS[environment] : baseUrlOf(baseUrl);
  return {
    ...keys,
    environment,
    baseUrl: base,
    tokenFile: tokenFile === undefined ? undefined : resolveFile(tokenFile),
    tokenIntervalMs: intervalMs,
    timeoutMs,
    http: connections,
    engine: {
      ...engine,
      recovery: Array.isArray(engine.recovery) ? [...engine.recovery, ...KIS_RULES] : (engine.recovery ?? KIS_RULES),
      credentialsTimeoutMs: Math.min(MAX_TIMER_MS, TOKEN_TRIES * (timeoutMs + intervalMs + MOMENT_MS)),
      handler: KIS_HANDLER,
      http: {
        ...connections,
        baseUrl: base,
        headers: {
          ...connections.headers,
          'content-type': 'application/json; charset=utf-8',
          custtype: 'P',
          appkey: keys.appKey,
          appsecret: keys.appSecret,
        },
      },
    },
  };
}

/** What is given, over what the environment says, over the limit of KIS. A limit that is given is taken as it is. */
function withDefaults(given: PassedOn, environment: 'real' | 'paper', said: PartialOptions): EngineOptions {
  const rate: PartialOptions = given.rate === undefined ? { rate: DEFAULT_RATES[environment] } : {};
  return mergeOptions(mergeOptions(rate, said), given) as EngineOptions;
}

function secretOf(option: string, given: unknown, variable: string, env: Environment): string {
  const [name, value] = given === undefined ? [variable, env[variable] || undefined] : [option, given];
  if (typeof value === 'string' && SECRET.test(value)) return value;
  if (value === undefined) {
    throw new InvalidOptionError(option, undefined, `a string, or the environment variable ${variable}`);
  }
  const shown = typeof value === 'string' ? `a text of ${value.length} characters (not shown)` : `a ${typeof value}`;
  throw new InvalidOptionError(name, undefined, 'visible ASCII characters without spaces, at most 512', shown);
}

function baseUrlOf(given: unknown): string {
  if (typeof given === 'string' && URL.canParse(given)) {
    const { protocol, search, hash, username, password } = new URL(given);
    const isPlain = `${search}${hash}${username}${password}` === '';
    if (/^https?:$/.test(protocol) && isPlain) return given.endsWith('/') ? given : `${given}/`;
  }
  throw new InvalidOptionError('baseUrl', undefined, HTTP_URL, `a ${typeof given} (not shown)`);
}

function resolveFile(given: string | URL): string {
  let path: string;
  try {
    path = typeof given === 'string' ? given : fileURLToPath(given);
  } catch {
    throw invalidOption(['tokenFile'], given, PATH);
  }
  const absolute = resolve(path);
  const isFolder = statSync(absolute, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const hasFolder = statSync(dirname(absolute), { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (path === '' || isFolder || !hasFolder) throw invalidOption(['tokenFile'], path, PATH);
  return absolute;
}
