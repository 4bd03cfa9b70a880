import { performance } from 'node:perf_hooks';
import { Child } from './child.ts';
import { runEnvironment } from './disturbance.ts';
import type { PartAnswer, PartTask } from './part-process.ts';
import type { PartRecord } from './results.ts';
import type { Mode, Part } from './suite.ts';
import { describeError } from './within.ts';

const PART_LIMIT_MS = 180_000;

/**
 * Run a part in a process of its own: nothing of the others is in its way, and it can be ended whatever it does. A part
 * that fails is one that has no figures; the others still have theirs.
 */
export async function runPart(suites: URL, suite: string, part: Part, mode: Mode): Promise<PartRecord> {
  const { name, title, limitMs = PART_LIMIT_MS } = part;
  const startedMs = performance.now();
  const child = new Child<PartAnswer>(new URL('./part-process.js', import.meta.url), runEnvironment());
  try {
    const task: PartTask = { suites: suites.href, suite, part: name, mode };
    const { elapsedMs, result, error } = await child.ask(task, limitMs);
    if (result === undefined) return failedPart(name, title, elapsedMs, error);
    const { tables, targets, charts = [], failures = [] } = result;
    return { name, title, elapsedMs, tables, targets, charts, failures, error: undefined };
  } catch (error) {
    return failedPart(name, title, performance.now() - startedMs, describeError(error));
  } finally {
    child.kill();
  }
}

function failedPart(name: string, title: string, elapsedMs: number, error: string): PartRecord {
  return { name, title, elapsedMs, tables: [], targets: [], charts: [], failures: [], error };
}
