import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import type { Environment } from './environment.ts';
import { renderPage } from './page.ts';
import type { PlainResults, PlainSuite } from './plain-results.ts';
import type { Chart, Row, Table, Target } from './suite.ts';

/** One part of a suite, as it went. */
export interface PartRecord {
  readonly name: string;
  readonly title: string;
  readonly elapsedMs: number;
  readonly tables: readonly Table[];
  readonly targets: readonly Target[];
  readonly charts: readonly Chart[];
  /** Why it could not be measured. */
  readonly error: string | undefined;
}

export interface SuiteRecord {
  readonly name: string;
  readonly title: string;
  readonly parts: readonly PartRecord[];
}

/** A whole run. */
export interface Results {
  readonly environment: Environment;
  readonly elapsedMs: number;
  readonly isQuick: boolean;
  readonly suites: readonly SuiteRecord[];
}

/**
 * Write the results beside the sources: `latest.json`, and `latest.html` with plots.
 *
 * @param isKept also as files with the date, to be committed
 * @returns the file with the figures, and the page
 */
export function writeResults(
  results: Results,
  folder: URL,
  isKept: boolean,
): { readonly json: URL; readonly page: URL } {
  mkdirSync(folder, { recursive: true });
  const json = new URL('latest.json', folder);
  const page = new URL('latest.html', folder);
  const plain: PlainResults = { ...results, suites: results.suites.map(plainSuite) };
  writeFileSync(json, `${JSON.stringify(plain, undefined, 2)}\n`);
  writeFileSync(page, renderPage(plain));
  if (!isKept) return { json, page };
  const { date, node } = results.environment;
  const name = `${date.slice(0, 10)}-node-${node.slice(1)}`;
  const kept = { json: new URL(`${name}.json`, folder), page: new URL(`${name}.html`, folder) };
  copyFileSync(json, kept.json);
  copyFileSync(page, kept.page);
  return kept;
}

function plainSuite({ name, title, parts }: SuiteRecord): PlainSuite {
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
    charts: parts.flatMap(({ name: part, charts }) => charts.map((chart) => ({ part, ...chart }))),
  };
}
