import { createHash, randomUUID } from 'node:crypto';
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { type AccessToken, isTokenText } from './access-token.ts';

/** Whose token it is. */
export interface TokenOwner {
  readonly appKey: string;
  readonly environment: string;
  /** Of the token endpoint. */
  readonly origin: string;
}

const VERSION = 1;
/** Ours has less than 5 kB. */
const MAX_BYTES = 64 * 1024;

/**
 * Keeps an access token in a file, so that the next process need not ask for another one. Only its owner may read it
 * (mode 0600). In place of the app key it holds a hash, so that the token of one key is not taken for that of another.
 */
export class TokenFile {
  readonly #path: string;
  readonly #owner: string;

  constructor(path: string, owner: TokenOwner) {
    this.#path = path;
    this.#owner = createHash('sha256')
      .update(JSON.stringify([owner.environment, owner.origin, owner.appKey]))
      .digest('hex');
  }

  /** The token in the file; `undefined` if there is none of this owner. Whether it has expired is not its business. */
  async read(): Promise<AccessToken | undefined> {
    let value: unknown;
    try {
      // Reading a pipe or a device might never end.
      const { size } = await stat(this.#path).then((found) => (found.isFile() ? found : { size: MAX_BYTES + 1 }));
      if (size > MAX_BYTES) return undefined;
      value = JSON.parse(await readFile(this.#path, 'utf8'));
    } catch {
      return undefined;
    }
    if (typeof value !== 'object' || value === null) return undefined;
    const { version, owner, token, issuedAt, expiresAt } = value as Readonly<Record<string, unknown>>;
    const issuedAtMs = parseTime(issuedAt);
    const expiresAtMs = parseTime(expiresAt);
    if (version !== VERSION || owner !== this.#owner || !isTokenText(token)) return undefined;
    if (issuedAtMs === undefined || expiresAtMs === undefined) return undefined;
    return { text: token, issuedAtMs, expiresAtMs };
  }

  /**
   * Put a token into the file. Whoever reads it meanwhile gets the old one or the new one, never a part.
   * @throws the system's error
   */
  async write({ text, issuedAtMs, expiresAtMs }: AccessToken): Promise<void> {
    const content = {
      version: VERSION,
      owner: this.#owner,
      token: text,
      issuedAt: new Date(issuedAtMs).toISOString(),
      expiresAt: new Date(expiresAtMs).toISOString(),
    };
    const draft = `${this.#path}.${randomUUID()}.tmp`;
    try {
      await writeFile(draft, `${JSON.stringify(content)}\n`, { mode: 0o600, flag: 'wx' });
      await rename(draft, this.#path);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
  }
}

function parseTime(text: unknown): number | undefined {
  const ms = typeof text === 'string' ? Date.parse(text) : Number.NaN;
  return Number.isFinite(ms) ? ms : undefined;
}
