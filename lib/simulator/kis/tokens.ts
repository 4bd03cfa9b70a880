import { createHash } from 'node:crypto';
import { type Answer, jsonAnswer } from '../answer.ts';
import type { ResolvedKis } from '../options.ts';
import type { KisErrorCode } from './codes.ts';
import { tokenError } from './errors.ts';

interface Token {
  readonly text: string;
  readonly appKey: string;
  readonly issuedAtNs: number;
  expiresAtNs: number;
  /** In wall-clock time, for people. */
  readonly expiresAtMs: number;
}

interface Customer {
  /** The token that asking again gives, until it is too old. */
  token: Token | undefined;
  lastIssueAtNs: number;
}

const NS_PER_MS = 1e6;
const KST_OFFSET_MS = 9 * 3_600_000;
/** Beyond so many, the oldest are forgotten, which only a flood of invented app keys can bring about. */
const MAX_KNOWN = 10_000;

/** Issues, checks and revokes access tokens. Times are passed in. */
export class TokenDesk {
  readonly #options: ResolvedKis;
  readonly #seed: number;
  readonly #customers = new Map<string, Customer>();
  readonly #tokens = new Map<string, Token>();
  #serial = 0;
  /** Answers that carried a token. */
  issued = 0;

  constructor(options: ResolvedKis, seed: number) {
    this.#options = options;
    this.#seed = seed;
  }

  /** `POST /oauth2/tokenP`. A token is handed out once per interval, be it a new one or the same again. */
  issue(body: Buffer | undefined, nowNs: number, wallMs: number): Answer {
    const fields = parseFields(body);
    if (fields === undefined) return tokenError('EGW00101');
    if (fields.get('grant_type') !== 'client_credentials') return tokenError('EGW00116');
    const appKey = fields.get('appkey') ?? '';
    const problem = this.#checkApp(appKey, fields.get('appsecret') ?? '');
    if (problem) return tokenError(problem);

    const customer = this.#customers.get(appKey) ?? { token: undefined, lastIssueAtNs: Number.NEGATIVE_INFINITY };
    if (nowNs - customer.lastIssueAtNs < this.#options.tokenIntervalMs * NS_PER_MS) return tokenError('EGW00133');
    let token = customer.token;
    const isReusable =
      token && nowNs - token.issuedAtNs < this.#options.tokenReuseMs * NS_PER_MS && nowNs < token.expiresAtNs;
    if (!token || !isReusable) token = this.#newToken(appKey, nowNs, wallMs);
    remember(this.#customers, appKey, { token, lastIssueAtNs: nowNs });
    this.issued++;
    return jsonAnswer(200, {
      access_token: token.text,
      access_token_token_expired: kstText(token.expiresAtMs),
      token_type: 'Bearer',
      expires_in: Math.max(0, Math.floor((token.expiresAtNs - nowNs) / 1e9)),
    });
  }

  /** `POST /oauth2/revokeP`. */
  revoke(body: Buffer | undefined): Answer {
    const fields = parseFields(body);
    if (fields === undefined) return tokenError('EGW00101');
    const appKey = fields.get('appkey') ?? '';
    const problem = this.#checkApp(appKey, fields.get('appsecret') ?? '');
    if (problem) return tokenError(problem);
    const text = fields.get('token') ?? '';
    if (this.#tokens.get(text)?.appKey !== appKey) return tokenError('EGW00121');
    this.#tokens.delete(text);
    const customer = this.#customers.get(appKey);
    if (customer?.token?.text === text) customer.token = undefined;
    return jsonAnswer(200, { code: 200, message: '접근토큰 폐기에 성공하였습니다' });
  }

  /** What is wrong with an `authorization` header, if anything. */
  check(authorization: string | undefined, appKey: string, nowNs: number): KisErrorCode | undefined {
    const token = this.#tokens.get(/^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1] ?? '');
    if (token?.appKey !== appKey) return 'EGW00121';
    return nowNs < token.expiresAtNs ? undefined : 'EGW00123';
  }

  /** Are these the app key and secret that the options ask for? */
  isKnownApp(appKey: string, appSecret: string): boolean {
    return this.#checkApp(appKey, appSecret) === undefined;
  }

  expireAll(): void {
    for (const token of this.#tokens.values()) token.expiresAtNs = Number.NEGATIVE_INFINITY;
  }

  #checkApp(appKey: string, appSecret: string): KisErrorCode | undefined {
    if (appKey === '') return 'EGW00102';
    if (this.#options.appKey !== undefined && appKey !== this.#options.appKey) return 'EGW00103';
    if (appSecret === '') return 'EGW00104';
    if (this.#options.appSecret !== undefined && appSecret !== this.#options.appSecret) return 'EGW00105';
    return undefined;
  }

  #newToken(appKey: string, nowNs: number, wallMs: number): Token {
    const id = createHash('sha256')
      .update(`${this.#seed}:${appKey}:${++this.#serial}`)
      .digest('base64url');
    const expiresAtMs = wallMs + this.#options.tokenLifetimeMs;
    const claims = { sub: 'token', jti: id.slice(0, 16), iss: 'simulator', exp: Math.floor(expiresAtMs / 1000) };
    const token: Token = {
      // In the shape of a JWT; the signature is none.
      text: `${base64url({ typ: 'JWT', alg: 'HS512' })}.${base64url(claims)}.${id}`,
      appKey,
      issuedAtNs: nowNs,
      expiresAtNs: nowNs + this.#options.tokenLifetimeMs * NS_PER_MS,
      expiresAtMs,
    };
    remember(this.#tokens, token.text, token);
    return token;
  }
}

/** The string fields of a JSON object, or `undefined` if the body is none. */
function parseFields(body: Buffer | undefined): Map<string, string> | undefined {
  try {
    const value: unknown = JSON.parse(body?.toString('utf8') ?? '');
    if (typeof value !== 'object' || value === null) return undefined;
    return new Map(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
  } catch {
    return undefined;
  }
}

function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.set(key, value);
  if (map.size <= MAX_KNOWN) return;
  const oldest = map.keys().next();
  if (!oldest.done) map.delete(oldest.value);
}

function base64url(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** `2023-12-22 08:16:59`, in Korea's time. */
function kstText(wallMs: number): string {
  return new Date(wallMs + KST_OFFSET_MS).toISOString().slice(0, 19).replace('T', ' ');
}
