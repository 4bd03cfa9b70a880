import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, sep } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { COMMON_JS, ENTRY_POINTS, ESM, TYPESCRIPT } from './consumers.ts';

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly bin: Readonly<Record<string, string>>;
}

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const WANTED =
  /^(?:dist\/bundle\/(?:lib|workers)\/.+\.c?js(?:\.map)?|dist\/(?:lib|workers)\/.+\.d\.c?ts|docs\/.+|README\.md|LICENSE|CHANGELOG\.md|package\.json)$/;
const INDISPENSABLE = [
  'CHANGELOG.md',
  'LICENSE',
  'README.md',
  'dist/bundle/lib/cli/main.js',
  'dist/bundle/lib/index.js',
  'dist/bundle/lib/simulator/index.js',
  'dist/bundle/lib/simulator/server-thread.js',
  'dist/bundle/workers/entry.js',
  'dist/bundle/workers/http.js',
  'dist/bundle/workers/kis.js',
  'dist/bundle/workers/main.cjs',
  'dist/lib/index.d.ts',
];

const execFileAsync = promisify(execFile);
const manifest = readManifest(ROOT);
let base = '';
let app = '';
let installed = '';
let packed: string[] = [];

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
}

/** Settings of the npm and the test runner that started this test are not for the programs in it. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const foreign = /^(?:npm_|NODE_TEST_CONTEXT$|NODE_OPTIONS$|NODE_PATH$)/i;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}

async function execute(command: string, args: readonly string[], cwd: string, signal?: AbortSignal): Promise<string> {
  // On Windows npm and npx are scripts, which only a shell starts.
  const shell = process.platform === 'win32' && command !== process.execPath;
  const { stdout } = await execFileAsync(command, args, {
    cwd,
    env: cleanEnvironment(),
    maxBuffer: 64 * 1024 * 1024,
    shell,
    ...(signal && { signal }),
  }).catch((error: Error & { stdout?: string }) => {
    // The message has the command and what it wrote to stderr.
    throw new Error(`${error.message}\n${error.stdout ?? ''}`, { cause: error });
  });
  return stdout;
}

/** The packages that a user gets with this one, by the manifests and not by what happens to be in node_modules. */
function dependencyFolders(...names: string[]): string[] {
  const folders = new Map<string, string>();
  const visit = (name: string, from: string) => {
    if (folders.has(name)) return;
    // Where another version stands at the top, the one that is meant stands inside of what needs it.
    const inside = join(from, 'node_modules', name);
    const folder = existsSync(inside) ? inside : join(ROOT, 'node_modules', name);
    folders.set(name, folder);
    for (const needed of Object.keys(readManifest(folder).dependencies ?? {})) visit(needed, folder);
  };
  for (const name of names) visit(name, ROOT);
  return [...folders.values()];
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function writeProgram(name: string, files: Readonly<Record<string, string>>): string {
  const folder = join(app, name);
  mkdirSync(folder, { recursive: true });
  // Each program is an ES module package of its own, as `npm init` with "type": "module" makes it.
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text);
  return folder;
}

const DOUBLED = { values: [2, 4, 6, 8], succeeded: 4, aborted: false };

before(async () => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'sluicegate-package-')));
  app = join(base, 'app');
  installed = join(app, 'node_modules', 'sluicegate');
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), JSON.stringify({ private: true }));
  // Without scripts: `prepack` would clear the build that this test runs from.
  const report = await execute('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', base], ROOT);
  const [pack] = JSON.parse(report) as { filename: string; files: { path: string }[] }[];
  assert.ok(pack, report);
  packed = pack.files.map(({ path }) => path);
  // A real installation that needs no network: the dependencies come as copies of those that are installed here.
  const dependencies = dependencyFolders(...Object.keys(manifest.dependencies ?? {}), '@types/node');
  const cache = join(base, 'cache');
  const flags = ['--offline', '--install-links', '--ignore-scripts', '--no-audit', '--no-fund', '--cache', cache];
  await execute('npm', ['install', ...flags, join(base, pack.filename), ...dependencies], app);
});

after(() => rmSync(base, { recursive: true, force: true }));

describe('the test command', () => {
  it('reaches every test file: its patterns are two levels deep', () => {
    const files = filesBelow(join(ROOT, 'dist/test'));
    const tests = files
      .map((file) => relative(ROOT, file).replaceAll(sep, '/'))
      .filter((file) => /\.test\.js$/.test(file));
    assert.ok(tests.includes('dist/test/package/package.test.js'));
    assert.deepEqual(
      tests.filter((file) => !/^dist\/test\/(?:[^/]+\/)?[^/]+$/.test(file)),
      [],
    );
  });
});

describe('the packed package', () => {
  it('holds what is needed and nothing else', () => {
    assert.deepEqual(
      packed.filter((path) => !WANTED.test(path)),
      [],
    );
    assert.deepEqual(
      INDISPENSABLE.filter((path) => !packed.includes(path)),
      [],
    );
  });

  it('names no path of the machine that built it', () => {
    const files = filesBelow(installed);
    assert.equal(files.length, packed.length);
    for (const file of files) {
      const text = readFileSync(file, 'utf8');
      assert.ok(!text.includes(ROOT), file);
    }
  });

  it('has source maps that work without the sources', () => {
    const maps = filesBelow(installed).filter((file) => file.endsWith('.map'));
    assert.ok(maps.length > 0);
    for (const file of maps) {
      const map = JSON.parse(readFileSync(file, 'utf8')) as { sources: string[]; sourcesContent?: string[] };
      assert.ok(
        map.sources.every((source) => source.startsWith('../')),
        file,
      );
      assert.equal(map.sourcesContent?.length, map.sources.length, file);
    }
  });

  it('depends on all that it imports', async (t) => {
    const names = Object.keys(manifest.exports).map((path) => path.replace('.', 'sluicegate'));
    const folder = writeProgram('entry-points', ENTRY_POINTS);
    assert.ok(names.length >= 3);
    const imported = await execute(process.execPath, ['import.mjs', ...names], folder, t.signal);
    const required = await execute(process.execPath, ['require.cjs', ...names], folder, t.signal);
    assert.equal(imported, '"imported"\n');
    assert.equal(required, '"required"\n');
  });
});

describe('a program that uses the installed package', () => {
  it('runs a batch as an ES module', async (t) => {
    const folder = writeProgram('esm', ESM);
    assert.deepEqual(JSON.parse(await execute(process.execPath, ['app.mjs'], folder, t.signal)), DOUBLED);
  });

  it('runs a batch as CommonJS, by require()', async (t) => {
    const folder = writeProgram('common-js', COMMON_JS);
    assert.deepEqual(JSON.parse(await execute(process.execPath, ['app.cjs'], folder, t.signal)), DOUBLED);
  });

  it('compiles in strict TypeScript and runs', async (t) => {
    const folder = writeProgram('typescript', TYPESCRIPT);
    const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
    await execute(process.execPath, [compiler, '-p', '.'], folder, t.signal);
    assert.deepEqual(JSON.parse(await execute(process.execPath, ['out/app.js'], folder, t.signal)), DOUBLED);
  });
});

describe('the command', () => {
  it('is found by npx and explains itself', async (t) => {
    const help = await execute('npx', ['--offline', 'sluicegate', '--help'], app, t.signal);
    assert.match(help, /Usage: sluicegate/);
    assert.match(help, /\bdemo\b/);
  });

  it('exits with an error for what it does not know', async (t) => {
    const path = join(installed, manifest.bin.sluicegate ?? '');
    await assert.rejects(execute(process.execPath, [path, 'no-such-command'], app, t.signal), /no-such-command/);
  });
});
