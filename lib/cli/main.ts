#!/usr/bin/env node
import { createRequire } from 'node:module';
import { Command, CommanderError, Option } from 'commander';
import { type AuditFlags, parseLimit, parseSpan, parseWindow } from './audit-flags.ts';
import { type DemoFlags, MAX_ITEMS, PRESET_NAMES, parseItems, parseRejectAt, parseSeed, SCOPES } from './flags.ts';
import { Interruption } from './signals.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
/** What a shell reports for a program that SIGPIPE ended. */
const EXIT_CLOSED_PIPE = 141;

const DEMO_HELP = `
Without --json and --reject-at it shows two runs: one in which nothing goes
wrong, and one in which the server refuses a request.

Exit code: 0 if every price was fetched, 1 if not, 2 for wrong flags, 130 after
Ctrl-C.

Examples:
  $ sluicegate demo
  $ sluicegate demo --reject-at 50,51,52
  $ sluicegate demo --preset exact --json`;

async function demo(flags: DemoFlags): Promise<void> {
  // Only now: help and wrong flags need no engine.
  const { runDemo } = await import('./demo.ts');
  const interruption = new Interruption();
  try {
    const isComplete = await runDemo(flags, process.stdout, interruption.signal);
    process.exitCode = interruption.exitCode ?? (isComplete ? 0 : EXIT_FAILED);
  } finally {
    interruption.stop();
  }
}

const AUDIT_HELP = `
A trace has one line per request, with the time of its sending and of its
answer. The server counted the request at some moment between the two. The audit
tells whether these moments can have been such that more than --limit of them
were in one window. Requests exactly one window apart are not in one window.

Exit code: 0 if no server can have counted too many, 1 if one can, 2 for wrong
flags or a trace that cannot be read.

Examples:
  $ sluicegate audit trace.jsonl --limit 20 --window 1000
  $ sluicegate audit trace.jsonl.gz --limit 20 --window 1000 --json`;

async function audit(path: string, flags: AuditFlags): Promise<void> {
  const { runAudit } = await import('./audit.ts');
  process.exitCode = await runAudit(path, flags, process);
}

function createProgram(): Command {
  const program = new Command('sluicegate')
    .description("Runs batches of requests in worker threads, under somebody else's rate limit.")
    .version(readVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .exitOverride()
    .showHelpAfterError('(add --help for what is allowed)');
  program
    .command('demo')
    .description('fetch prices from a built-in server that behaves like the KIS API and refuses what is too fast')
    .option('--json', 'print one JSON object about one run, and nothing else')
    .option('--items <n>', `prices to fetch, 1 to ${MAX_ITEMS}`, parseItems, 100)
    .addOption(
      new Option('--preset <name>', 'conservative: 12 requests per second; exact: all 20 that the server allows')
        .choices(PRESET_NAMES)
        .default('conservative'),
    )
    .option('--reject-at <n...>', 'requests that the server refuses, by number from 1, such as 50,51', parseRejectAt)
    .addOption(
      new Option('--scope <scope>', 'what is run again after a refusal: what is unfinished, or all of the batch')
        .choices(SCOPES)
        .default('unfinished'),
    )
    .option('--seed <n>', 'for the service times of the server: same seed, same times', parseSeed, 1)
    .addHelpText('after', DEMO_HELP)
    .action(demo);
  program
    .command('audit')
    .description('tell from a trace whether any server can have counted more requests than its limit allows')
    .argument('<trace>', 'file that the engine wrote (option `trace`), plain or .gz')
    .requiredOption('--limit <n>', 'requests that are allowed in any window', parseLimit)
    .requiredOption('--window <ms>', 'length of the window in milliseconds', parseWindow)
    .option('--arrival-within <ms>', 'assume that requests are counted so soon after they are sent', parseSpan)
    .option(
      '--straggle <ms>',
      'how long after it was given up on a request may be counted (default: --window)',
      parseSpan,
    )
    .option('--tolerant', 'audit what there is of a trace that was cut short, by a crash for example')
    .option('--json', 'print one JSON object, and nothing else')
    .addHelpText('after', AUDIT_HELP)
    .action(audit);
  return program;
}

function readVersion(): string {
  const require = createRequire(import.meta.url);
  return (require('sluicegate/package.json') as { readonly version: string }).version;
}

/** A reader that went away, as `head` does, is no fault: there is just nobody left to tell. */
function onOutputError(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(EXIT_CLOSED_PIPE);
  process.stderr.write(`sluicegate: the output cannot be written: ${error.message}\n`);
  process.exit(EXIT_FAILED);
}

async function main(): Promise<void> {
  process.stdout.on('error', onOutputError);
  process.stderr.on('error', () => process.exit(EXIT_CLOSED_PIPE));
  try {
    await createProgram().parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has said what is wrong, or printed the help that was asked for.
      process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
    } else {
      process.stderr.write(`sluicegate: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
      process.exitCode = EXIT_FAILED;
    }
  }
}

await main();
