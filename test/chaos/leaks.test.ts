import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Inventory, LeakOrder, LeakReport } from './fixtures/leak-run.ts';

const LONG = process.env.SLUICEGATE_LONG === '1';
const BATCHES = LONG ? 5_000 : 500;
const ENGINES = LONG ? 500 : 50;

/**
 * Growth that is none, per batch of 20 items and per engine. One outcome of each item that is kept, without its value,
 * is 2,400 bytes; a list of batches is 8 a batch. The constant is for what comes once: compiled code, larger tables.
 */
const BATCH_BYTES = 1_500;
const ENGINE_BYTES = 10_000;
const ONCE_BYTES = 400_000;

const run = promisify(execFile);

/** In a process of its own, where nothing of the test runner comes and goes. */
async function takeReport(order: LeakOrder): Promise<LeakReport> {
  const program = fileURLToPath(new URL('./fixtures/leak-run.js', import.meta.url));
  const { stdout, stderr } = await run(process.execPath, ['--expose-gc', program, JSON.stringify(order)]);
  assert.equal(stderr, '');
  return JSON.parse(stdout) as LeakReport;
}

/** What there is more of at the end than there was. */
function findLeaks(inventories: readonly Inventory[], rounds: number, roundBytes: number): string[] {
  const leaks: string[] = [];
  const half = Math.floor(inventories.length / 2);
  // What comes once, such as a thread of the system's own, is there in the first half; what leaks goes on.
  for (const [name, now] of Object.entries(inventories.at(-1)?.counts ?? {})) {
    const before = Math.max(...inventories.slice(0, half).map(({ counts }) => counts[name] ?? 0));
    if (now > before) leaks.push(`${name}: ${before} -> ${now}`);
  }
  // The first one may still be warming up. Medians: a collection may leave something for the next one.
  const allowed = ONCE_BYTES + (roundBytes * rounds) / 2;
  for (const name of ['heapBytes', 'externalBytes', 'threadHeapBytes'] as const) {
    const early = median(inventories.slice(1, half).map((inventory) => inventory[name]));
    const late = median(inventories.slice(half + 1).map((inventory) => inventory[name]));
    if (late - early > allowed) leaks.push(`${name}: ${early} -> ${late}, allowed ${allowed} more`);
  }
  return leaks;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

function tell(t: TestContext, name: string, inventories: readonly Inventory[]): void {
  const kilobytes = (key: 'heapBytes' | 'externalBytes' | 'threadHeapBytes') =>
    inventories.map((inventory) => Math.round(inventory[key] / 1000)).join(' ');
  t.diagnostic(`${name}: heap kB ${kilobytes('heapBytes')}`);
  t.diagnostic(`${name}: external kB ${kilobytes('externalBytes')}; of a thread ${kilobytes('threadHeapBytes')}`);
}

test(`${BATCHES} batches and ${ENGINES} engines leave nothing behind`, async (t) => {
  const { batches, engines, ends } = await takeReport({ batches: BATCHES, engines: ENGINES, leaks: false });
  tell(t, 'batches', batches);
  tell(t, 'engines', engines);
  t.diagnostic(JSON.stringify(ends));
  assert.deepEqual(findLeaks(batches, BATCHES, BATCH_BYTES), []);
  assert.deepEqual(findLeaks(engines, ENGINES, ENGINE_BYTES), []);
  // They have been used in every way.
  for (const end of ['ok', 'ABORTED', 'IN_DOUBT', 'HTTP_STATUS', 'NETWORK', 'RATE_LIMITED', 'refused options']) {
    assert.ok((ends[end] ?? 0) > 0, `nothing ended as ${end}`);
  }
});

test('what is left on purpose is found', async (t) => {
  const { batches, engines } = await takeReport({ batches: 50, engines: 8, leaks: true });
  tell(t, 'batches', batches);
  const found = [...findLeaks(batches, 50, BATCH_BYTES), ...findLeaks(engines, 8, ENGINE_BYTES)];
  const names = found.map((leak) => leak.split(':')[0]);
  for (const name of ['listenersOnSignal', 'heapBytes', 'threads', 'files', 'sockets']) {
    assert.ok(names.includes(name), `${name} is not among ${found.join('; ')}`);
  }
});
