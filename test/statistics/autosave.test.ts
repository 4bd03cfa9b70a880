import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { Autosave } from '../../lib/statistics/autosave.ts';
import type { Statistics } from '../../lib/statistics/statistics.ts';
import { StatisticsError } from '../../lib/statistics/statistics-error.ts';
import { START, someStatistics, temporaryFolder } from './support.ts';

/** Automatic saving of statistics that count how often they were taken; its ticks come when the test says so. */
function autosaveTo(path: string, every?: 'real') {
  const errors: unknown[] = [];
  const ticks = { taken: 0, isStopped: false, intervalMs: 0, tick: () => {} };
  const autosave = new Autosave({
    options: { path, format: 'jsonl', gzip: false, retentionDays: undefined, intervalMs: 100 },
    take: () => someStatistics(++ticks.taken),
    onError: (error) => errors.push(error),
    dateMs: () => START.dateMs,
    ...(every === 'real'
      ? {}
      : {
          every: (tick, ms) => {
            Object.assign(ticks, { tick, intervalMs: ms });
            return () => {
              ticks.isStopped = true;
            };
          },
        }),
  });
  return { autosave, ticks, errors };
}

function savedIn(path: string): number[] {
  const lines = readFileSync(path, 'utf8').slice(0, -1).split('\n');
  return lines.map((line) => (JSON.parse(line) as Statistics).callsSent);
}

/** Wait for something that another part of the process does. */
async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve));
}

describe('automatic saving', () => {
  it('saves at every tick, and a last time when it is closed', async (t) => {
    const path = join(temporaryFolder(t as TestContext), 'stats.jsonl');
    const { autosave, ticks, errors } = autosaveTo(path);
    assert.equal(ticks.intervalMs, 100);
    ticks.tick();
    await until(() => existsSync(path));
    const closed = autosave.close();
    assert.equal(ticks.isStopped, true);
    assert.equal(autosave.close(), closed);
    await closed;
    assert.deepEqual(savedIn(path), [1, 2]);
    ticks.tick();
    await autosave.close();
    assert.equal(ticks.taken, 2);
    assert.deepEqual(errors, []);
  });

  it('misses ticks while a save still runs', async (t) => {
    const path = join(temporaryFolder(t as TestContext), 'stats.jsonl');
    const { autosave, ticks } = autosaveTo(path);
    for (let i = 0; i < 10; i++) ticks.tick();
    await autosave.close();
    assert.deepEqual(savedIn(path), [1, 2]);
  });

  it('goes on after a save that failed, and says so', async (t) => {
    const path = join(temporaryFolder(t as TestContext), 'stats.jsonl');
    mkdirSync(path);
    const { autosave, ticks, errors } = autosaveTo(path);
    ticks.tick();
    await until(() => errors.length === 1);
    assert.ok(errors[0] instanceof StatisticsError);
    rmdirSync(path);
    // The tick that comes as soon as the failed save is over.
    await until(() => {
      ticks.tick();
      return existsSync(path);
    });
    await autosave.close();
    assert.equal(errors.length, 1);
    assert.ok(savedIn(path).length >= 2);
  });

  it('tells of a last save that failed, and comes to its end', async (t) => {
    const folder = temporaryFolder(t as TestContext);
    const { autosave, errors } = autosaveTo(folder);
    await autosave.close();
    assert.equal(errors.length, 1);
    assert.deepEqual(readdirSync(folder), []);
  });

  it('has a timer of its own', async (t) => {
    const path = join(temporaryFolder(t as TestContext), 'stats.jsonl');
    const { autosave } = autosaveTo(path, 'real');
    await until(() => existsSync(path) && savedIn(path).length >= 2);
    await autosave.close();
    const saves = savedIn(path).length;
    assert.ok(saves >= 3);
    assert.deepEqual(
      savedIn(path),
      Array.from({ length: saves }, (_, i) => i + 1),
    );
  });
});
