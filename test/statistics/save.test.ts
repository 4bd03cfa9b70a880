import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { ERROR_CODES } from '../../lib/errors.ts';
import type { ResolvedSave } from '../../lib/statistics/options.ts';
import { saveStatistics } from '../../lib/statistics/save.ts';
import type { Statistics } from '../../lib/statistics/statistics.ts';
import { StatisticsError } from '../../lib/statistics/statistics-error.ts';
import { runThread } from '../shared/fixtures/run-threads.ts';
import type { ReaderData } from './fixtures/reader.ts';
import { START, someStatistics, temporaryFolder } from './support.ts';

const JSON_ONLY: ResolvedSave = { format: 'json', gzip: false, retentionDays: undefined };
const save = (statistics: Statistics, path: string, options: Partial<ResolvedSave> = {}): Promise<string> =>
  saveStatistics(statistics, path, { ...JSON_ONLY, ...options }, START.dateMs);

/** The cells of CSV as RFC 4180 describes it, with line breaks of one character. */
function parseCsv(text: string): string[][] {
  const rows = [['']];
  const put = (row: string[], more: string) => row.push((row.pop() ?? '') + more);
  for (const [part] of text.replace(/\n$/, '').matchAll(/"(?:[^"]|"")*"|[^",\n]+|[,\n]/g)) {
    const row = rows.at(-1) ?? [];
    if (part === ',') row.push('');
    else if (part === '\n') rows.push(['']);
    else put(row, part.startsWith('"') ? part.slice(1, -1).replaceAll('""', '"') : part);
  }
  return rows;
}

describe('saved statistics', () => {
  it('can be read again from JSON: the last ones', async (t) => {
    const path = join(temporaryFolder(t as TestContext), 'stats.json');
    assert.equal(await save(someStatistics(5), path), path);
    assert.equal(await save(someStatistics(6), path), path);
    assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), someStatistics(6));
  });

  it('can be read again from JSON Lines: all of them, a line each', async (t) => {
    const path = join(temporaryFolder(t as TestContext), 'stats.jsonl');
    for (const calls of [1, 2, 3]) await save(someStatistics(calls), path, { format: 'jsonl' });
    const text = readFileSync(path, 'utf8');
    assert.ok(text.endsWith('\n'));
    assert.deepEqual(
      text
        .slice(0, -1)
        .split('\n')
        .map((line) => JSON.parse(line)),
      [1, 2, 3].map(someStatistics),
    );
  });

  it('can be read again from CSV: the counts, in a row each under one header', async (t) => {
    const path = join(temporaryFolder(t as TestContext), 'stats.csv');
    for (const calls of [1, 2]) await save(someStatistics(calls), path, { format: 'csv' });
    const [header = [], ...rows] = parseCsv(readFileSync(path, 'utf8'));
    const figures = ['min', 'mean', 'p50', 'p90', 'p99', 'max'];
    assert.deepEqual(header, [
      ...['startedAt', 'savedAt', 'elapsedMs', 'callsSent', 'succeeded', 'failed', 'errorRate'],
      ...['refused', 'cancelled', 'retried', 'maxCallsPerSecond'],
      ...figures.map((figure) => `waitMs.${figure}`),
      ...figures.map((figure) => `durationMs.${figure}`),
      ...['rateLimitEvents', 'circuitTransitions', 'batches'],
      ...['low', 'medium', 'high', 'critical'].map((severity) => `errors.${severity}`),
      ...ERROR_CODES.map((code) => `errors.${code}`),
      'errors.byType',
    ]);
    const saved = rows.map((row) => Object.fromEntries(header.map((name, at) => [name, row[at]])));
    assert.equal(saved.length, 2);
    for (const [at, row] of saved.entries()) {
      const { errors, ...expected } = someStatistics(at + 1);
      assert.equal(rows[at]?.length, header.length);
      assert.equal(row.savedAt, expected.savedAt);
      assert.equal(Number(row.callsSent), at + 1);
      assert.equal(Number(row.failed), 2);
      assert.equal(Number(row.errorRate), expected.errorRate);
      assert.equal(Number(row['waitMs.mean']), 2.5);
      assert.equal(Number(row.rateLimitEvents), 1);
      assert.equal(Number(row['errors.HTTP_STATUS']), 2);
      assert.equal(Number(row['errors.TIMEOUT']), 0);
      assert.equal(Number(row['errors.high']), 1);
      assert.deepEqual(JSON.parse(row['errors.byType'] ?? ''), errors.byType);
    }
  });

  it('in CSV have no cell that a spreadsheet takes for a formula', async (t) => {
    const path = join(temporaryFolder(t as TestContext), 'stats.csv');
    const statistics = someStatistics();
    const byType = Object.fromEntries(['=1+1', '+1', '-1', '@x', '\tx', '\rx', '=x"'].map((type) => [type, 1]));
    await save({ ...statistics, errors: { ...statistics.errors, byType } }, path, { format: 'csv' });
    const cells = parseCsv(readFileSync(path, 'utf8')).flat();
    assert.deepEqual(JSON.parse(cells.at(-1) ?? ''), byType);
    for (const cell of cells) assert.match(cell, /^[\w{]/);
  });

  for (const format of ['json', 'jsonl', 'csv'] as const) {
    it(`are the same when ${format} is compressed, and the name says so`, async (t) => {
      const folder = temporaryFolder(t as TestContext);
      const path = join(folder, `stats.${format}`);
      for (const calls of [1, 2, 3]) {
        await save(someStatistics(calls), path, { format });
        assert.equal(await save(someStatistics(calls), path, { format, gzip: true }), `${path}.gz`);
      }
      assert.equal(gunzipSync(readFileSync(`${path}.gz`)).toString(), readFileSync(path, 'utf8'));
      assert.equal(await save(someStatistics(4), `${path}.gz`, { format, gzip: true }), `${path}.gz`);
      assert.deepEqual(readdirSync(folder).sort(), [`stats.${format}`, `stats.${format}.gz`]);
    });
  }

  it('are named by the time, and their folder is made', async (t) => {
    const folder = join(temporaryFolder(t as TestContext), 'a', 'b');
    assert.equal(await save(someStatistics(), join(folder, 's-{date}.json')), join(folder, 's-2026-01-31.json'));
    const file = await save(someStatistics(), join(folder, '{timestamp}.json'), { gzip: true });
    assert.equal(file, join(folder, '2026-01-31T08-15-00.000Z.json.gz'));
    assert.deepEqual(JSON.parse(gunzipSync(readFileSync(file)).toString()), someStatistics());
  });

  it('lose no line when they are saved at the same time', async (t) => {
    const path = join(temporaryFolder(t as TestContext), 'stats.jsonl');
    const calls = Array.from({ length: 20 }, (_, i) => i);
    await Promise.all(calls.map((count) => save(someStatistics(count), path, { format: 'jsonl' })));
    const lines = readFileSync(path, 'utf8').slice(0, -1).split('\n');
    assert.deepEqual(
      lines.map((line) => (JSON.parse(line) as Statistics).callsSent),
      calls,
    );
  });
});

describe('a file of statistics', () => {
  /** What would be seen in halves, if it could be. */
  const FILLER = { filler: 'x'.repeat(1_000_000) };
  const MIN_SEEN = 20;
  const PATIENCE_MS = 30_000;

  for (const format of ['json', 'jsonl'] as const) {
    it(`is never seen in halves: ${format}`, async (t) => {
      const path = join(temporaryFolder(t as TestContext), `stats.${format}`);
      // JSON Lines of some length, which grow by lines that are not.
      await save({ ...someStatistics(), settings: FILLER }, path, { format });
      const control = new Int32Array(new SharedArrayBuffer(8));
      const reading = runThread<{ reads: number; failure: string | undefined }>(
        new URL('./fixtures/reader.js', import.meta.url),
        { path, control } satisfies ReaderData,
      );
      const endMs = performance.now() + PATIENCE_MS;
      const goesOn = () => control[1] === 0 && Atomics.load(control, 0) < MIN_SEEN && performance.now() < endMs;
      for (let calls = 0; goesOn(); calls++) {
        await save({ ...someStatistics(calls), settings: format === 'json' ? FILLER : {} }, path, { format });
      }
      Atomics.store(control, 1, 1);
      const { reads, failure } = await reading;
      assert.equal(failure, undefined);
      assert.ok(Atomics.load(control, 0) >= MIN_SEEN, `of ${reads} reads only ${control[0]} saw something new`);
    });
  }

  it('is whole after its writer was killed', async (t) => {
    const path = join(temporaryFolder(t as TestContext), 'stats.json');
    const module = fileURLToPath(new URL('./fixtures/saver.js', import.meta.url));
    const writer = spawn(process.execPath, [module, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = once(writer, 'exit');
    let saves = 0;
    for await (const text of writer.stdout) {
      saves = Number(String(text).trim().split('\n').at(-1));
      if (saves >= 5) writer.kill('SIGKILL');
    }
    await exited;
    const { callsSent } = JSON.parse(readFileSync(path, 'utf8')) as Statistics;
    assert.ok(callsSent >= saves && saves >= 5);
  });

  /** The file stays, nothing lies beside it, and the error says which file it was. */
  async function assertKept(folder: string, path: string, statistics: Statistics, options: Partial<ResolvedSave>) {
    const before = readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]);
    await assert.rejects(save(statistics, path, options), (error) => {
      assert.ok(error instanceof StatisticsError);
      assert.equal(error.code, 'STATISTICS');
      assert.equal(error.path, path);
      assert.ok(error.message.includes(path), error.message);
      assert.ok(error.cause instanceof Error);
      return true;
    });
    assert.deepEqual(
      readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]),
      before,
    );
  }

  for (const format of ['json', 'jsonl', 'csv'] as const) {
    it(`stays as it was when saving fails: ${format}`, async (t) => {
      const folder = temporaryFolder(t as TestContext);
      const path = join(folder, 'stats');
      await save(someStatistics(), path, { format });
      // No number of JSON or of CSV: the copy that is to grow is there already when this is found.
      const callsSent = { toJSON: () => assert.fail('no'), toString: () => assert.fail('no') } as unknown as number;
      await assertKept(folder, path, { ...someStatistics(), callsSent }, { format });
      // So long that there is no room for a temporary name.
      const long = join(folder, 'x'.repeat(230));
      writeFileSync(long, 'old');
      await assertKept(folder, long, someStatistics(), { format });
      await save(someStatistics(), path, { format });
    });
  }

  it('that a link leads to is written there, and the link stays', async (t) => {
    const folder = temporaryFolder(t as TestContext);
    const target = join(temporaryFolder(t as TestContext), 'target.jsonl');
    const link = join(folder, 'stats.jsonl');
    writeFileSync(target, '{}\n');
    symlinkSync(target, link);
    await save(someStatistics(), link, { format: 'jsonl' });
    assert.ok(lstatSync(link).isSymbolicLink());
    assert.equal(readFileSync(target, 'utf8').split('\n').length, 3);
    assert.deepEqual(readdirSync(folder), ['stats.jsonl']);
  });

  it('cannot be a device', { skip: process.platform === 'win32' }, async (t) => {
    // A link, so that a mistake would harm nothing but the link.
    const link = join(temporaryFolder(t as TestContext), 'null');
    symlinkSync('/dev/null', link);
    await assert.rejects(save(someStatistics(), link), { code: 'STATISTICS', path: link });
    assert.ok(lstatSync('/dev/null').isCharacterDevice());
  });

  it('cannot be a folder, nor stand below a file', async (t) => {
    const folder = temporaryFolder(t as TestContext);
    const inside = join(folder, 'inside');
    mkdirSync(inside);
    for (const format of ['json', 'jsonl'] as const) {
      await assert.rejects(save(someStatistics(), inside, { format }), { code: 'STATISTICS', path: inside });
      assert.deepEqual(readdirSync(folder), ['inside']);
    }
    const file = join(folder, 'file');
    writeFileSync(file, 'old');
    const below = join(file, 'stats.json');
    await assert.rejects(save(someStatistics(), below), { code: 'STATISTICS', path: below });
    assert.equal(readFileSync(file, 'utf8'), 'old');
  });

  it('that is compressed grows by what is compressed', async (t) => {
    const folder = temporaryFolder(t as TestContext);
    const path = join(folder, 'stats.jsonl.gz');
    writeFileSync(path, gzipSync('{}\n'));
    await save(someStatistics(), path, { format: 'jsonl', gzip: true });
    assert.equal(gunzipSync(readFileSync(path)).toString().split('\n').length, 3);
  });
});
