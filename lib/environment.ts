import { InvalidOptionError } from './errors.ts';
import type { EngineOptions, RateLimit } from './options.ts';
import { isPlainObject } from './schema-parts.ts';

/** Variables, such as `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Options of which each part may be incomplete, to be merged with others. */
export type PartialOptions = Omit<EngineOptions, 'rate'> & {
  readonly rate?: Partial<RateLimit> | readonly RateLimit[] | undefined;
};

/** How the text of a variable becomes the value of an option. */
interface Format {
  /** What is allowed, in words. */
  readonly allowed: string;
  /** The value; undefined if the text is none that is allowed. */
  readonly parse: (text: string) => unknown;
  /** It may hold a password: no error shows it. */
  readonly isSecret?: true;
}

/** A variable of the environment and the option that it sets. */
export interface EnvironmentVariable extends Format {
  readonly name: string;
  /** Path of the option, such as `retry.maxMs`. */
  readonly option: string;
}

const MAX_TIMER_MS = 2_147_483_647;
const MAX_SPAN_MS = 31 * 24 * 3_600_000;
/** Decimal, with a fraction and an exponent at most. `Number` also takes hexadecimal and the empty text. */
const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
/** The model counts calls per second. */
const DEFAULT_WINDOW_MS = 1000;

const within = (value: number, min: number, max: number): number | undefined =>
  value >= min && value <= max ? value : undefined;

const toNumber = (text: string): number => (DECIMAL.test(text) ? Number(text) : Number.NaN);

const integer = (min: number, max: number): Format => ({
  allowed: `an integer from ${min} to ${max}`,
  parse: (text) => (Number.isSafeInteger(toNumber(text)) ? within(toNumber(text), min, max) : undefined),
});

const number = (min: number, max: number, allowed = `a number from ${min} to ${max}`): Format => ({
  allowed,
  parse: (text) => within(toNumber(text), min, max),
});

const positive = (max: number, allowed: string): Format => number(Number.MIN_VALUE, max, allowed);

const milliseconds = (min: number, max: number): Format =>
  number(min, max, `a number of milliseconds from ${min} to ${max}`);

const timeoutMs = positive(MAX_TIMER_MS, `a number of milliseconds more than 0 and at most ${MAX_TIMER_MS}`);

const seconds = (minMs: number, maxMs: number): Format => ({
  allowed: `a number of seconds from ${minMs / 1e3} to ${maxMs / 1e3}`,
  // Rounded to nanoseconds: 0.07 * 1000 is 70.00000000000001.
  parse: (text) => within(Number((toNumber(text) * 1e3).toFixed(6)), minMs, maxMs),
});

const choice = (values: Readonly<Record<string, unknown>>): Format => ({
  allowed: Object.keys(values)
    .map((value) => `"${value}"`)
    .join(' or '),
  parse: (text) => (Object.hasOwn(values, text) ? values[text] : undefined),
});

const either = (words: Format, other: Format): Format => ({
  allowed: `${words.allowed}, or ${other.allowed}`,
  parse: (text) => words.parse(text) ?? other.parse(text),
});

const words = (...values: readonly string[]): Format =>
  choice(Object.fromEntries(values.map((value) => [value, value])));

const flag = choice({ true: true, false: false });

const url = (allowed: string): Format => ({
  allowed,
  parse: (text) => (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) ? text : undefined),
  isSecret: true,
});

const variable = (name: string, option: string, format: Format): EnvironmentVariable => ({ name, option, ...format });

/**
 * All variables that are read. First those of the Python model, whose times are seconds; the others are named after
 * their option.
 */
export const ENVIRONMENT: readonly EnvironmentVariable[] = [
  variable('RATE_LIMIT_MAX_CALLS', 'rate.limit', integer(1, 1_000_000_000)),
  variable('RATE_LIMIT_SAFETY_MARGIN', 'rate.safetyMargin', positive(1, 'a number more than 0 and at most 1')),
  variable('BACKOFF_BASE_DELAY', 'retry.initialMs', seconds(0, MAX_TIMER_MS)),
  variable('BACKOFF_MAX_DELAY', 'retry.maxMs', seconds(0, MAX_TIMER_MS)),
  variable('BACKOFF_EXPONENTIAL_BASE', 'retry.factor', number(1, 100)),
  variable('BACKOFF_JITTER_FACTOR', 'retry.jitter', number(0, 1)),
  variable('CIRCUIT_FAILURE_THRESHOLD', 'circuit.failureThreshold', integer(1, 1_000_000)),
  variable('CIRCUIT_SUCCESS_THRESHOLD', 'circuit.successThreshold', integer(1, 1_000_000)),
  variable('CIRCUIT_TIMEOUT', 'circuit.openMs', seconds(1, MAX_TIMER_MS)),
  variable('SLUICEGATE_THREADS', 'threads', integer(1, 256)),
  variable('SLUICEGATE_CONCURRENCY', 'concurrency', integer(1, 65_536)),
  variable('SLUICEGATE_RATE_WINDOW_MS', 'rate.windowMs', milliseconds(0.001, MAX_SPAN_MS)),
  variable(
    'SLUICEGATE_RATE_ARRIVAL_WITHIN_MS',
    'rate.arrivalWithinMs',
    either(choice({ Infinity: Number.POSITIVE_INFINITY }), milliseconds(0, MAX_SPAN_MS)),
  ),
  variable('SLUICEGATE_RATE_SPACING', 'rate.spacing', either(words('none', 'even'), milliseconds(0, MAX_SPAN_MS))),
  variable('SLUICEGATE_RATE_STRAGGLE_MS', 'rate.straggleMs', milliseconds(0, MAX_SPAN_MS)),
  variable('SLUICEGATE_RATE_INITIAL', 'rate.initial', words('full', 'empty')),
  variable('SLUICEGATE_TIMEOUT_MS', 'timeoutMs', timeoutMs),
  variable('SLUICEGATE_RETRY_SCOPE', 'retry.scope', words('unfinished', 'batch')),
  variable('SLUICEGATE_RETRY_MAX_ATTEMPTS', 'retry.maxAttempts', integer(1, 1_000_000)),
  variable('SLUICEGATE_RETRY_MAX_REFUSALS', 'retry.maxRefusals', integer(1, 1_000_000)),
  variable('SLUICEGATE_RETRY_MAX_RETRY_AFTER_MS', 'retry.maxRetryAfterMs', milliseconds(0, MAX_TIMER_MS)),
  variable('SLUICEGATE_RETRY_ADAPTIVE', 'retry.adaptive', flag),
  variable('SLUICEGATE_ON_RATE_LIMIT', 'onRateLimit', words('cancel', 'drain')),
  variable('SLUICEGATE_HINTS', 'hints', words('normal', 'strict')),
  // Behind the fields of the circuit breaker: without one they mean nothing.
  variable('SLUICEGATE_CIRCUIT', 'circuit', choice({ off: false })),
  variable('SLUICEGATE_LOCALE', 'locale', words('en', 'ko')),
  variable('SLUICEGATE_CREDENTIALS_TIMEOUT_MS', 'credentialsTimeoutMs', timeoutMs),
  variable('SLUICEGATE_CANCEL_GRACE_MS', 'cancelGraceMs', milliseconds(0, MAX_TIMER_MS)),
  variable('SLUICEGATE_KILL_GRACE_MS', 'killGraceMs', milliseconds(0, MAX_TIMER_MS)),
  variable('SLUICEGATE_SETUP_TIMEOUT_MS', 'setupTimeoutMs', timeoutMs),
  variable('SLUICEGATE_HTTP_BASE_URL', 'http.baseUrl', url('an absolute http:// or https:// URL')),
  variable('SLUICEGATE_HTTP_PROXY', 'http.proxy', url('a URL such as http://[user:password@]host:port')),
];

/**
 * Options from the environment, overruled by arguments: `createEngine(optionsFromEnvironment({ timeoutMs: 5000 }))`.
 * Only what is set appears in the result, so that it can also be spread under other options. An empty variable counts as
 * not set, and an override that is `undefined` as not given. `rate`, `retry`, `circuit` and `http` are merged field by
 * field; an override that is no plain object (a list of limits, `false`) replaces the whole.
 *
 * @param overrides options that go before the environment; `createEngine` checks them
 * @param env Default `process.env`.
 * @throws InvalidOptionError whose `option` is the name of the first variable with a value that is not allowed
 */
export function optionsFromEnvironment(overrides: EngineOptions = {}, env: Environment = process.env): EngineOptions {
  const said = readEnvironment(env);
  const rate = said.rate as Partial<RateLimit> | undefined;
  if (rate !== undefined && rate.limit === undefined && overrides.rate === undefined) {
    const lonely = ENVIRONMENT.find(({ name, option }) => option.startsWith('rate.') && isSet(env[name]));
    const allowed = 'only together with "RATE_LIMIT_MAX_CALLS" or the argument "rate"';
    throw new InvalidOptionError(lonely?.name ?? 'RATE_LIMIT_MAX_CALLS', env[lonely?.name ?? ''], allowed);
  }
  const whole = rate?.limit === undefined ? said : { ...said, rate: { windowMs: DEFAULT_WINDOW_MS, ...rate } };
  return mergeOptions(whole, overrides) as EngineOptions;
}

/**
 * What the environment says, and nothing else. It may say a part only, such as a safety margin for a limit that is given
 * elsewhere.
 *
 * @throws InvalidOptionError whose `option` is the name of the first variable with a value that is not allowed
 */
export function readEnvironment(env: Environment): PartialOptions {
  const found: Record<string, unknown> = {};
  for (const variable of ENVIRONMENT) {
    const text = env[variable.name]?.trim();
    if (!isSet(text)) continue;
    const value = variable.parse(text);
    if (value === undefined) throw refused(variable, text);
    put(found, variable.option, value);
  }
  const options: PartialOptions = found;
  const { initialMs = 0, maxMs = Number.POSITIVE_INFINITY } = options.retry ?? {};
  if (maxMs < initialMs) {
    const allowed = `at least "BACKOFF_BASE_DELAY", which is ${initialMs / 1e3} s`;
    throw new InvalidOptionError('BACKOFF_MAX_DELAY', env.BACKOFF_MAX_DELAY, allowed);
  }
  return options;
}

/** Options of both; where both say something, those of `over` hold. Parts that are plain objects in both are merged. */
export function mergeOptions(under: PartialOptions, over: PartialOptions): PartialOptions {
  const merged: Record<string, unknown> = { ...under };
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue;
    const below = merged[key];
    merged[key] = MERGED_PARTS.has(key) && isPlainObject(below) && isPlainObject(value) ? fill(value, below) : value;
  }
  return merged;
}

const MERGED_PARTS: ReadonlySet<string> = new Set([
  'rate',
  'retry',
  'circuit',
  'http',
] satisfies (keyof EngineOptions)[]);

/** Fields that are undefined were left out: they hide nothing. */
function fill(value: Record<string, unknown>, below: Record<string, unknown>): Record<string, unknown> {
  const given = Object.entries(value).filter(([key, field]) => field !== undefined || !Object.hasOwn(below, key));
  return { ...below, ...Object.fromEntries(given) };
}

function isSet(text: string | undefined): text is string {
  return text !== undefined && text.trim() !== '';
}

function put(options: Record<string, unknown>, path: string, value: unknown): void {
  const [first = '', second] = path.split('.');
  if (second === undefined) {
    options[first] = value;
    return;
  }
  const part = options[first];
  options[first] = { ...(isPlainObject(part) ? part : {}), [second]: value };
}

function refused({ name, allowed, isSecret }: EnvironmentVariable, text: string): InvalidOptionError {
  if (isSecret) return new InvalidOptionError(name, undefined, allowed, 'a value (not shown)');
  return new InvalidOptionError(name, text, allowed);
}
