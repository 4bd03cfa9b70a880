import { relative } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeEnvironment, type Environment } from './harness/environment.ts';
import { formatEnvironment, formatTable, formatTargets } from './harness/report.ts';
import { keepResults, type PartRecord, type ResultFiles, type SuiteRecord, writeResults } from './harness/results.ts';
import { runPart } from './harness/run-part.ts';
import { listSuites, type Selected, selectSuites, UnknownSuiteError } from './harness/select.ts';
import type { Mode, Part } from './harness/suite.ts';

const SUITES = new URL('./suites/', import.meta.url);
const RESULTS = new URL('../../bench/results/', import.meta.url);

/** Of what is mostly idle. */
const IDLE_AT_A_TIME = 3;
/** How long such a part takes that does not say it. */
const ABOUT_S = 20;

const USAGE = `Usage: npm run bench -- [--quick] [--keep] [--strict] [suite | suite/part ...]

Runs the suites, all of them by default: ${listSuites(SUITES).join(', ')}.

  --quick   everything as short as possible, to see that it works: the figures say nothing
  --keep    write the results with the date of today, too
  --strict  exit with 1 if a target is missed, too
  --help    show this text

The exit code is 1 if somebody failed, or something could not be measured.`;

class UsageError extends Error {
  override readonly name = 'UsageError';
}

process.exitCode = await main(process.argv.slice(2));

/** @returns the exit code: 0, 1 if somebody failed or something could not be measured (or was missed, with `--strict`), 2 for wrong arguments. */
async function main(args: string[]): Promise<number> {
  let flags: Flags;
  let selected: Selected[];
  try {
    flags = readArguments(args);
    if (flags.help) {
      console.log(USAGE);
      return 0;
    }
    selected = await selectSuites(SUITES, flags.names);
  } catch (error) {
    if (!(error instanceof UsageError) && !(error instanceof UnknownSuiteError)) throw error;
    console.error(`${error.message}\n\n${USAGE}`);
    return 2;
  }

  const environment = describeEnvironment();
  console.log(formatEnvironment(environment));
  const { suites, files, elapsedMs } = await runSuites(selected, environment, { isQuick: flags.quick });
  const { json, page } = flags.keep ? keepResults(files, environment, RESULTS) : files;

  const parts = suites.flatMap((suite) => suite.parts.map((part) => ({ ...part, name: `${suite.name}/${part.name}` })));
  const targets = parts.flatMap((part) => part.targets);
  if (targets.length > 0) console.log(`\n${formatTargets(targets)}`);
  const failures = parts.flatMap((part) => part.failures.map((failure) => ({ part: part.name, ...failure })));
  for (const { part, who, error } of failures) console.log(`\nFailed: ${part}: ${who}: ${error}`);
  for (const { name, error } of parts) if (error !== undefined) console.log(`\nNot measured: ${name}\n${error}`);
  const paths = [json, page].map((file) => relative(process.cwd(), fileURLToPath(file)));
  console.log(`\n${(elapsedMs / 1e3).toFixed(0)} s. Written to ${paths.join(' and ')}`);
  if (flags.quick) console.log('A quick run: the figures say nothing.');
  if (failures.length > 0 || parts.some((part) => part.error !== undefined)) return 1;
  return flags.strict && targets.some((target) => !target.met) ? 1 : 0;
}

interface Flags {
  readonly quick: boolean;
  readonly keep: boolean;
  readonly strict: boolean;
  readonly help: boolean;
  readonly names: string[];
}

function readArguments(args: string[]): Flags {
  const flags = parseFlags(args);
  // A dated copy stands for a run of everything.
  if (flags.keep && (flags.quick || flags.names.length > 0)) {
    throw new UsageError('--keep is for whole runs: it goes neither with --quick nor with names of suites.');
  }
  return flags;
}

function parseFlags(args: string[]): Flags {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        quick: { type: 'boolean', default: false },
        keep: { type: 'boolean', default: false },
        strict: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    return { ...values, names: positionals };
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

interface Run {
  readonly suites: readonly SuiteRecord[];
  readonly files: ResultFiles;
  readonly elapsedMs: number;
}

/**
 * First, some at a time, what waits most of the time; then everything else, one after the other. After each part all
 * that is known is written, so that nothing of it is lost, whatever the next one does.
 */
async function runSuites(selected: readonly Selected[], environment: Environment, mode: Mode): Promise<Run> {
  const startedMs = performance.now();
  const records = new Map<Part, PartRecord>();
  const all = selected.flatMap(({ name, parts }) => parts.map((part) => [name, part] as const));
  const write = (): Run => {
    const elapsedMs = performance.now() - startedMs;
    const suites = selected.map(({ name, title, parts }) => ({
      name,
      title,
      parts: parts.flatMap((part) => records.get(part) ?? []),
    }));
    const isComplete = records.size === all.length;
    const files = writeResults({ environment, elapsedMs, isQuick: mode.isQuick, isComplete, suites }, RESULTS);
    return { suites, files, elapsedMs };
  };
  const runAll = async (parts: Iterable<readonly [suite: string, part: Part]>) => {
    for (const [suite, part] of parts) {
      const record = await runPart(SUITES, suite, part, mode);
      records.set(part, record);
      print(suite, record);
      write();
    }
  };
  const idle = all
    .filter(([, part]) => part.isMostlyIdle === true)
    .toSorted(([, a], [, b]) => (b.aboutS ?? ABOUT_S) - (a.aboutS ?? ABOUT_S))
    .values();
  await Promise.all(Array.from({ length: IDLE_AT_A_TIME }, () => runAll(idle)));
  await runAll(all.filter(([, part]) => part.isMostlyIdle !== true));
  return write();
}

function print(suite: string, { name, title, elapsedMs, tables, error }: PartRecord): void {
  console.log(`\n== ${suite}/${name}: ${title} (${(elapsedMs / 1e3).toFixed(1)} s)`);
  for (const table of tables) console.log(`\n${formatTable(table)}`);
  if (error !== undefined) console.log(error);
}
