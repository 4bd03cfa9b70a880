import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEngine, type Engine } from '../../lib/engine.ts';
import type { EngineOptions } from '../../lib/options.ts';
import type { Failure, Outcome, Success } from '../../lib/types.ts';

/** URL of a handler module in `fixtures/`. */
export function fixture(name: string): URL {
  return new URL(`./fixtures/${name}.js`, import.meta.url);
}

/** An engine that is gone when the test ends. */
export function openEngine<Item = unknown, Value = unknown>(
  t: TestContext,
  handler: string | URL,
  options: Omit<EngineOptions, 'handler'> = {},
): Engine<Item, Value> {
  const engine = createEngine<Item, Value>({ threads: 2, ...options, handler });
  t.after(() => engine.close({ mode: 'abort' }));
  return engine;
}

/** Wait for a state that certainly comes: looks again and again, so that no machine is too slow for it. */
export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await sleep(1);
}

/** Cells of shared memory through which a test and its handlers talk to each other. */
export class Board {
  readonly cells = new Int32Array(new SharedArrayBuffer(8 * 1024));

  /** What the handler's `setup` gets. */
  get data(): { readonly cells: Int32Array } {
    return { cells: this.cells };
  }

  get(cell: number): number {
    return Atomics.load(this.cells, cell);
  }

  set(cell: number, value: number): void {
    Atomics.store(this.cells, cell, value);
  }
}

export function success<Value>(outcome: Outcome<Value> | undefined): Success<Value> {
  if (outcome?.ok !== true) throw new Error(`Not a success: ${JSON.stringify(outcome)}`);
  return outcome;
}

export function failure(outcome: Outcome | undefined): Failure {
  if (outcome === undefined || outcome.ok) throw new Error(`Not a failure: ${JSON.stringify(outcome)}`);
  return outcome;
}

/** The end of each item in a word: its code, or `ok`. */
export function ends(outcomes: readonly Outcome[]): string[] {
  return outcomes.map((outcome) => (outcome.ok ? 'ok' : outcome.error.code));
}

/** Whole numbers from 0 on. */
export function count(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}

/** How many of these there are. */
export function tally(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}
