import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, availableParallelism, cpus, loadavg, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';

const PACKAGES = [
  'piscina',
  'undici',
  'tinybench',
  'async-mutex',
  'async-sema',
  'bottleneck',
  'cockatiel',
  'limiter',
  'p-queue',
  'p-throttle',
  'poolifier',
  'rate-limiter-flexible',
  'tinypool',
  'workerpool',
] as const;

/** Where figures come from: without it they mean nothing. */
export interface Environment {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  readonly v8: string;
  readonly packages: Readonly<Record<string, string>>;
  /** The commit that is measured, with a `+` if files differ from it; undefined outside of a repository. */
  readonly commit: string | undefined;
  /** How many tasks wanted a core, on average over the last minute, before the first suite. */
  readonly loadAverage: number;
}

/** Describe this machine. */
export function describeEnvironment(): Environment {
  return {
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${release()} ${arch()}`,
    node: process.version,
    v8: process.versions.v8,
    packages: Object.fromEntries(PACKAGES.map((name) => [name, versionOf(name)])),
    commit: commit(),
    loadAverage: Number(loadavg()[0]?.toFixed(2)),
  };
}

/** From the package's own manifest: what is installed, not what is asked for. */
function versionOf(name: string): string {
  for (const folder of createRequire(import.meta.url).resolve.paths(name) ?? []) {
    try {
      return (JSON.parse(readFileSync(join(folder, name, 'package.json'), 'utf8')) as { version: string }).version;
    } catch {
      // Not in this folder: the next one up.
    }
  }
  return 'unknown';
}

function commit(): string | undefined {
  const git = (...args: string[]) =>
    execFileSync('git', args, {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  try {
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain') === '' ? '' : '+');
  } catch {
    return undefined;
  }
}
