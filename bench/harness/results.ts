import { mkdirSync, writeFileSync } from 'node:fs';
import type { Environment } from './environment.ts';
import type { Row, Table, Target } from './suite.ts';

/** One part of a suite, as it went. */
export interface PartRecord {
  readonly name: string;
  readonly title: string;
  readonly elapsedMs: number;
  readonly tables: readonly Table[];
  readonly targets: readonly Target[];
  /** Why it could not be measured. */
  readonly error: string | undefined;
}

export interface SuiteRecord {
  readonly name: string;
  readonly title: string;
  readonly parts: readonly PartRecord[];
}

/** What `latest.json` holds. */
export interface Results {
  readonly environment: Environment;
  readonly elapsedMs: number;
  readonly suites: readonly SuiteRecord[];
}

/** Write the results beside the sources. Returns the path of the file. */
export function writeResults(results: Results, folder: URL): URL {
  mkdirSync(folder, { recursive: true });
  const file = new URL('latest.json', folder);
  const { suites, ...run } = results;
  writeFileSync(file, `${JSON.stringify({ ...run, suites: suites.map(plainSuite) }, undefined, 2)}\n`);
  return file;
}

/** Rows and targets of all parts in one list each, every row with the table that it stands in. */
function plainSuite({ name, title, parts }: SuiteRecord) {
  const tables = parts.flatMap((part) => part.tables.map((table) => ({ part: part.name, ...table })));
  return {
    name,
    title,
    parts: parts.map(({ name: part, title: about, elapsedMs, error }) => ({
      name: part,
      title: about,
      elapsedMs,
      error,
    })),
    rows: tables.flatMap(({ part, title: table, rows }) => rows.map((row): Row => ({ part, table, ...row }))),
    notes: tables.flatMap(({ part, title: table, notes = [] }) => notes.map((note) => ({ part, table, note }))),
    targets: parts.flatMap(({ targets }) => targets),
  };
}
