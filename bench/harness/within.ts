/** Something took longer than it may. */
export class LimitError extends Error {
  override readonly name = 'LimitError';
}

/**
 * What a promise resolves to, if it does so in time. What goes on behind it is not ended.
 *
 * @throws LimitError if it does not
 */
export async function within<Result>(ms: number, promise: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new LimitError(`Not done after ${ms / 1e3} s.`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Its message, with those of its causes: what stands in a table. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message} ${describeError(error.cause)}`;
}
