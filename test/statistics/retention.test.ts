import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { FileName } from '../../lib/statistics/file-name.ts';
import { saveStatistics } from '../../lib/statistics/save.ts';
import { someStatistics, temporaryFolder } from './support.ts';

const DAY_MS = 86_400_000;
const NOW_MS = Date.UTC(2026, 0, 31, 12);

function put(folder: string, ...names: string[]): void {
  for (const name of names) {
    writeFileSync(join(folder, name), 'old');
    // By the clock of the file system all of them are old.
    utimesSync(join(folder, name), 0, 0);
  }
}

describe('retention', () => {
  it('removes what was written for the same path long ago, and nothing else', async (t) => {
    const folder = temporaryFolder(t as TestContext);
    const outside = join(temporaryFolder(t as TestContext), 'outside.json');
    writeFileSync(outside, 'precious');
    const old = ['stats-2026-01-20.json.gz', 'stats-2025-12-31.json.gz', 'stats-1999-01-01.json.gz'];
    const kept = [
      // Young enough: seven days back it was still this day.
      'stats-2026-01-24.json.gz',
      'stats-2026-01-30.json.gz',
      // Of another day than any.
      'stats-2025-13-01.json.gz',
      'stats-2025-02-30.json.gz',
      // Of another name.
      'stats-2025-01-01.json',
      'stats-2025-01-01.json.gz.bak',
      'mystats-2025-01-01.json.gz',
      'stats-2025-01-01xjson.gz',
      'stats-20250101.json.gz',
      'stats-2025-01-01T00-00-00.000Z.json.gz',
      'stats-{date}.json.gz',
      'stats.json.gz',
      'STATS-2025-01-01.json.gz',
    ];
    put(folder, ...old, ...kept);
    mkdirSync(join(folder, 'stats-2025-01-02.json.gz'));
    put(join(folder, 'stats-2025-01-02.json.gz'), 'stats-2025-01-01.json.gz');
    symlinkSync(outside, join(folder, 'stats-2025-01-03.json.gz'));
    symlinkSync(join(folder, 'gone'), join(folder, 'stats-2025-01-04.json.gz'));

    const options = { format: 'json', gzip: true, retentionDays: 7 } as const;
    await saveStatistics(someStatistics(), join(folder, 'stats-{date}.json'), options, NOW_MS);
    assert.deepEqual(
      readdirSync(folder).sort(),
      [
        ...kept,
        'stats-2025-01-02.json.gz',
        'stats-2025-01-03.json.gz',
        'stats-2025-01-04.json.gz',
        'stats-2026-01-31.json.gz',
      ].sort(),
    );
    assert.equal(readFileSync(outside, 'utf8'), 'precious');
    assert.deepEqual(readdirSync(join(folder, 'stats-2025-01-02.json.gz')), ['stats-2025-01-01.json.gz']);
  });

  it('removes nothing unless it is asked to, or without a time in the name', async (t) => {
    const folder = temporaryFolder(t as TestContext);
    const names = ['a-2001-01-01.json', 'a-2001-01-01T00-00-00.000Z.json', 'a.json', 'b.json'];
    put(folder, ...names);
    const json = { format: 'json', gzip: false } as const;
    await saveStatistics(
      someStatistics(),
      join(folder, 'a-{date}.json'),
      { ...json, retentionDays: undefined },
      NOW_MS,
    );
    await saveStatistics(someStatistics(), join(folder, 'b.json'), { ...json, retentionDays: 1 }, NOW_MS);
    assert.deepEqual(readdirSync(folder).sort(), [...names, 'a-2026-01-31.json'].sort());
  });

  it('keeps each file for as long as was asked, to the millisecond', async (t) => {
    const folder = temporaryFolder(t as TestContext);
    const path = join(folder, '{timestamp}');
    const options = { format: 'jsonl', gzip: false, retentionDays: 0.5 } as const;
    const first = await saveStatistics(someStatistics(), path, options, NOW_MS);
    const second = await saveStatistics(someStatistics(), path, options, NOW_MS + DAY_MS / 2);
    assert.equal(readdirSync(folder).length, 2);
    await saveStatistics(someStatistics(), path, options, NOW_MS + DAY_MS / 2 + 1);
    const names = readdirSync(folder).map((name) => join(folder, name));
    assert.deepEqual([names.includes(first), names.includes(second)], [false, true]);
  });
});

describe('the names of files', () => {
  it('are known again with their time, whatever stands around it', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 12 }).filter((part) => !/[/\\{}\0]/.test(part));
    // The years that ISO 8601 writes with four digits.
    const time = fc.integer({ min: Date.UTC(0, 0, 1) + 6e13, max: Date.UTC(9999, 0, 1) });
    fc.assert(
      fc.property(text, text, time, fc.boolean(), (before, after, dateMs, gzip) => {
        const at = new FileName(`/x/${before}{timestamp}${after}`, gzip);
        const [, folder, name = ''] = /^(.*)[/\\](.*)$/s.exec(at.at(dateMs)) ?? [];
        assert.ok(folder?.endsWith('x'));
        assert.equal(at.lastMomentOf(name), dateMs);
        const of = new FileName(`/x/${before}{date}${after}`, gzip);
        const last = of.lastMomentOf(/^(.*)[/\\](.*)$/s.exec(of.at(dateMs))?.[2] ?? '') ?? Number.NaN;
        assert.ok(last >= dateMs && last - dateMs < DAY_MS);
      }),
    );
  });
});
