import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** A full collection, now, so that nobody's garbage is another one's cost. Works without a flag on the command line. */
export function collectGarbage(): void {
  gc();
}

const gc = exposeGc();

function exposeGc(): () => void {
  setFlagsFromString('--expose-gc');
  // The flag reaches only contexts made after it.
  return runInNewContext('gc') as () => void;
}
