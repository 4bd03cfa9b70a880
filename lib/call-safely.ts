import { describeValue } from './errors.ts';

/** Call code of the user that must not be able to break the engine: what it throws becomes a warning of the process. */
export function callSafely(call: () => unknown): void {
  try {
    const returned = call();
    if (returned instanceof Promise) returned.catch(warn);
  } catch (error) {
    warn(error);
  }
}

function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(`A listener threw ${describeValue(error)}.`));
}
