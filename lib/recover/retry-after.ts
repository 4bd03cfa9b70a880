const IMF_FIXDATE = /^[A-Z][a-z]{2}, (\d{2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT$/;
const RFC850_DATE = /^[A-Z][a-z]{5,8}, (\d{2})-([A-Z][a-z]{2})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) GMT$/;
const ASCTIME_DATE = /^[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/**
 * How long a `Retry-After` field asks to stay away, in whole milliseconds: digits are seconds, otherwise it is one of the
 * three date forms of HTTP.
 *
 * @param nowMs the time that a date is compared with, in milliseconds since 1970
 * @returns 0 for "now" and for a time that has passed: no hint; `undefined` for what is malformed
 */
export function parseRetryAfter(value: string, nowMs: number): number | undefined {
  const text = value.trim();
  // More digits than a number can hold are still a request to stay away, not nonsense.
  if (/^\d+$/.test(text)) return Math.min(Number(text) * 1000, Number.MAX_SAFE_INTEGER);
  const atMs = parseHttpDate(text, nowMs);
  return atMs === undefined ? undefined : Math.max(0, Math.ceil(atMs - nowMs));
}

/**
 * A date in one of the forms of RFC 9110 (5.6.7), in milliseconds since 1970, or `undefined`.
 * `Date.parse` will not do: it takes "1.5" and "-5" for dates and reads the asctime form as local time.
 *
 * @param nowMs decides the century of the two-digit years in the RFC 850 form
 */
export function parseHttpDate(text: string, nowMs: number): number | undefined {
  let match = IMF_FIXDATE.exec(text);
  if (match !== null) return utc(Number(match[3]), match[2], match[1], match[4], match[5], match[6]);
  match = ASCTIME_DATE.exec(text);
  if (match !== null) return utc(Number(match[6]), match[1], match[2], match[3], match[4], match[5]);
  match = RFC850_DATE.exec(text);
  if (match === null) return undefined;
  const currentYear = new Date(nowMs).getUTCFullYear();
  let year = currentYear - (currentYear % 100) + Number(match[3]);
  // The standard's rule: a year that seems more than 50 years ahead is the last one with these digits.
  if (year > currentYear + 50) year -= 100;
  return utc(year, match[2], match[1], match[4], match[5], match[6]);
}

type Field = string | undefined;

function utc(year: number, month: Field, day: Field, hour: Field, minute: Field, second: Field): number | undefined {
  const monthIndex = MONTHS.indexOf(month ?? '');
  if (monthIndex === -1 || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 60) return undefined;
  const midnightMs = Date.UTC(year, monthIndex, Number(day));
  // Date.UTC rolls the 30th of February over into March.
  if (new Date(midnightMs).getUTCDate() !== Number(day)) return undefined;
  return midnightMs + ((Number(hour) * 60 + Number(minute)) * 60 + Number(second)) * 1000;
}
