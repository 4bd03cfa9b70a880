import { cpSync, rmSync, writeFileSync } from 'node:fs';

const COMPILED = new URL('../../../../', import.meta.url);
/** Under the compiled files, so that packages are found from there as from anywhere else. */
const BARE_BUILDS = new URL('bench/bare-builds/', COMPILED);

/** Modules of the engine that the bare build has instead of its own. */
const REPLACED = {
  'lib/shared/gate.js': new URL('../fixtures/bare-gate.js', import.meta.url),
  'lib/recover/recovery.js': new URL('../fixtures/bare-recovery.js', import.meta.url),
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
 *
 * @param name builds of different names share no code, as the armed and the bare one share none
 */
export function loadBareBuild(name: string): Promise<Build> {
  const root = new URL(`${name}/`, BARE_BUILDS);
  rmSync(root, { recursive: true, force: true });
  for (const folder of ['lib/', 'workers/']) {
    cpSync(new URL(folder, COMPILED), new URL(folder, root), { recursive: true });
  }
  for (const [module, replacement] of Object.entries(REPLACED)) {
    writeFileSync(new URL(module, root), `export * from ${JSON.stringify(replacement.href)};\n`);
  }
  return load(root);
}

async function load(root: URL): Promise<Build> {
  const { createEngine } = (await import(new URL('lib/index.js', root).href)) as Package;
  return { createEngine, entry: new URL('workers/entry.js', root) };
}
