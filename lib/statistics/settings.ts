import type { ResolvedOptions } from '../resolve-options.ts';

/**
 * The options that may be shown. Named one by one, so that an option that is added some day stays hidden until somebody
 * has decided otherwise. Never here: anything that was given to a handler, credentials, headers, hosts, certificates.
 */
const SHOWN = [
  'threads',
  'concurrency',
  'rate',
  'timeoutMs',
  'retry',
  'onRateLimit',
  'hints',
  'circuit',
  'locale',
  'credentialsTimeoutMs',
  'cancelGraceMs',
  'killGraceMs',
  'setupTimeoutMs',
  'resourceLimits',
] as const satisfies readonly (keyof ResolvedOptions)[];

const SHOWN_OF_HTTP = [
  'connections',
  'connectTimeoutMs',
  'keepAliveTimeoutMs',
  'maxBodyBytes',
  'maxRedirects',
  'responseType',
] as const satisfies readonly (keyof ResolvedOptions['http'])[];

/** The options of an engine as statistics show them: plain data without anything that may be secret. */
export function settingsOf(options: ResolvedOptions): Readonly<Record<string, unknown>> {
  const shown: Record<string, unknown> = {
    handler: options.handler.builtin ?? withoutQuery(options.handler.url),
    http: pick(options.http, SHOWN_OF_HTTP),
    ...pick(options, SHOWN),
    recovery: options.recovery.map(({ type }) => type),
  };
  return withoutInfinity(shown) as Record<string, unknown>;
}

function pick<T, K extends keyof T>(from: T, keys: readonly K[]): Partial<Pick<T, K>> {
  const picked: Partial<Pick<T, K>> = {};
  for (const key of keys) if (from[key] !== undefined) picked[key] = from[key];
  return picked;
}

/** Of a `data:` URL nothing but its kind. */
function withoutQuery(url: string): string {
  return url.startsWith('data:') ? 'data:' : url.replace(/[?#].*$/s, '');
}

/** JSON has no infinite numbers: `null` would be mistaken for "not set". */
function withoutInfinity(value: unknown): unknown {
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (Array.isArray(value)) return value.map(withoutInfinity);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, withoutInfinity(field)]));
}
