import * as v from 'valibot';
import { groupEntries } from './batch/group-options.ts';
import { describeValue, InvalidOptionError } from './errors.ts';
import { recoveryRulesSchema } from './recover/rule-schema.ts';
import {
  durationMs,
  flag,
  integer,
  listOrOne,
  number,
  oneOf,
  options,
  plainObject,
  positive,
  text,
} from './schema-parts.ts';
import { statisticsSchema, toPath } from './statistics/schema.ts';

/** Node's timers fire at once for anything longer (2^31 - 1 ms, about 24.8 days). */
const MAX_TIMER_MS = 2_147_483_647;
/** Times that no timer runs for. A bound keeps them exact in nanoseconds. */
const MAX_SPAN_MS = 31 * 24 * 3_600_000;
/** The most threads of one engine. */
export const MAX_THREADS = 256;
/** The most items that one engine has in work. */
export const MAX_CONCURRENCY = 65_536;

const NOT_SHOWN = new Set(['headers', 'proxy', 'tls', 'baseUrl']);
const HEADER_NAME = /^[\w!#$%&'*+\-.^`|~]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

type Key = string | number;

const rateLimit = options(
  {
    limit: integer(1, 1_000_000_000, ' (for less than one per window make the window longer)'),
    windowMs: durationMs(0.001, MAX_SPAN_MS),
    safetyMargin: v.optional(positive(1, 'a number more than 0 and at most 1')),
    arrivalWithinMs: v.optional(
      v.lazy((input) =>
        input === Number.POSITIVE_INFINITY
          ? v.literal(Number.POSITIVE_INFINITY as number)
          : number(0, MAX_SPAN_MS, `a number of milliseconds from 0 to ${MAX_SPAN_MS}, or Infinity`),
      ),
    ),
    spacing: v.optional(
      v.lazy((input) =>
        input === 'none' || input === 'even'
          ? v.picklist(['none', 'even'] as const)
          : number(0, MAX_SPAN_MS, `"none", "even", or a number of milliseconds from 0 to ${MAX_SPAN_MS}`),
      ),
    ),
    straggleMs: v.optional(durationMs(0, MAX_SPAN_MS)),
    initial: v.optional(oneOf(['full', 'empty'])),
  },
  'a rate limit { limit, windowMs } or a list of them',
);

const retry = options({
  scope: v.optional(oneOf(['unfinished', 'batch'])),
  maxAttempts: v.optional(integer(1, 1_000_000)),
  maxRefusals: v.optional(integer(1, 1_000_000)),
  initialMs: v.optional(durationMs(0, MAX_TIMER_MS)),
  factor: v.optional(number(1, 100)),
  maxMs: v.optional(durationMs(0, MAX_TIMER_MS)),
  jitter: v.optional(number(0, 1)),
  maxRetryAfterMs: v.optional(durationMs(0, MAX_TIMER_MS)),
  adaptive: v.optional(flag()),
});

const circuit = options(
  {
    failureThreshold: v.optional(integer(1, 1_000_000)),
    failureRate: v.optional(positive(1, 'a number more than 0 and at most 1')),
    minimumCalls: v.optional(integer(1, 1_000_000)),
    windowMs: v.optional(durationMs(1, MAX_TIMER_MS)),
    countRateLimits: v.optional(flag()),
    successThreshold: v.optional(integer(1, 1_000_000)),
    halfOpenProbes: v.optional(integer(1, MAX_CONCURRENCY)),
    openMs: v.optional(durationMs(1, MAX_TIMER_MS)),
    openFactor: v.optional(number(1, 100)),
    maxOpenMs: v.optional(durationMs(1, MAX_TIMER_MS)),
    whenOpen: v.optional(oneOf(['wait', 'fail'])),
  },
  'false or a plain object',
);

const headerValue = v.pipe(
  v.string('header values that are strings or lists of strings'),
  v.regex(HEADER_VALUE, 'header values without line breaks or other control characters, in Latin-1'),
);
const headers = v.pipe(
  plainObject('a plain object of header names and values'),
  v.record(
    v.pipe(v.string(), v.regex(HEADER_NAME, 'header names as in RFC 9110')),
    v.lazy((input) => (Array.isArray(input) ? v.array(headerValue) : headerValue)),
  ),
);

const PEM = 'PEM text or bytes';
const pem = v.lazy((input) => (input instanceof Uint8Array ? v.instance(Uint8Array, PEM) : text(PEM)));

const tls = options({
  ca: v.optional(listOrOne(pem, 'a certificate or a list of them')),
  cert: v.optional(pem),
  key: v.optional(pem),
  passphrase: v.optional(v.string('a string')),
  servername: v.optional(v.string('a host name')),
  rejectUnauthorized: v.optional(flag()),
});

const httpUrl = (allowed: string) =>
  v.pipe(
    v.string(allowed),
    v.check((input) => URL.canParse(input) && /^https?:$/.test(new URL(input).protocol), allowed),
  );

const http = options({
  baseUrl: v.optional(httpUrl('an absolute http:// or https:// URL')),
  headers: v.optional(headers),
  proxy: v.optional(httpUrl('a URL such as http://[user:password@]host:port')),
  tls: v.optional(tls),
  connections: v.optional(integer(1, MAX_CONCURRENCY)),
  connectTimeoutMs: v.optional(durationMs(1, MAX_TIMER_MS)),
  keepAliveTimeoutMs: v.optional(durationMs(1, MAX_TIMER_MS)),
  maxBodyBytes: v.optional(integer(1, Number.MAX_SAFE_INTEGER)),
  maxRedirects: v.optional(integer(0, 100)),
  responseType: v.optional(oneOf(['auto', 'json', 'text', 'bytes'])),
  dispatcher: v.optional(v.string('a file URL, a path or a package name of a module')),
});

const filePath = v.pipe(
  v.custom<string | URL>((input) => Boolean(toPath(input)), 'the path or the file: URL of a file that can be written'),
  v.transform((input) => toPath(input) ?? ''),
);

const memoryMb = () => v.optional(positive(Number.MAX_SAFE_INTEGER, 'a number of megabytes more than 0'));

/** The shape and the ranges of `EngineOptions`. Defaults are not its business. */
export const engineOptionsSchema = options({
  handler: v.unknown(),
  handlerData: v.unknown(),
  http: v.optional(http),
  threads: v.optional(integer(1, MAX_THREADS)),
  concurrency: v.optional(integer(1, MAX_CONCURRENCY)),
  rate: v.optional(listOrOne(rateLimit, 'a list of at least one rate limit; leave "rate" out for no limit')),
  timeoutMs: v.optional(
    positive(MAX_TIMER_MS, `a number of milliseconds more than 0 and at most ${MAX_TIMER_MS} (about 24.8 days)`),
  ),
  retry: v.optional(retry),
  onRateLimit: v.optional(oneOf(['cancel', 'drain'])),
  hints: v.optional(oneOf(['normal', 'strict'])),
  circuit: v.optional(v.lazy((input) => (input === false ? v.literal(false) : circuit))),
  recovery: v.optional(recoveryRulesSchema),
  locale: v.optional(oneOf(['en', 'ko'])),
  credentials: v.unknown(),
  onRefreshCredentials: v.optional(v.function_('a function')),
  credentialsTimeoutMs: v.optional(
    positive(MAX_TIMER_MS, `a number of milliseconds more than 0 and at most ${MAX_TIMER_MS} (about 24.8 days)`),
  ),
  cancelGraceMs: v.optional(durationMs(0, MAX_TIMER_MS)),
  killGraceMs: v.optional(durationMs(0, MAX_TIMER_MS)),
  setupTimeoutMs: v.optional(
    positive(MAX_TIMER_MS, `a number of milliseconds more than 0 and at most ${MAX_TIMER_MS} (about 24.8 days)`),
  ),
  statistics: v.optional(statisticsSchema),
  trace: v.optional(filePath),
  resourceLimits: v.optional(
    options({
      maxOldGenerationSizeMb: memoryMb(),
      maxYoungGenerationSizeMb: memoryMb(),
      codeRangeSizeMb: memoryMb(),
      stackSizeMb: memoryMb(),
    }),
  ),
});

/** The shape of `RunOptions`. */
export const runOptionsSchema = options({
  signal: v.optional(v.custom<AbortSignal>(isAbortSignal, 'an AbortSignal')),
  onProgress: v.optional(v.function_('a function')),
  progressInterval: v.optional(integer(1, 1_000_000_000)),
  ...groupEntries,
  idempotent: v.optional(flag()),
});

/** The shape of `CloseOptions`. */
export const closeOptionsSchema = options({ mode: v.optional(oneOf(['drain', 'abort'])) });

/** By shape, not by class: signals of another realm or of a library work as well. */
function isAbortSignal(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    'aborted' in value &&
    typeof value.aborted === 'boolean' &&
    'addEventListener' in value &&
    typeof value.addEventListener === 'function'
  );
}

/**
 * Check options against a schema.
 * @throws InvalidOptionError for the first option that does not fit
 */
export function parseOptions<S extends v.GenericSchema>(schema: S, given: unknown): v.InferOutput<S> {
  const result = tryParse(schema, given === undefined ? {} : given);
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = (issue.path ?? []).map((step) => step.key as Key);
  const unknownKey = issue.type === 'strict_object';
  if (unknownKey) throw new InvalidOptionError(pathText(path), undefined, issue.message, 'an unknown option');
  throw invalidOption(path, issue.input, issue.message);
}

function tryParse<S extends v.GenericSchema>(schema: S, given: unknown): v.SafeParseResult<S> {
  try {
    return v.safeParse(schema, given, { abortEarly: true });
  } catch {
    // A proxy that lets nobody look at it. What it throws is not ours to show.
    throw new InvalidOptionError('options', undefined, 'values that can be read', 'one that throws when it is read');
  }
}

/** The error for one option: says what was given, unless that may hold a secret. */
export function invalidOption(path: readonly Key[], value: unknown, allowed: string): InvalidOptionError {
  const hidden = mayHoldSecret(path) && value !== undefined && value !== null;
  return hidden
    ? new InvalidOptionError(pathText(path), undefined, allowed, `${kindOf(value)} (not shown)`)
    : new InvalidOptionError(pathText(path), value, allowed);
}

/** A whole object of options counts too: the secrets are somewhere in it. */
function mayHoldSecret([first, second]: readonly Key[]): boolean {
  if (first === undefined || first === 'handlerData' || first === 'credentials') return true;
  return first === 'http' && (second === undefined || NOT_SHOWN.has(String(second)));
}

/** What kind of value this is, without anything of the value itself. */
export function kindOf(value: unknown): string {
  return typeof value === 'object' || typeof value === 'function' ? describeValue(value) : `a ${typeof value}`;
}

/** `rate[1].limit`; of a header only that it is one: a name in the wrong place may be the secret. */
function pathText(path: readonly Key[]): string {
  const shown = path[0] === 'http' && path[1] === 'headers' ? path.slice(0, 2) : path;
  const joined = shown.map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`)).join('');
  return joined === '' ? 'options' : joined.replace(/^\./, '');
}
