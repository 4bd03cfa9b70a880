/*
 * Loaded before a test file, in its main thread and in every thread that it starts: the switches of the mutants that
 * the instrumented code asks for.
 */
import { appendFileSync, writeSync } from 'node:fs';
import { afterEach } from 'node:test';
import { isMainThread } from 'node:worker_threads';
import fc from 'fast-check';

const { MUTANT: active, MUTANTS_SEEN: seenFile } = process.env;

/** A mutant that is asked for more often than this runs in a circle. No test comes near. */
const MAX_HITS = 20_000_000;

let hits = 0;
const seen = new Set<string>();

const switches = {
  /** Is this mutant switched on? */
  stryMutAct_9fa48:
    active === undefined
      ? () => false
      : (id: string) => {
          if (id !== active) return false;
          if (++hits > MAX_HITS) throw new Error('The mutant runs in a circle.');
          return true;
        },
  /** Code with these mutants is about to run. Written down at once, because a thread may be killed at any time. */
  stryCov_9fa48:
    seenFile === undefined
      ? () => {}
      : (...ids: string[]) => {
          for (const id of ids) {
            if (seen.has(id)) continue;
            seen.add(id);
            appendFileSync(seenFile, `${id}\n`);
          }
        },
};
Object.assign(globalThis, switches);

if (isMainThread) {
  // The same cases in each run, so that the score is the same in each run; and the smallest case interests nobody here.
  fc.configureGlobal({ seed: 1, endOnFailure: true });
  // The first failure says all, and a test after it might wait for what will never come.
  afterEach((context) => {
    const { name, passed } = context as { readonly name: string; readonly passed?: boolean };
    if (passed !== false) return;
    writeSync(3, name);
    process.exit(1);
  });
}
