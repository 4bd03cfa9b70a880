import { parseHttpDate } from './retry-after.ts';

/** Nothing that names a time is longer. */
const MAX_CHARS = 64;

/**
 * What a bare number means is told by its size. From the first bound on, seconds would be more than three years: it is a
 * moment in seconds since 1970 (after March 1973). From the second on, it is one in milliseconds. From the third on, it
 * is neither: microseconds and nanoseconds are not guessed at.
 */
const EPOCH_SECONDS_FROM = 1e8;
const EPOCH_MS_FROM = 1e11;
const NONSENSE_FROM = 1e14;

const NUMBER = /^\d+(?:\.\d+)?$/;
const DURATION_PART = /(\d+(?:\.\d+)?)(d|h|ms|m|s|us|µs|ns)/y;
const MS_PER_UNIT: ReadonlyMap<string | undefined, number> = new Map([
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
  ['ms', 1],
  ['us', 1e-3],
  ['µs', 1e-3],
  ['ns', 1e-6],
]);
const ISO_DATE = /^(\d{4}-\d\d-(\d\d))[Tt ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(?:([Zz])|([+-]\d\d):?(\d\d))?$/;

/**
 * How long it is until the time that a `-Reset` field names, in whole milliseconds, rounded up. It may be
 *
 * - a number: below 10^8 seconds from now, below 10^11 seconds since 1970, below 10^14 milliseconds since 1970; seconds
 *   may have a fraction
 * - a duration as Go writes it: `6m0s`, `1h2m3.5s`, `120ms`
 * - a date of RFC 3339 (without a zone it is UTC) or of HTTP
 *
 * @param nowMs the time that a moment is compared with, in milliseconds since 1970
 * @returns 0 for "now" and for a time that has passed: no hint; `undefined` for what is malformed
 */
export function parseResetTime(value: string, nowMs: number): number | undefined {
  if (value.length > MAX_CHARS) return undefined;
  const text = value.trim();
  const delayMs = NUMBER.test(text)
    ? delayOfNumber(Number(text), nowMs)
    : (durationMs(text) ?? delayOfDate(text, nowMs));
  return delayMs === undefined ? undefined : wholeMs(delayMs);
}

function delayOfNumber(number: number, nowMs: number): number | undefined {
  if (number < EPOCH_SECONDS_FROM) return number * 1000;
  if (number < EPOCH_MS_FROM) return number * 1000 - nowMs;
  return number < NONSENSE_FROM ? number - nowMs : undefined;
}

function durationMs(text: string): number | undefined {
  let sumMs = 0;
  DURATION_PART.lastIndex = 0;
  do {
    const part = DURATION_PART.exec(text);
    if (part === null) return undefined;
    sumMs += Number(part[1]) * (MS_PER_UNIT.get(part[2]) ?? 0);
  } while (DURATION_PART.lastIndex < text.length);
  return sumMs;
}

function delayOfDate(text: string, nowMs: number): number | undefined {
  const atMs = parseIsoDate(text) ?? parseHttpDate(text, nowMs);
  return atMs === undefined ? undefined : atMs - nowMs;
}

function parseIsoDate(text: string): number | undefined {
  const match = ISO_DATE.exec(text);
  if (match === null) return undefined;
  const [, date, day, time, , hours, minutes] = match;
  // Date.parse takes a time without a zone for a local one, and rolls the 30th of February over into March.
  const atMs = Date.parse(`${date}T${time}${hours === undefined ? 'Z' : `${hours}:${minutes}`}`);
  const isRealDay = new Date(Date.parse(`${date}T00:00Z`)).getUTCDate() === Number(day);
  return Number.isNaN(atMs) || !isRealDay ? undefined : atMs;
}

/** Rounded up, but not for what binary fractions add: 1.1 seconds are 1100 ms. */
function wholeMs(ms: number): number {
  return Math.min(Math.max(0, Math.ceil(Math.round(ms * 1e3) / 1e3)), Number.MAX_SAFE_INTEGER);
}
