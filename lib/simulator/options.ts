import { isNumberWithin, OptionReader } from './check.ts';
import { MAX_TIMER_MS, type ResolvedFault, resolveFaults } from './fault-options.ts';
import { ALGORITHMS, type Algorithm, type LimiterSettings } from './limiters.ts';
import type { TimeRange } from './random.ts';
import { REFUSALS, type Refusal, type SimulatorOptions } from './types.ts';

export interface ResolvedKis {
  readonly checkHeaders: boolean;
  readonly appKey: string | undefined;
  readonly appSecret: string | undefined;
  readonly tokenIntervalMs: number;
  readonly tokenLifetimeMs: number;
  readonly tokenReuseMs: number;
  readonly expireTokensAt: number | undefined;
  readonly countTokenRequests: boolean;
  readonly multiPrice: boolean;
  readonly unknownSymbols: readonly string[];
}

/** Every option, checked and with its default: plain data that is cloned to the server's thread. */
export interface ResolvedOptions {
  readonly limiter: LimiterSettings;
  readonly windowNs: number;
  readonly serviceTime: TimeRange;
  readonly refusalTime: TimeRange;
  readonly refusal: Refusal;
  readonly faults: readonly ResolvedFault[];
  readonly seed: number;
  readonly kis: ResolvedKis | undefined;
  readonly port: number;
  readonly keepAliveMs: number;
  readonly maxArrivals: number;
}

const MAX_LIMIT = 1_000_000;
const MAX_WINDOW_MS = 24 * 3_600_000;
const NS_PER_MS = 1_000_000;

const KNOWN = [
  'limit',
  'windowMs',
  'algorithm',
  'burst',
  'fixedPhaseMs',
  'countRefused',
  'serviceTimeMs',
  'refusalTimeMs',
  'refusal',
  'faults',
  'seed',
  'kis',
  'port',
  'keepAliveMs',
  'maxArrivals',
];
const KNOWN_KIS = [
  'checkHeaders',
  'appKey',
  'appSecret',
  'tokenIntervalMs',
  'tokenLifetimeMs',
  'tokenReuseMs',
  'expireTokensAt',
  'countTokenRequests',
  'multiPrice',
  'unknownSymbols',
];

/**
 * Check the options and fill in the defaults.
 * @throws InvalidOptionError
 */
export function resolveOptions(options: SimulatorOptions = {}): ResolvedOptions {
  const reader = new OptionReader(options, 'options', KNOWN);
  const windowNs = Math.round(reader.number('windowMs', 1000, 1, MAX_WINDOW_MS) * NS_PER_MS);
  return {
    limiter: resolveLimiter(reader, windowNs),
    windowNs,
    serviceTime: resolveTime(reader, 'serviceTimeMs', { minMs: 5, maxMs: 30 }),
    refusalTime: resolveTime(reader, 'refusalTimeMs', { minMs: 0, maxMs: 0 }),
    refusal: reader.oneOf('refusal', REFUSALS, 'egw-500'),
    faults: resolveFaults(options.faults),
    seed: reader.integer('seed', 1, 0, 2 ** 32 - 1),
    kis: resolveKis(reader),
    port: reader.integer('port', 0, 0, 65_535),
    keepAliveMs: reader.integer('keepAliveMs', 60_000, 1, MAX_TIMER_MS),
    maxArrivals: reader.integer('maxArrivals', 500_000, 1, 10_000_000),
  };
}

/**
 * Check a limit on its own.
 * @throws InvalidOptionError
 */
export function resolveLimit(limit: number): number {
  return new OptionReader({ limit }, 'options', ['limit']).integer('limit', 20, 1, MAX_LIMIT);
}

function resolveLimiter(reader: OptionReader, windowNs: number): LimiterSettings {
  const algorithm: Algorithm = reader.oneOf('algorithm', ALGORITHMS, 'sliding-log');
  const limit = reader.integer('limit', 20, 1, MAX_LIMIT);
  const counts = algorithm === 'fixed' || algorithm === 'sliding-log' || algorithm === 'sliding-counter';
  if (reader.has('burst') && algorithm !== 'token-bucket' && algorithm !== 'gcra') {
    reader.fail('burst', 'only with the algorithms token-bucket and gcra');
  }
  const countRefused = reader.boolean('countRefused', false);
  if (countRefused && !counts) {
    reader.fail('countRefused', 'only with the algorithms fixed, sliding-log and sliding-counter');
  }
  return {
    algorithm,
    limit,
    windowNs,
    burst:
      algorithm === 'gcra' ? reader.integer('burst', 1, 0, MAX_LIMIT) : reader.integer('burst', limit, 1, MAX_LIMIT),
    phaseNs: Math.round(reader.number('fixedPhaseMs', 0, -MAX_WINDOW_MS, MAX_WINDOW_MS) * NS_PER_MS),
    countRefused,
  };
}

function resolveTime(reader: OptionReader, key: string, fallback: TimeRange): TimeRange {
  const value = reader.get(key);
  if (value === undefined) return fallback;
  const bounds: unknown[] = Array.isArray(value) ? value : [value, value];
  const [minMs, maxMs] = bounds;
  if (bounds.length === 2 && isNumberWithin(minMs, 0, MAX_TIMER_MS) && isNumberWithin(maxMs, minMs, MAX_TIMER_MS)) {
    return { minMs, maxMs };
  }
  return reader.fail(key, `a number of milliseconds from 0 to ${MAX_TIMER_MS}, or [min, max]`);
}

function resolveKis(reader: OptionReader): ResolvedKis | undefined {
  const value = reader.get('kis');
  if (value === false) return undefined;
  if (value !== undefined && typeof value !== 'boolean' && typeof value !== 'object') {
    return reader.fail('kis', 'true, false or an object');
  }
  const kis = new OptionReader(typeof value === 'object' ? value : {}, 'kis', KNOWN_KIS);
  return {
    checkHeaders: kis.boolean('checkHeaders', true),
    appKey: kis.secret('appKey'),
    appSecret: kis.secret('appSecret'),
    tokenIntervalMs: kis.number('tokenIntervalMs', 60_000, 0, MAX_WINDOW_MS),
    tokenLifetimeMs: kis.number('tokenLifetimeMs', 24 * 3_600_000, 0, MAX_TIMER_MS),
    tokenReuseMs: kis.number('tokenReuseMs', 6 * 3_600_000, 0, MAX_TIMER_MS),
    expireTokensAt: kis.has('expireTokensAt')
      ? kis.integer('expireTokensAt', 1, 1, Number.MAX_SAFE_INTEGER)
      : undefined,
    countTokenRequests: kis.boolean('countTokenRequests', false),
    multiPrice: kis.boolean('multiPrice', true),
    unknownSymbols: kis.strings('unknownSymbols') ?? ['000000', 'UNKNOWN'],
  };
}
