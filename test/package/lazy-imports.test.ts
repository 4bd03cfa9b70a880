import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

const PACKAGE = new URL('../../bundle/lib/index.js', import.meta.url).href;

/** Hooks that write the name of every package that is imported. */
const HOOKS = `
  import { writeSync } from 'node:fs';
  export function resolve(name, context, next) { writeSync(1, 'loads ' + name + ' '); return next(name, context); }
`;
/** Writes the name of every package that is imported or required. */
const SPY = `
  import Module, { register } from 'node:module';
  import { writeSync } from 'node:fs';
  const load = Module._load;
  Module._load = function (name, ...rest) { writeSync(1, 'loads ' + name + ' '); return load.call(this, name, ...rest); };
  register('data:text/javascript,${encodeURIComponent(HOOKS).replaceAll("'", '%27')}');
`;

async function loadedBy(program: string): Promise<Set<string>> {
  const spy = `data:text/javascript,${encodeURIComponent(SPY)}`;
  const args = ['--import', spy, '--input-type=module', '--eval', program];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
  return new Set(Array.from(stdout.matchAll(/loads (\S+) /g), ([, name]) => name ?? ''));
}

test('importing the package loads no package that only some programs need', async () => {
  const loaded = await loadedBy(`await import(${JSON.stringify(PACKAGE)});`);
  assert.ok(loaded.has('async-mutex'), 'the spy hears imports');
  for (const name of ['piscina', 'undici', 'csv-stringify/sync', 'import-meta-resolve', 'valibot']) {
    assert.ok(!loaded.has(name), `${name} was loaded`);
  }
});

test('an engine loads Piscina, and nothing for what it is not asked for', async () => {
  const loaded = await loadedBy(
    `const { createEngine } = await import(${JSON.stringify(PACKAGE)}); await createEngine({ threads: 1 }).close();`,
  );
  assert.ok(loaded.has('piscina'));
  for (const name of ['csv-stringify/sync', 'import-meta-resolve']) assert.ok(!loaded.has(name), `${name} was loaded`);
});
