import { readdirSync } from 'node:fs';
import type { Part, Suite } from './suite.ts';

/** A suite, and which of its parts are to run. */
export interface Selected {
  readonly name: string;
  readonly title: string;
  readonly parts: readonly Part[];
}

/** A name that is neither a suite nor a part of one. */
export class UnknownSuiteError extends Error {
  override readonly name = 'UnknownSuiteError';
}

/** Names of the suites: the modules that stand directly in the folder. */
export function listSuites(folder: URL): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.js'))
    .map((entry) => entry.name.slice(0, -'.js'.length))
    .sort();
}

/**
 * Load the suites that are asked for, each once, in the order in which they are asked for.
 *
 * @param names `suite` or `suite/part`; none for all suites.
 * @throws UnknownSuiteError that names what there is.
 */
export async function selectSuites(folder: URL, names: readonly string[]): Promise<Selected[]> {
  const known = listSuites(folder);
  const wanted = new Map<string, Set<string>>();
  for (const given of names.length > 0 ? names : known) {
    const [suite = '', part] = given.split('/', 2);
    if (!known.includes(suite))
      throw new UnknownSuiteError(`There is no suite "${suite}". There are: ${known.join(', ')}.`);
    const parts = wanted.get(suite) ?? new Set();
    wanted.set(suite, parts.add(part ?? ''));
  }
  const selected: Selected[] = [];
  for (const [name, parts] of wanted) selected.push(selectParts(name, await load(folder, name), parts));
  return selected;
}

/** The empty name stands for all parts. */
function selectParts(name: string, suite: Suite, wanted: ReadonlySet<string>): Selected {
  const known = suite.parts.map((part) => part.name);
  for (const part of wanted) {
    if (part !== '' && !known.includes(part)) {
      throw new UnknownSuiteError(`The suite "${name}" has no part "${part}". It has: ${known.join(', ')}.`);
    }
  }
  return { name, title: suite.title, parts: suite.parts.filter((part) => wanted.has('') || wanted.has(part.name)) };
}

async function load(folder: URL, name: string): Promise<Suite> {
  const module = (await import(new URL(`${name}.js`, folder).href)) as { default: Suite };
  return module.default;
}
