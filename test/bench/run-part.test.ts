import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { describeEnvironment } from '../../bench/harness/environment.ts';
import type { PlainResults } from '../../bench/harness/plain-results.ts';
import { writeResults } from '../../bench/harness/results.ts';
import { runPart } from '../../bench/harness/run-part.ts';
import { selectSuites } from '../../bench/harness/select.ts';

const SUITES = new URL('./fixtures/suites/', import.meta.url);

describe('runPart', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluicegate-bench-test-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  const run = async (name: string) => {
    const [part] = (await selectSuites(SUITES, [`odd/${name}`]))[0]?.parts ?? [];
    assert.ok(part);
    return runPart(SUITES, 'odd', part, { isQuick: true });
  };

  it('brings back what a part measured, with the peers that failed', async () => {
    const { tables, failures, error } = await run('good');
    assert.equal(error, undefined);
    assert.deepEqual(tables, [{ title: 'table', rows: [{ figure: 1 }] }]);
    assert.deepEqual(failures, [{ who: 'a peer', error: 'it failed' }]);
  });

  it('says why a part has no figures', async () => {
    const { tables, error } = await run('throws');
    assert.deepEqual(tables, []);
    assert.match(error ?? '', /no figures[\s\S]*Caused by: a cause/);
  });

  it('survives a part that ends its process', async () => {
    assert.match((await run('exits')).error ?? '', /ended without an answer, with code 3/);
  });

  it('ends a part that hangs, with all that it has started', async () => {
    const file = join(folder, 'pid');
    process.env.SLUICEGATE_TEST_PID_FILE = file;
    assert.match((await run('hangs')).error ?? '', /Not done after 6 s, and ended/);
    const pid = Number(readFileSync(file, 'utf8'));
    // However slow the machine is; a process that stays ends with the time of this test.
    while (isAlive(pid)) await sleep(5);
  });

  it('has all that is known in the file while there are parts to come', async () => {
    const part = await run('good');
    const results = { environment: describeEnvironment(), elapsedMs: 1, isQuick: true };
    const suites = [{ name: 'odd', title: 'odd parts', parts: [part] }];
    const { json, page } = writeResults({ ...results, isComplete: false, suites }, pathToFileURL(`${folder}/`));
    const read = JSON.parse(readFileSync(json, 'utf8')) as PlainResults;
    assert.equal(read.isComplete, false);
    assert.deepEqual(read.suites[0]?.rows, [{ part: 'good', table: 'table', figure: 1 }]);
    assert.deepEqual(read.suites[0]?.parts[0]?.failures, [{ who: 'a peer', error: 'it failed' }]);
    const html = readFileSync(page, 'utf8');
    assert.match(html, /Not complete/);
    assert.match(html, /Failed: a peer: it failed/);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A process that has ended and that nobody has waited for is not alive.
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
