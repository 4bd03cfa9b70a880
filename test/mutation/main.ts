/*
 * Mutation testing: switches on one small fault after the other in the code and asks whether a test notices.
 *
 *   npm run test:mutation [-- [--jobs=n] [--write] [lib/limit | lib/limit/plan.ts ...]]
 *
 * The mutants are Stryker's (its instrumenter) and two operators of our own. Its test runners would start all tests of a
 * room for each mutant; here each mutant is shown only to the test files that run its line, the quickest first, up to
 * the first failure. Tests of threads need no special care: the switch is an environment variable.
 */
import { readdirSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Asked, judge, measure, type Verdict } from './ask.ts';
import { LEAST_SCORE, NEVER_ASKED, ROOMS, type Room } from './rooms.ts';
import { Sandbox } from './sandbox.ts';
import { Survivors } from './survivors.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    jobs: { type: 'string', default: String(availableParallelism()) },
    write: { type: 'boolean', default: false },
    /** Say of each mutant what became of it. */
    verbose: { type: 'boolean', default: false },
  },
});
const jobs = Math.max(1, Math.floor(Number(flags.jobs)) || 1);

const unknown = positionals.filter((name) => !ROOMS.some(({ sources }) => `${name}/`.startsWith(`${sources}/`)));
if (unknown.length > 0) throw new Error(`Not a mutated room or file: ${unknown.join(', ')}`);

let isGood = true;
for (const room of ROOMS) {
  const files = filesOf(room).filter(
    (file) => positionals.length === 0 || positionals.some((name) => file === name || file.startsWith(`${name}/`)),
  );
  if (files.length > 0 && !(await runRoom(room, files))) isGood = false;
}
process.exitCode = isGood ? 0 : 1;

function filesOf({ sources }: Room): string[] {
  return readdirSync(join(ROOT, sources))
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `${sources}/${name}`)
    .sort();
}

function testsOf({ tests }: Room): string[] {
  return tests
    .flatMap((path) =>
      statSync(join(ROOT, path)).isFile() ? [path] : readdirSync(join(ROOT, path)).map((name) => `${path}/${name}`),
    )
    .filter((path) => path.endsWith('.test.ts') && !NEVER_ASKED.includes(path))
    .map((path) => path.replace(/\.ts$/, '.js'));
}

/** @returns whether enough mutants were killed, and all explanations are of mutants that live. */
async function runRoom(room: Room, files: readonly string[]): Promise<boolean> {
  const startedMs = performance.now();
  const sandbox = await Sandbox.create(ROOT, files);
  try {
    const tests: Asked[] = [];
    // One after the other: their times decide when a mutant is taken to hang.
    for (const file of testsOf(room)) tests.push(await measure(sandbox.dist, file));
    const verdicts = await judgeAll(sandbox, tests);
    const survivors = new Survivors(ROOT, basename(room.sources));
    const seconds = ((performance.now() - startedMs) / 1e3).toFixed(0);
    return report(room, files, verdicts, survivors, seconds);
  } finally {
    sandbox.remove();
  }
}

async function judgeAll({ dist, mutants }: Sandbox, tests: readonly Asked[]): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  let next = 0;
  const work = async () => {
    for (let at = next++; at < mutants.length; at = next++) {
      const mutant = mutants[at];
      if (mutant !== undefined) verdicts[at] = await judge(dist, mutant, tests);
      if (process.stderr.isTTY) process.stderr.write(`\r${at + 1} of ${mutants.length} `);
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  if (process.stderr.isTTY) process.stderr.write('\r');
  return verdicts;
}

function report(
  { sources }: Room,
  files: readonly string[],
  verdicts: readonly Verdict[],
  survivors: Survivors,
  seconds: string,
): boolean {
  const alive = verdicts.filter(({ by }) => by === undefined);
  const open = alive.filter(({ mutant }) => survivors.reasonOf(mutant) === undefined);
  const counted = verdicts.length - (alive.length - open.length);
  const killed = verdicts.length - alive.length;
  const score = counted === 0 ? 1 : killed / counted;
  if (flags.verbose) {
    for (const { mutant, by } of verdicts)
      console.log(`${mutant.file}:${mutant.line} ${mutant.change}: ${by ?? 'lives'}`);
  }
  const late = verdicts.filter(({ status }) => status === 'timeout');
  for (const { mutant, status } of open) {
    console.log(
      `${mutant.file}:${mutant.line} ${status} (${mutant.operator})\n    ${mutant.code}\n    ${mutant.change}`,
    );
  }
  for (const { mutant, by } of late)
    console.log(`${mutant.file}:${mutant.line} does not end: ${mutant.change} (${by})`);
  const complaints = survivors.complaints(files, verdicts);
  for (const complaint of complaints) console.log(complaint);
  for (const file of files) {
    const own = verdicts.filter(({ mutant }) => mutant.file === file);
    const left = open.filter(({ mutant }) => mutant.file === file).length;
    console.log(`  ${file}: ${own.length} mutants, ${left} survive without a reason`);
  }
  console.log(
    `${sources}: ${(100 * score).toFixed(1)} % (${verdicts.length} mutants, ${killed} killed, ${late.length} of them by a ` +
      `timeout, ${alive.length - open.length} explained, ${open.length} survive; ${seconds} s)`,
  );
  if (flags.write) survivors.write(files, verdicts);
  return score >= LEAST_SCORE && complaints.length === 0;
}
