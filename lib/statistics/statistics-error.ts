import { SluicegateError } from '../errors.ts';

/** Statistics could not be written, or an old file could not be removed. `path` is the file, `cause` says why. */
export class StatisticsError extends SluicegateError {
  readonly path: string;

  constructor(what: string, path: string, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super('STATISTICS', `${what} "${path}": ${why}`, { cause });
    this.path = path;
  }
}
