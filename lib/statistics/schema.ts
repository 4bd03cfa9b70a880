import { basename, dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import { InvalidOptionError } from '../errors.ts';
import { durationMs, flag, oneOf, options, positive } from '../schema-parts.ts';
import { PLACEHOLDER } from './file-name.ts';
import { type ResolvedSave, type ResolvedStatistics, STATISTICS_DEFAULTS } from './options.ts';

/** Node's timers fire at once for anything longer. */
const MAX_TIMER_MS = 2_147_483_647;
const MAX_DAYS = 36_500;
const MIN_INTERVAL_MS = 100;

const PATH = 'the path or the file: URL of a file, with at most one of {date} and {timestamp}, in its name';

/** A path as a text, or undefined if it is none. */
export function toPath(input: unknown): string | undefined {
  if (typeof input === 'string' && !input.includes('\0')) return input;
  if (!(input instanceof URL)) return undefined;
  try {
    // Braces of a URL are percent-encoded, and decoded here.
    return fileURLToPath(input);
  } catch {
    return undefined;
  }
}

function isFile(input: unknown): boolean {
  const path = toPath(input);
  if (path === undefined || path === '' || /[/\\]$/.test(path) || /^\.{1,2}$/.test(basename(path))) return false;
  const placeholders = basename(path).match(new RegExp(PLACEHOLDER, 'g')) ?? [];
  return placeholders.length <= 1 && !PLACEHOLDER.test(dirname(path));
}

const file = v.pipe(
  v.custom<string | URL>(isFile, PATH),
  v.transform((input) => toPath(input) ?? ''),
);

const saveEntries = {
  format: v.optional(oneOf(['json', 'jsonl', 'csv'])),
  gzip: v.optional(flag()),
  retentionDays: v.optional(positive(MAX_DAYS, `a number of days more than 0 and at most ${MAX_DAYS}`)),
};

/** The shape of `StatisticsOptions`. */
export const statisticsSchema = options(
  {
    ...saveEntries,
    path: file,
    intervalMs: v.optional(durationMs(MIN_INTERVAL_MS, MAX_TIMER_MS)),
  },
  'a plain object { path } with more options of automatic saving',
);

/** The shape of `SaveOptions`. */
export const saveOptionsSchema = options(saveEntries);

/**
 * Check the path of `saveStatistics(path, options)`. Relative ones are taken from `cwd`.
 * @throws InvalidOptionError if it is not the path of a file
 */
export function resolvePath(path: unknown, cwd: string): string {
  const parsed = v.safeParse(file, path);
  if (!parsed.success) throw new InvalidOptionError('path', path, PATH);
  return resolve(cwd, parsed.output);
}

/** Fill in the defaults. */
export function resolveSave(given: Partial<ResolvedSave>): ResolvedSave {
  const { format, gzip } = STATISTICS_DEFAULTS;
  return {
    format: given.format ?? format,
    gzip: given.gzip ?? gzip,
    retentionDays: given.retentionDays,
  };
}

/** Fill in the defaults. Relative paths are taken from `cwd`, whatever that is when the time of saving comes. */
export function resolveStatistics(given: v.InferOutput<typeof statisticsSchema>, cwd: string): ResolvedStatistics {
  return Object.freeze({
    ...resolveSave(given),
    path: resolve(cwd, given.path),
    intervalMs: given.intervalMs ?? STATISTICS_DEFAULTS.intervalMs,
  });
}
