import { randomUUID } from 'node:crypto';
import { constants, createWriteStream } from 'node:fs';
import { copyFile, mkdir, readdir, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { Mutex } from 'async-mutex';
import { FileName } from './file-name.ts';
import { FORMATS } from './format.ts';
import type { ResolvedSave } from './options.ts';
import type { Statistics } from './statistics.ts';
import { StatisticsError } from './statistics-error.ts';

/** A file that grows is read and replaced: one save at a time, or one of two would lose its line. */
const saving = new Mutex();

/**
 * Write statistics to a file. It is replaced in one step: who reads it sees all of the old or all of the new content,
 * and when writing fails the old one is still there. That holds for files that grow, too: the new one begins as a copy.
 * Two processes must not write to one growing file.
 *
 * @param path Absolute or from the working directory; may have a placeholder.
 * @param dateMs The time of the save, for the file name and for what is too old.
 * @returns the path of the file
 * @throws StatisticsError naming the file (as a rejection)
 */
export function saveStatistics(
  statistics: Statistics,
  path: string,
  options: ResolvedSave,
  dateMs: number,
): Promise<string> {
  return saving.runExclusive(async () => {
    const name = new FileName(path, options.gzip);
    const file = name.at(dateMs);
    await write(statistics, name.folder, file, options);
    if (options.retentionDays !== undefined) await removeOld(name, file, options.retentionDays, dateMs);
    return file;
  });
}

async function write(statistics: Statistics, folder: string, file: string, options: ResolvedSave): Promise<void> {
  const { grows, textOf } = FORMATS[options.format];
  let temporary: string | undefined;
  try {
    await mkdir(folder, { recursive: true });
    const old = await find(file);
    const target = old?.path ?? file;
    // In the same folder, because a file cannot be renamed across file systems.
    temporary = join(dirname(target), `.${basename(target)}.${randomUUID()}.tmp`);
    const isCopy = grows && old !== undefined;
    if (isCopy) await copyFile(target, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    const text = Readable.from([textOf(statistics, !isCopy || old.size === 0)]);
    // Flushed to the disk before it is renamed: otherwise a power failure could leave the new name without content.
    const output = createWriteStream(temporary, { flags: 'a', flush: true });
    // What is appended is a gzip member of its own: a file may have several (RFC 1952), and readers give all of them.
    await (options.gzip ? pipeline(text, createGzip(), output) : pipeline(text, output));
    await rename(temporary, target);
  } catch (error) {
    if (temporary !== undefined) await rm(temporary, { force: true }).catch(() => {});
    throw new StatisticsError('Statistics could not be saved to', file, error);
  }
}

/** What is there already; undefined if there is nothing. Of a link, the file that it leads to: the link stays. */
async function find(file: string): Promise<{ path: string; size: number } | undefined> {
  try {
    const path = await realpath(file);
    const found = await stat(path);
    // To rename something onto it would be the end of a device or a pipe.
    if (!found.isFile()) throw new Error('There is something that is no file.');
    return { path, size: found.size };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Remove files that were written for the same path, long ago by their names. Nothing else: no folder, no link. */
async function removeOld(name: FileName, written: string, days: number, dateMs: number): Promise<void> {
  let file = name.folder;
  try {
    for (const entry of await readdir(name.folder, { withFileTypes: true })) {
      file = join(name.folder, entry.name);
      if (entry.isFile() && file !== written && name.isOlder(entry.name, days, dateMs)) await rm(file, { force: true });
    }
  } catch (error) {
    throw new StatisticsError('Statistics were saved, but old ones could not be removed:', file, error);
  }
}
