/** What a field says, told by its name. */
export interface RateField {
  /** Which quota it is about: fields with the same kind belong together. Empty for the only one. */
  readonly kind: string;
  /** What is left of it; when it is whole again; the same as a delay, which needs no clock. */
  readonly says: 'remaining' | 'resetMs' | 'resetAfterMs';
}

/** Before and behind the word stands what quota it is: `x-ratelimit-remaining-tokens`, `acme-ratelimit-daily-reset`. */
const PATTERN = /^(?:(.+)-)?rate-?limit-(.+)$/;

/** An upstream sends the same few names with every answer. More than these are not remembered. */
const MAX_REMEMBERED = 256;
const MAX_REMEMBERED_CHARS = 128;
const remembered = new Map<string, RateField | undefined>();

/**
 * What a field of the pattern `[X-|vendor-]RateLimit-[kind-]Remaining[-kind]` says, also with `Rate-Limit`, and with
 * `Reset`, `Reset-At`, `Reset-Time`, `ResetTime`, `Reset-After` or `Reset-In` for `Remaining`.
 *
 * @param name in lower case
 * @returns `undefined` for any other field
 */
export function rateFieldOf(name: string): RateField | undefined {
  const known = remembered.get(name);
  if (known !== undefined || remembered.has(name)) return known;
  const field = parseName(name);
  if (remembered.size < MAX_REMEMBERED && name.length <= MAX_REMEMBERED_CHARS) remembered.set(name, field);
  return field;
}

function parseName(name: string): RateField | undefined {
  const match = PATTERN.exec(name);
  if (match === null) return undefined;
  const [, prefix, rest = ''] = match;
  const words = rest.split('-');
  const at = words.findIndex((word) => word === 'remaining' || word === 'reset' || word === 'resettime');
  if (at === -1) return undefined;
  const isRemaining = words[at] === 'remaining';
  const detail = isRemaining ? undefined : words[at + 1];
  const isDelay = detail === 'after' || detail === 'in';
  words.splice(at, isDelay || detail === 'at' || detail === 'time' ? 2 : 1);
  // With and without X- they are the same quota.
  if (prefix !== undefined && prefix !== 'x') words.push(prefix);
  return { kind: words.join('-'), says: isRemaining ? 'remaining' : isDelay ? 'resetAfterMs' : 'resetMs' };
}
