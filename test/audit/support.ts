import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type AuditOptions, type AuditVerdict, audit, type RequestTimes } from '../../lib/audit/audit.ts';
import { readTrace } from '../../lib/audit/read-trace.ts';
import type { EngineOptions, TraceLine } from '../../lib/index.ts';
import { makeCustomEngine } from '../support/engine-bench.ts';
import { CELLS, type Script } from './fixtures/script.ts';

/** The path of a trace that is gone when the test ends. */
export function tracePath(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluicegate-trace-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, 'trace.jsonl');
}

/** The lines of a trace between its first and its last one. */
export function linesOf(path: string): TraceLine[] {
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  return lines.slice(1, -1).map((line) => JSON.parse(line) as TraceLine);
}

/** What the audit reads of the requests of a trace. */
export async function timesOf(path: string): Promise<RequestTimes[]> {
  const times: RequestTimes[] = [];
  for await (const { entry } of readTrace(path)) {
    if (entry.kind === 'attempt' && entry.times !== undefined) times.push(entry.times);
  }
  return times;
}

export async function auditOf(path: string, options: AuditOptions): Promise<AuditVerdict> {
  return audit(await timesOf(path), options);
}

/** Which of the four times there are. */
export function timesIn(line: TraceLine | undefined): string[] {
  return Object.keys(line ?? {}).filter((key) => key.endsWith('Ns'));
}

/** An engine that keeps a trace and plays scripts, and the cells that it shares with them. */
export function makeStage(t: TestContext, options: EngineOptions = {}, cells = makeCells()) {
  const trace = tracePath(t);
  const handler = new URL('./fixtures/script.js', import.meta.url);
  const engine = makeCustomEngine<Script, void>(t, { handler, handlerData: cells, trace, circuit: false, ...options });
  return { engine, trace, cells };
}

export function makeCells(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4 * CELLS));
}

/** Wait until something is as it should be. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise(setImmediate);
}
