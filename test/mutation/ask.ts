import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import type { Readable } from 'node:stream';
import type { Mutant } from './mutants.ts';

/** A test file that passes without a mutant, and what is known of it. */
export interface Asked {
  readonly file: string;
  readonly ms: number;
  /** Mutants whose code it runs. */
  readonly seen: ReadonlySet<string>;
}

export interface Verdict {
  readonly mutant: Mutant;
  readonly status: 'killed' | 'timeout' | 'survived' | 'unseen';
  /** Who killed it. */
  readonly by?: string;
}

const SWITCHES = new URL('./switches.js', import.meta.url).href;

/** A test that takes longer than this, and longer than so many times its usual time, hangs: it is asked once more. */
const LEAST_TIMEOUT_MS = 5_000;
const MOST_TIMEOUT_MS = 120_000;
const TIMEOUT_FACTOR = 6;
const MOST_TRIES = 10;

/**
 * Run a test file as it is, and write down which mutants' code it runs.
 * @throws Error if it fails.
 */
export async function measure(dist: string, file: string): Promise<Asked> {
  const seenFile = join(dist, `${file.replaceAll('/', '-')}.seen`);
  const startedMs = performance.now();
  const { failed } = await runFile(dist, file, { MUTANTS_SEEN: seenFile }, 300_000);
  if (failed !== undefined) throw new Error(`${file} fails without any mutant: ${failed}`);
  const ms = performance.now() - startedMs;
  const seen = new Set(existsSync(seenFile) ? readFileSync(seenFile, 'utf8').split('\n') : []);
  rmSync(seenFile, { force: true });
  return { file, ms, seen };
}

/** Ask the tests that run the mutant's code, the quickest first, until one fails. */
export async function judge(dist: string, mutant: Mutant, tests: readonly Asked[]): Promise<Verdict> {
  const able = tests.filter(({ seen }) => seen.has(mutant.id)).sort((a, b) => a.ms - b.ms);
  for (const test of able) {
    const { failed, isLate } = await ask(dist, mutant, test);
    if (failed !== undefined) return { mutant, status: isLate ? 'timeout' : 'killed', by: `${test.file}: ${failed}` };
  }
  return { mutant, status: able.length === 0 ? 'unseen' : 'survived' };
}

interface Answer {
  /** The first test that failed. */
  readonly failed?: string;
  readonly isLate: boolean;
}

/**
 * A machine that is slow, or stands still for a while, kills nothing: after a timeout the test must be quick without the
 * mutant, and late with it again.
 */
async function ask(dist: string, mutant: Mutant, { file, ms }: Asked): Promise<Answer> {
  let timeoutMs = Math.max(LEAST_TIMEOUT_MS, ms * TIMEOUT_FACTOR);
  let timesLate = 0;
  for (let tries = 1; ; tries++) {
    const answer = await runFile(dist, file, { MUTANT: mutant.id }, timeoutMs);
    if (!answer.isLate || ++timesLate === 2 || tries === MOST_TRIES) return answer;
    const startedMs = performance.now();
    await runFile(dist, file, {}, MOST_TIMEOUT_MS);
    const usualMs = performance.now() - startedMs;
    if (usualMs * (TIMEOUT_FACTOR / 2) < timeoutMs) continue;
    timesLate = 0;
    timeoutMs = Math.min(MOST_TIMEOUT_MS, usualMs * TIMEOUT_FACTOR);
  }
}

async function runFile(dist: string, file: string, env: Record<string, string>, timeoutMs: number): Promise<Answer> {
  const child = spawn(process.execPath, ['--import', SWITCHES, file], {
    cwd: dist,
    env: { ...process.env, SLUICEGATE_SEED: '1', ...env },
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  let failed = '';
  const names = child.stdio[3] as Readable;
  names.setEncoding('utf8').on('data', (text: string) => {
    failed += text;
  });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill('SIGKILL');
  }, timeoutMs);
  const [code] = (await once(child, 'close')) as [number | null];
  clearTimeout(timer);
  if (code === 0) return { isLate };
  return { failed: isLate ? 'does not end' : failed, isLate };
}
