import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Recorder, type Totals } from '../../lib/statistics/recorder.ts';
import type { Statistics } from '../../lib/statistics/statistics.ts';

export const START = { dateMs: Date.UTC(2026, 0, 31, 8, 15), nowNs: 5_000_000_000_000n };

const NO_LATENCY = { min: 0, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 };

/** What the engine would count. */
export function totalsOf(given: Partial<Totals> = {}): Totals {
  const none = { callsSent: 0, succeeded: 0, failed: 0, refused: 0, cancelled: 0, retried: 0 };
  return { ...none, waitMs: NO_LATENCY, durationMs: NO_LATENCY, ...given };
}

/** The moment so many seconds after the start. */
export function after(seconds: number): { dateMs: number; nowNs: bigint } {
  return { dateMs: START.dateMs + seconds * 1e3, nowNs: START.nowNs + BigInt(Math.round(seconds * 1e9)) };
}

/** A thread's calls, as the test likes them. */
export class FakeCalls {
  #new: [number, number][] = [];

  add(seconds: number, calls: number): void {
    this.#new.push([Number(START.nowNs / 1_000_000_000n) + seconds, calls]);
  }

  read(): [number, number][] {
    return this.#new.splice(0);
  }
}

export function newRecorder(settings: Record<string, unknown> = {}): { recorder: Recorder; calls: FakeCalls } {
  const calls = new FakeCalls();
  return { recorder: new Recorder({ start: START, calls, settings }), calls };
}

/** Statistics of an engine that has done a little of everything. */
export function someStatistics(callsSent = 12): Statistics {
  const { recorder, calls } = newRecorder({ threads: 2, rate: [{ limit: 20, windowMs: 1000 }] });
  calls.add(0, callsSent);
  recorder.onFailure({ code: 'HTTP_STATUS', type: 'ServerError', severity: 'medium' });
  recorder.onFailure({ code: 'HTTP_STATUS', type: '=HYPERLINK("evil"),"x\n', severity: 'high' });
  recorder.onPaused({ delayMs: 1_000, eventsInRow: 1, causes: ['refused'] }, after(0.5).dateMs);
  recorder.onCircuit({ from: 'closed', to: 'open', openMs: 60_000 }, after(0.6).dateMs);
  recorder.onBatch({ batch: 1, items: 12, failed: 2, elapsedMs: 700 }, after(0.7).dateMs);
  const waitMs = { min: 1, mean: 2.5, p50: 2, p90: 3, p99: 4, max: 5 };
  return recorder.snapshot(totalsOf({ callsSent, succeeded: 10, failed: 2, refused: 1, waitMs }), after(1.25));
}

/** A folder that is removed after the test. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluicegate-statistics-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
