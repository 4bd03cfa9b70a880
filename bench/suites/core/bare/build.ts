import { cpSync, rmSync, writeFileSync } from 'node:fs';

const COMPILED = new URL('../../../../', import.meta.url);
const BARE = new URL('bench/bare-build/', COMPILED);

/** Modules of the engine that the bare build has instead of its own. */
const REPLACED = {
  'lib/shared/gate.js': new URL('gate.js', import.meta.url),
  'lib/recover/recovery.js': new URL('recovery.js', import.meta.url),
};

type Package = typeof import('../../../../lib/index.ts');

/** One way to build the engine. */
export interface Build {
  readonly createEngine: Package['createEngine'];
  /** The module that Piscina calls in each thread. */
  readonly entry: URL;
}

/** The engine as it is. */
export function loadArmedBuild(): Promise<Build> {
  return load(COMPILED);
}

/**
 * The compiled engine once more, with nothing changed but that it has no recovery: lanes do not look at the gate, and
 * the main thread does not look for events. The engine itself has no such switch.
 */
export function loadBareBuild(): Promise<Build> {
  rmSync(BARE, { recursive: true, force: true });
  for (const folder of ['lib/', 'workers/']) {
    cpSync(new URL(folder, COMPILED), new URL(folder, BARE), { recursive: true });
  }
  for (const [module, replacement] of Object.entries(REPLACED)) {
    writeFileSync(new URL(module, BARE), `export * from ${JSON.stringify(replacement.href)};\n`);
  }
  return load(BARE);
}

async function load(root: URL): Promise<Build> {
  const { createEngine } = (await import(new URL('lib/index.js', root).href)) as Package;
  return { createEngine, entry: new URL('workers/entry.js', root) };
}
