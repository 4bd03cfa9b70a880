import { copyFileSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import type { Environment } from './environment.ts';
import { renderPage } from './page.ts';
import type { PlainResults, PlainSuite } from './plain-results.ts';
import type { Chart, Failure, Row, Table, Target } from './suite.ts';

/** One part of a suite, as it went. */
export interface PartRecord {
  readonly name: string;
  readonly title: string;
  readonly elapsedMs: number;
  readonly tables: readonly Table[];
  readonly targets: readonly Target[];
  readonly charts: readonly Chart[];
  readonly failures: readonly Failure[];
  /** Why it could not be measured at all. */
  readonly error: string | undefined;
}

export interface SuiteRecord {
  readonly name: string;
  readonly title: string;
  readonly parts: readonly PartRecord[];
}

/** A run, or as much of it as there is. */
export interface Results {
  readonly environment: Environment;
  readonly elapsedMs: number;
  readonly isQuick: boolean;
  /** False while there are parts to come. */
  readonly isComplete: boolean;
  readonly suites: readonly SuiteRecord[];
}

/**
 * Write the results beside the sources: `latest.json`, and `latest.html` with plots. Whoever reads them meanwhile sees
 * the old ones or the new ones whole.
 */
export function writeResults(results: Results, folder: URL): ResultFiles {
  mkdirSync(folder, { recursive: true });
  const files = { json: new URL('latest.json', folder), page: new URL('latest.html', folder) };
  const plain: PlainResults = { ...results, suites: results.suites.map(plainSuite) };
  replaceFile(files.json, `${JSON.stringify(plain, undefined, 2)}\n`);
  replaceFile(files.page, renderPage(plain));
  return files;
}

/** Copy them to files with the date, to be committed. */
export function keepResults({ json, page }: ResultFiles, { date, node }: Environment, folder: URL): ResultFiles {
  const name = `${date.slice(0, 10)}-node-${node.slice(1)}`;
  const kept = { json: new URL(`${name}.json`, folder), page: new URL(`${name}.html`, folder) };
  copyFileSync(json, kept.json);
  copyFileSync(page, kept.page);
  return kept;
}

/** The file with the figures, and the page. */
export interface ResultFiles {
  readonly json: URL;
  readonly page: URL;
}

function replaceFile(file: URL, text: string): void {
  const fresh = new URL(`${file.href}.new`);
  writeFileSync(fresh, text);
  renameSync(fresh, file);
}

function plainSuite({ name, title, parts }: SuiteRecord): PlainSuite {
  const tables = parts.flatMap((part) => part.tables.map((table) => ({ part: part.name, ...table })));
  return {
    name,
    title,
    parts: parts.map(({ name: part, title: about, elapsedMs, failures, error }) => ({
      name: part,
      title: about,
      elapsedMs,
      failures,
      error,
    })),
    rows: tables.flatMap(({ part, title: table, rows }) => rows.map((row): Row => ({ part, table, ...row }))),
    notes: tables.flatMap(({ part, title: table, notes = [] }) => notes.map((note) => ({ part, table, note }))),
    targets: parts.flatMap(({ targets }) => targets),
    charts: parts.flatMap(({ name: part, charts }) => charts.map((chart) => ({ part, ...chart }))),
  };
}
