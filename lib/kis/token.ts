import { setTimeout as sleep } from 'node:timers/promises';
import { Mutex } from 'async-mutex';
import { ItemError } from '../errors.ts';
import { type AccessToken, readTokenAnswer, type TokenAnswer } from './access-token.ts';
import { KIS_CODES } from './codes.ts';
import type { TokenFile } from './token-file.ts';
import { type RawAnswer, wasNotSent } from './token-request.ts';

/** The clocks that tokens live by. */
export interface TokenClock {
  /** Milliseconds since 1970. */
  wallMs(): number;
  /** Milliseconds since any moment; never goes back. */
  steadyMs(): number;
  /** @throws if `signal` aborts */
  sleep(ms: number, signal: AbortSignal | undefined): Promise<void>;
}

export interface TokenManagerOptions {
  /** Asks the token endpoint once. */
  readonly post: (signal: AbortSignal | undefined) => Promise<RawAnswer>;
  readonly file: TokenFile | undefined;
  /** The endpoint is asked at most once in this time. */
  readonly intervalMs: number;
  /** Something went wrong that the caller need not know of. Holds no secret. */
  readonly warn: (message: string) => void;
  readonly clock?: TokenClock;
}

/** How a token is asked for. */
export interface TokenRequest {
  /** True if the token that is here must not be used any more. */
  readonly mustBeNew: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Requests in all for one token. */
const MAX_REQUESTS = 3;
/** KIS counts the minute by its own clock. */
const TOO_SOON_MARGIN_MS = 1000;
const UNREACHABLE_WAIT_MS = 1000;
/** A token is replaced so long before it ends, but not before nine tenths of its life. */
const RENEW_BEFORE_MS = 10 * 60_000;
const RENEW_SHARE = 0.1;

const SYSTEM_CLOCK: TokenClock = {
  wallMs: () => Date.now(),
  steadyMs: () => performance.now(),
  sleep: async (ms, signal) => {
    await sleep(ms, undefined, signal === undefined ? {} : { signal }).catch(() => signal?.throwIfAborted());
  },
};

/**
 * Gets and keeps the access token of one app key. However many ask, there is one request at a time, and one in
 * `intervalMs`, counted from the end of the last one; requests of an earlier process count if the file tells of them.
 */
export class TokenManager {
  readonly #options: TokenManagerOptions;
  readonly #clock: TokenClock;
  readonly #mutex = new Mutex();
  #token: AccessToken | undefined;
  /** On the steady clock: before this time the endpoint must not be asked. */
  #nextRequestAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: TokenManagerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? SYSTEM_CLOCK;
  }

  /** In how many milliseconds the token should be replaced; `undefined` if there is none, or its end makes no sense. */
  get renewInMs(): number | undefined {
    // One that was over when it came is judged by a clock that is wrong: the upstream will say when it ends.
    if (this.#token === undefined || this.#token.expiresAtMs <= this.#token.issuedAtMs) return undefined;
    return renewAtMs(this.#token) - this.#clock.wallMs();
  }

  /**
   * A token to send: the one that is here, that of the file, or a new one.
   *
   * @throws ItemError `CREDENTIALS` if KIS refuses the keys or does not give a token; the reason of `signal`
   */
  get({ mustBeNew, signal }: TokenRequest): Promise<string> {
    const refused = mustBeNew ? this.#token?.text : undefined;
    return this.#mutex.runExclusive(async () => {
      // Somebody else may have replaced it while we waited for our turn.
      if (this.#token === undefined || !this.#isUsable(this.#token, refused)) {
        this.#token = (await this.#readFile(refused)) ?? (await this.#issue(refused, signal));
      }
      return this.#token.text;
    });
  }

  #isUsable(token: AccessToken, refused: string | undefined): boolean {
    return token.text !== refused && token.expiresAtMs > this.#clock.wallMs();
  }

  async #readFile(refused: string | undefined): Promise<AccessToken | undefined> {
    const token = await this.#options.file?.read();
    if (token === undefined) return undefined;
    const nowMs = this.#clock.wallMs();
    if (this.#isUsable(token, refused) && renewAtMs(token) > nowMs) return token;
    // Of no use, but it tells when the endpoint was asked last.
    const ageMs = Math.max(0, nowMs - token.issuedAtMs);
    this.#forbidFor(this.#options.intervalMs - ageMs);
    return undefined;
  }

  async #issue(refused: string | undefined, signal: AbortSignal | undefined): Promise<AccessToken> {
    for (let requests = 1; ; requests++) {
      const waitMs = this.#nextRequestAtMs - this.#clock.steadyMs();
      if (waitMs > 0) await this.#clock.sleep(waitMs, signal);
      const answer = await this.#ask(signal);
      if (answer.kind === 'token') {
        await this.#keep(answer.token);
        return answer.token;
      }
      if (answer.kind === 'refused' || requests === MAX_REQUESTS) throw toError(answer);
      if (answer.kind !== 'too-soon') continue;
      this.#forbidFor(this.#options.intervalMs + TOO_SOON_MARGIN_MS);
      // Who asked before us may have been a process that shares the file.
      const found = await this.#readFile(refused);
      if (found !== undefined) return found;
    }
  }

  async #ask(signal: AbortSignal | undefined): Promise<TokenAnswer | Unanswered> {
    let isCounted = true;
    try {
      const { status, text } = await this.#options.post(signal);
      return readTokenAnswer(status, text, this.#clock.wallMs());
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      isCounted = !wasNotSent(error);
      return { kind: 'unanswered', error };
    } finally {
      this.#forbidFor(isCounted ? this.#options.intervalMs : UNREACHABLE_WAIT_MS);
    }
  }

  #forbidFor(ms: number): void {
    this.#nextRequestAtMs = Math.max(this.#nextRequestAtMs, this.#clock.steadyMs() + ms);
  }

  async #keep(token: AccessToken): Promise<void> {
    try {
      await this.#options.file?.write(token);
    } catch (error) {
      // The token is good all the same.
      const code = (error as { readonly code?: unknown } | null)?.code;
      this.#options.warn(`The access token could not be kept in "tokenFile" (${String(code)}).`);
    }
  }
}

interface Unanswered {
  readonly kind: 'unanswered';
  readonly error: unknown;
}

/** When a token should be replaced, in milliseconds since 1970. */
function renewAtMs({ issuedAtMs, expiresAtMs }: AccessToken): number {
  return expiresAtMs - Math.min(RENEW_BEFORE_MS, Math.max(0, expiresAtMs - issuedAtMs) * RENEW_SHARE);
}

/** What went wrong, without a word of what was sent, and of what came back only the code. */
function toError(answer: Exclude<TokenAnswer, { kind: 'token' }> | Unanswered): ItemError {
  if (answer.kind === 'unanswered') {
    return new ItemError('CREDENTIALS', 'KIS gave no access token: it did not answer.', { cause: answer.error });
  }
  const { kind, code, status } = answer;
  const meaning = KIS_CODES.get(code ?? '')?.meaning;
  const said = code === undefined ? `with status ${status}` : `${code}${meaning === undefined ? '' : `, ${meaning}`}`;
  const advice = kind === 'refused' ? ' Check "appKey", "appSecret" and "environment".' : '';
  const error = new ItemError('CREDENTIALS', `KIS gave no access token: it answered ${said}.${advice}`, { status });
  return code === undefined ? error : Object.assign(error, { upstreamCode: code });
}
