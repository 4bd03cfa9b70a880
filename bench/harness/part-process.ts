import { performance } from 'node:perf_hooks';
import { answerMessages } from './child.ts';
import { selectSuites } from './select.ts';
import type { Mode, Part, PartResult } from './suite.ts';
import { describeError } from './within.ts';

/** The process of one part: it is told which, and answers with what came out. */
answerMessages(async (message): Promise<PartAnswer> => {
  const { suites, suite, part, mode } = message as PartTask;
  const startedMs = performance.now();
  let loaded: Part | undefined;
  try {
    [loaded] = (await selectSuites(new URL(suites), [`${suite}/${part}`]))[0]?.parts ?? [];
    if (loaded === undefined) throw new Error(`There is no part ${suite}/${part}.`);
    const result = await loaded.run(mode);
    return { elapsedMs: performance.now() - startedMs, result };
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? describeError(error)) : String(error);
    const cause =
      error instanceof Error && error.cause !== undefined ? `\nCaused by: ${describeError(error.cause)}` : '';
    return { elapsedMs: performance.now() - startedMs, error: text + cause };
  }
});

/** Which part a process is to run, and how. */
export interface PartTask {
  /** The folder of the suites. */
  readonly suites: string;
  readonly suite: string;
  readonly part: string;
  readonly mode: Mode;
}

/** What came out of a part: its figures, or why there are none. */
export type PartAnswer = { readonly elapsedMs: number } & (
  | { readonly result: PartResult; readonly error?: never }
  | { readonly error: string; readonly result?: never }
);
