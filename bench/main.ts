import { relative } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeEnvironment } from './harness/environment.ts';
import { formatEnvironment, formatTable, formatTargets } from './harness/report.ts';
import { type PartRecord, type SuiteRecord, writeResults } from './harness/results.ts';
import { listSuites, type Selected, selectSuites, UnknownSuiteError } from './harness/select.ts';
import type { Part } from './harness/suite.ts';

const SUITES = new URL('./suites/', import.meta.url);
const RESULTS = new URL('../../bench/results/', import.meta.url);

const USAGE = `Usage: npm run bench -- [--strict] [suite | suite/part ...]

Runs the suites, all of them by default: ${listSuites(SUITES).join(', ')}.

  --strict  exit with 1 if a target is missed
  --help    show this text`;

class UsageError extends Error {
  override readonly name = 'UsageError';
}

process.exitCode = await main(process.argv.slice(2));

/** @returns the exit code: 0, 1 if something could not be measured (or was missed, with `--strict`), 2 for wrong arguments. */
async function main(args: string[]): Promise<number> {
  let isStrict: boolean;
  let selected: Selected[];
  try {
    const { help, strict, names } = readArguments(args);
    if (help) {
      console.log(USAGE);
      return 0;
    }
    isStrict = strict;
    selected = await selectSuites(SUITES, names);
  } catch (error) {
    if (!(error instanceof UsageError) && !(error instanceof UnknownSuiteError)) throw error;
    console.error(`${error.message}\n\n${USAGE}`);
    return 2;
  }

  const startedMs = performance.now();
  const environment = describeEnvironment();
  console.log(formatEnvironment(environment));
  const suites: SuiteRecord[] = [];
  for (const suite of selected) suites.push(await runSuite(suite));
  const file = writeResults({ environment, elapsedMs: performance.now() - startedMs, suites }, RESULTS);

  const parts = suites.flatMap((suite) => suite.parts);
  const targets = parts.flatMap((part) => part.targets);
  if (targets.length > 0) console.log(`\n${formatTargets(targets)}`);
  for (const { name, error } of parts) if (error !== undefined) console.log(`\nNot measured: ${name}\n${error}`);
  console.log(`\nWritten to ${relative(process.cwd(), fileURLToPath(file))}`);
  if (parts.some((part) => part.error !== undefined)) return 1;
  return isStrict && targets.some((target) => !target.met) ? 1 : 0;
}

function readArguments(args: string[]): { strict: boolean; help: boolean; names: string[] } {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { strict: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
    });
    return { strict: values.strict, help: values.help, names: positionals };
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

async function runSuite({ name, title, parts }: Selected): Promise<SuiteRecord> {
  console.log(`\n== ${name}: ${title}`);
  const records: PartRecord[] = [];
  for (const part of parts) records.push(await runPart(part));
  return { name, title, parts: records };
}

/** A part that fails is one that has no figures; the others still have theirs. */
async function runPart(part: Part): Promise<PartRecord> {
  const { name, title } = part;
  const startedMs = performance.now();
  try {
    const { tables, targets } = await part.run();
    const elapsedMs = performance.now() - startedMs;
    console.log(`\n-- ${name}: ${title} (${(elapsedMs / 1e3).toFixed(1)} s)`);
    for (const table of tables) console.log(`\n${formatTable(table)}`);
    return { name, title, elapsedMs, tables, targets, error: undefined };
  } catch (thrown) {
    const error = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    console.log(`\n-- ${name}: ${title}\n${error}`);
    return { name, title, elapsedMs: performance.now() - startedMs, tables: [], targets: [], error };
  }
}
