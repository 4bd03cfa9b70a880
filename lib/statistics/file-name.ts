import { basename, dirname, join } from 'node:path';

/** What stands in a file name for the time of the save. */
export const PLACEHOLDER = /\{(date|timestamp)\}/;

type Placeholder = 'date' | 'timestamp';

const DAY_MS = 86_400_000;

/** What a placeholder becomes. No colons: Windows does not allow them in file names. */
const TEXTS: Record<Placeholder, (dateMs: number) => string> = {
  date: (dateMs) => new Date(dateMs).toISOString().slice(0, 10),
  timestamp: (dateMs) => new Date(dateMs).toISOString().replaceAll(':', '-'),
};
const PATTERNS: Record<Placeholder, string> = {
  date: String.raw`(\d{4}-\d\d-\d\d)`,
  timestamp: String.raw`(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z)`,
};

/** The names of the files that a path with a placeholder stands for. */
export class FileName {
  readonly folder: string;
  readonly #name: string;
  readonly #placeholder: Placeholder | undefined;

  constructor(path: string, gzip: boolean) {
    this.folder = dirname(path);
    const name = basename(path);
    this.#name = gzip && !name.endsWith('.gz') ? `${name}.gz` : name;
    this.#placeholder = PLACEHOLDER.exec(name)?.[1] as Placeholder | undefined;
  }

  /** The path of the file for this moment. */
  at(dateMs: number): string {
    const placeholder = this.#placeholder;
    const name =
      placeholder === undefined ? this.#name : this.#name.replace(`{${placeholder}}`, () => TEXTS[placeholder](dateMs));
    return join(this.folder, name);
  }

  /**
   * The last moment for which a name of this folder can stand, by what it has in the place of the placeholder;
   * undefined for a name that is none of ours.
   */
  lastMomentOf(name: string): number | undefined {
    const placeholder = this.#placeholder;
    if (placeholder === undefined) return undefined;
    const [before = '', after = ''] = this.#name.split(`{${placeholder}}`).map(escaped);
    const text = new RegExp(`^${before}${PATTERNS[placeholder]}${after}$`).exec(name)?.[1];
    if (text === undefined) return undefined;
    const dateMs = Date.parse(text.replace(/T(\d\d)-(\d\d)-/, 'T$1:$2:'));
    // The round trip refuses days that no calendar has.
    if (Number.isNaN(dateMs) || TEXTS[placeholder](dateMs) !== text) return undefined;
    return placeholder === 'date' ? dateMs + DAY_MS - 1 : dateMs;
  }

  /** Is this name older than so many days? Never for a name that is none of ours. */
  isOlder(name: string, days: number, dateMs: number): boolean {
    const lastMs = this.lastMomentOf(name);
    return lastMs !== undefined && dateMs - lastMs > days * DAY_MS;
  }
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
