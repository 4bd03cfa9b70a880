/** An access token, and when it was issued and ends, in milliseconds since 1970. */
export interface AccessToken {
  readonly text: string;
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
}

/** What the token endpoint said. */
export type TokenAnswer =
  | { readonly kind: 'token'; readonly token: AccessToken }
  /** Asked too soon after the last time. */
  | { readonly kind: 'too-soon'; readonly code: string; readonly status: number }
  /** Asking again is of no use. */
  | { readonly kind: 'refused'; readonly code: string | undefined; readonly status: number }
  /** It may work another time. */
  | { readonly kind: 'trouble'; readonly code: string | undefined; readonly status: number };

const KST_OFFSET_MS = 9 * 3_600_000;
const DEFAULT_LIFETIME_MS = 24 * 3_600_000;
const KST_TEXT = /^(\d{4})-(\d{2})-(\d{2}) (\d{2}):(\d{2}):(\d{2})$/;
const CODE = /^[A-Z]{2,8}\d{2,8}$/;
/** Anything else cannot stand in a header. */
const TOKEN = /^[\x21-\x7e]{1,4096}$/;
const TOO_SOON = 'EGW00133';
/** Codes of the token endpoint that say what is wrong with the request itself. */
const FINAL_CODES: ReadonlySet<string> = new Set([
  'EGW00101',
  'EGW00102',
  'EGW00103',
  'EGW00104',
  'EGW00105',
  'EGW00116',
]);

/** Can this be an access token? */
export function isTokenText(value: unknown): value is string {
  return typeof value === 'string' && TOKEN.test(value);
}

/**
 * Read the answer of `POST /oauth2/tokenP`. What counts is the body: errors come with any HTTP status.
 *
 * @param nowMs the time of the answer, in milliseconds since 1970
 */
export function readTokenAnswer(status: number, text: string, nowMs: number): TokenAnswer {
  const body = parseObject(text);
  const code = [body.error_code, body.msg_cd].find((value) => typeof value === 'string' && CODE.test(value));
  const known = code as string | undefined;
  if (known === TOO_SOON) return { kind: 'too-soon', code: known, status };
  const { access_token: tokenText } = body;
  if (known === undefined && status < 400 && isTokenText(tokenText)) {
    const expiresAtMs = parseKst(body.access_token_token_expired) ?? nowMs + lifetimeMs(body.expires_in);
    return { kind: 'token', token: { text: tokenText, issuedAtMs: nowMs, expiresAtMs } };
  }
  const isFinal = known === undefined ? status >= 400 && status < 500 && status !== 429 : FINAL_CODES.has(known);
  return { kind: isFinal ? 'refused' : 'trouble', code: known, status };
}

/** `2023-12-22 08:16:59` in Korea's time, which has no summer time, as milliseconds since 1970. */
export function parseKst(text: unknown): number | undefined {
  const match = typeof text === 'string' ? KST_TEXT.exec(text) : null;
  if (match === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const asUtcMs = Date.UTC(year, month - 1, day, hour, minute, second);
  // Date.UTC rolls the 30th of February over into March.
  const isReal = new Date(asUtcMs).toISOString().slice(0, 19).replace('T', ' ') === text;
  return isReal ? asUtcMs - KST_OFFSET_MS : undefined;
}

function lifetimeMs(expiresInSeconds: unknown): number {
  const isUsable = typeof expiresInSeconds === 'number' && expiresInSeconds > 0 && expiresInSeconds < 1e9;
  return isUsable ? expiresInSeconds * 1e3 : DEFAULT_LIFETIME_MS;
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
