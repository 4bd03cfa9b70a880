import { relative } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeEnvironment } from './harness/environment.ts';
import { formatEnvironment, formatTable, formatTargets } from './harness/report.ts';
import { type PartRecord, type SuiteRecord, writeResults } from './harness/results.ts';
import { listSuites, type Selected, selectSuites, UnknownSuiteError } from './harness/select.ts';
import type { Mode, Part } from './harness/suite.ts';

const SUITES = new URL('./suites/', import.meta.url);
const RESULTS = new URL('../../bench/results/', import.meta.url);

/** Of what is mostly idle. */
const IDLE_AT_A_TIME = 3;

const USAGE = `Usage: npm run bench -- [--quick] [--keep] [--strict] [suite | suite/part ...]

Runs the suites, all of them by default: ${listSuites(SUITES).join(', ')}.

  --quick   everything as short as possible, to see that it works: the figures say nothing
  --keep    write the results with the date of today, too
  --strict  exit with 1 if a target is missed
  --help    show this text`;

class UsageError extends Error {
  override readonly name = 'UsageError';
}

process.exitCode = await main(process.argv.slice(2));

/** @returns the exit code: 0, 1 if something could not be measured (or was missed, with `--strict`), 2 for wrong arguments. */
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

  const startedMs = performance.now();
  const environment = describeEnvironment();
  console.log(formatEnvironment(environment));
  const suites = await runSuites(selected, { isQuick: flags.quick });
  const elapsedMs = performance.now() - startedMs;
  const files = writeResults({ environment, elapsedMs, isQuick: flags.quick, suites }, RESULTS, flags.keep);

  const parts = suites.flatMap((suite) => suite.parts);
  const targets = parts.flatMap((part) => part.targets);
  if (targets.length > 0) console.log(`\n${formatTargets(targets)}`);
  for (const { name, error } of parts) if (error !== undefined) console.log(`\nNot measured: ${name}\n${error}`);
  const paths = Object.values(files).map((file) => relative(process.cwd(), fileURLToPath(file)));
  console.log(`\n${(elapsedMs / 1e3).toFixed(0)} s. Written to ${paths.join(' and ')}`);
  if (flags.quick) console.log('A quick run: the figures say nothing.');
  if (parts.some((part) => part.error !== undefined)) return 1;
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

/** First, three at a time, what waits most of the time; then everything else, one after the other. */
async function runSuites(selected: readonly Selected[], mode: Mode): Promise<SuiteRecord[]> {
  const records = new Map<Part, PartRecord>();
  const runAll = async (parts: Iterable<readonly [suite: string, part: Part]>) => {
    for (const [suite, part] of parts) records.set(part, await runPart(suite, part, mode));
  };
  const all = selected.flatMap(({ name, parts }) => parts.map((part) => [name, part] as const));
  const idle = all.filter(([, part]) => part.isMostlyIdle === true).values();
  await Promise.all(Array.from({ length: IDLE_AT_A_TIME }, () => runAll(idle)));
  await runAll(all.filter(([, part]) => part.isMostlyIdle !== true));
  return selected.map(({ name, title, parts }) => ({
    name,
    title,
    parts: parts.flatMap((part) => records.get(part) ?? []),
  }));
}

/** A part that fails is one that has no figures; the others still have theirs. */
async function runPart(suite: string, part: Part, mode: Mode): Promise<PartRecord> {
  const { name, title } = part;
  const startedMs = performance.now();
  try {
    const { tables, targets, charts = [] } = await part.run(mode);
    const elapsedMs = performance.now() - startedMs;
    console.log(`\n== ${suite}/${name}: ${title} (${(elapsedMs / 1e3).toFixed(1)} s)`);
    for (const table of tables) console.log(`\n${formatTable(table)}`);
    return { name, title, elapsedMs, tables, targets, charts, error: undefined };
  } catch (thrown) {
    const error = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    console.log(`\n== ${suite}/${name}: ${title}\n${error}`);
    return { name, title, elapsedMs: performance.now() - startedMs, tables: [], targets: [], charts: [], error };
  }
}
