import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

type Gc = (options?: { readonly type: 'minor' }) => void;

/** A full collection of this thread's heap, now. Works without a flag on the command line. */
export function collectGarbage(): void {
  gc();
}

/**
 * Collect the young objects only. A full collection also shrinks the heap and forgets what the compiler has learned, so
 * that what comes after it is slower than in a program that runs on.
 */
export function collectYoungGarbage(): void {
  gc({ type: 'minor' });
}

const gc = exposeGc();

function exposeGc(): Gc {
  setFlagsFromString('--expose-gc');
  // The flag reaches only contexts made after it.
  return runInNewContext('gc') as Gc;
}
