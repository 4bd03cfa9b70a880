import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import * as v from 'valibot';
import {
  resolvePath,
  resolveSave,
  resolveStatistics,
  saveOptionsSchema,
  statisticsSchema,
} from '../../lib/statistics/schema.ts';

const CWD = resolve('/data');

function messageOf(schema: v.GenericSchema, given: unknown): string | undefined {
  const result = v.safeParse(schema, given, { abortEarly: true });
  return result.success ? undefined : `${v.getDotPath(result.issues[0])}: ${result.issues[0].message}`;
}

describe('the options of statistics', () => {
  it('have defaults', () => {
    assert.deepEqual(resolveStatistics(v.parse(statisticsSchema, { path: 'stats.json' }), CWD), {
      path: resolve(CWD, 'stats.json'),
      format: 'json',
      gzip: false,
      retentionDays: undefined,
      intervalMs: 60_000,
    });
    assert.deepEqual(resolveSave({}), { format: 'json', gzip: false, retentionDays: undefined });
  });

  it('are taken as they are given', () => {
    const path = resolve(CWD, 'a b', 'stats-{date}.csv');
    for (const given of [path, pathToFileURL(path)]) {
      const all = { path: given, format: 'csv', gzip: true, retentionDays: 7, intervalMs: 1_000 };
      assert.deepEqual(resolveStatistics(v.parse(statisticsSchema, all), CWD), { ...all, path });
      assert.equal(resolvePath(given, CWD), path);
    }
    const {
      path: _,
      intervalMs: __,
      ...save
    } = { path, intervalMs: 1, format: 'jsonl', gzip: true, retentionDays: 0.5 };
    assert.deepEqual(resolveSave(v.parse(saveOptionsSchema, save)), save);
    assert.equal(messageOf(saveOptionsSchema, {}), undefined);
  });

  it('that are wrong are named, with what is allowed', () => {
    const wrong: readonly (readonly [unknown, RegExp])[] = [
      [{}, /^path: .*path/],
      [{ path: 's', format: 'xml' }, /^format: "json" or "jsonl" or "csv"$/],
      [{ path: 's', gzip: 1 }, /^gzip: true or false$/],
      [{ path: 's', retentionDays: 0 }, /^retentionDays: a number of days more than 0 and at most 36500$/],
      [{ path: 's', retentionDays: Number.NaN }, /^retentionDays: /],
      [{ path: 's', intervalMs: 99 }, /^intervalMs: a number of milliseconds from 100 to 2147483647$/],
      [{ path: 's', intervalMs: 2 ** 31 }, /^intervalMs: /],
      [{ path: 's', interval: 5 }, /^interval: "intervalMs", if that was meant/],
      ['stats.json', /a plain object \{ path \}/],
    ];
    for (const [given, message] of wrong) assert.match(messageOf(statisticsSchema, given) ?? 'none', message);
    assert.match(messageOf(saveOptionsSchema, { path: 'x' }) ?? 'none', /^path: one of format, gzip, retentionDays$/);
  });

  it('name a file, with at most one time in its name', () => {
    const wrong = ['', '.', '..', 'a/', 'a/..', 'a\0b', '{date}/a', 'a-{date}-{timestamp}', '{date}{date}', 5, null];
    for (const path of [...wrong, new URL('https://api.example.com/stats.json'), undefined]) {
      assert.throws(() => resolvePath(path, CWD), { code: 'INVALID_OPTION', option: 'path' }, String(path));
      assert.match(messageOf(statisticsSchema, { path }) ?? 'none', /^path: /);
    }
    for (const path of ['a', 'a.json', '../a', '{date}', 'x/{timestamp}.gz', '{other}', '.hidden']) {
      assert.equal(resolvePath(path, CWD), resolve(CWD, path));
    }
  });
});
