/** How statistics are written. */
export interface SaveOptions {
  /**
   * `'json'` (default): the file holds these statistics. `'jsonl'` and `'csv'`: the file grows by a line with every
   * save; CSV has counts only, no lists and no settings.
   */
  readonly format?: 'json' | 'jsonl' | 'csv' | undefined;
  /** Compress with gzip; `.gz` is added to the file name if it does not end in it. Default `false`. */
  readonly gzip?: boolean | undefined;
  /**
   * After saving, remove files of the same folder and name whose `{date}` or `{timestamp}` is older than so many days:
   * more than 0, at most 36 500. Without such a placeholder in the name there are none. Default: none is removed.
   */
  readonly retentionDays?: number | undefined;
}

/** Automatic saving. */
export interface StatisticsOptions extends SaveOptions {
  /**
   * The file, or a `file:` URL. In its name `{date}` becomes the day (2026-01-31) and `{timestamp}` the moment
   * (2026-01-31T08-15-00.000Z) of the save, in UTC. Folders that are missing are made.
   */
  readonly path: string | URL;
  /**
   * Time between two saves, in milliseconds, from 100 to 2 147 483 647. Default 60 000. The engine saves a last time
   * when it closes.
   */
  readonly intervalMs?: number | undefined;
}

/** `SaveOptions`, checked, with every field filled. */
export interface ResolvedSave {
  readonly format: 'json' | 'jsonl' | 'csv';
  readonly gzip: boolean;
  /** undefined: none is removed. */
  readonly retentionDays: number | undefined;
}

/** `StatisticsOptions`, checked, with every field filled. */
export interface ResolvedStatistics extends ResolvedSave {
  /** Absolute, placeholders as they were given. */
  readonly path: string;
  readonly intervalMs: number;
}

/** Every default. */
export const STATISTICS_DEFAULTS = Object.freeze({ format: 'json', gzip: false, intervalMs: 60_000 } as const);
