import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import fc from 'fast-check';

import { parseResetTime } from '../../lib/recover/reset-time.ts';

const NOW_MS = Date.UTC(2026, 4, 23, 12, 0, 0);

/** [text, milliseconds from now] */
const READ: readonly (readonly [string, number])[] = [
  ['30', 30_000],
  [' 30 ', 30_000],
  ['0', 0],
  ['0.25', 250],
  ['1.1', 1100],
  ['2.007', 2007],
  ['64.57', 64_570],
  ['0.0004', 1],
  ['33011.382867', 33_011_383],
  ['99999999', 99_999_999_000],
  [String(NOW_MS / 1000 + 90), 90_000],
  [`${NOW_MS / 1000 + 90}.123`, 90_123],
  [String(NOW_MS / 1000 - 90), 0],
  [String(NOW_MS + 1500), 1500],
  [String(NOW_MS - 1500), 0],
  ['100000000', 0],
  ['100000000000', 0],
  ['1s', 1000],
  ['0s', 0],
  ['6m0s', 360_000],
  ['1h2m3.5s', 3_723_500],
  ['120ms', 120],
  ['2m59.56s', 179_560],
  ['1d', 86_400_000],
  ['1h0m0s', 3_600_000],
  ['1.5µs', 1],
  ['12us', 1],
  ['999999999ns', 1000],
  ['2026-05-23T12:00:30Z', 30_000],
  ['2026-05-23t12:00:30z', 30_000],
  ['2026-05-23T12:00:30.250Z', 30_250],
  ['2026-05-23T12:00:30.123456789Z', 30_123],
  ['2026-05-23T12:01Z', 60_000],
  ['2026-05-23T12:00:30', 30_000],
  ['2026-05-23 12:00:30', 30_000],
  ['2026-05-23T21:00:30+09:00', 30_000],
  ['2026-05-23T21:00:30+0900', 30_000],
  ['2026-05-23T11:59:59Z', 0],
  ['Sat, 23 May 2026 12:00:30 GMT', 30_000],
];

const MALFORMED: readonly string[] = [
  '',
  ' ',
  '-1',
  '+1',
  '.5',
  '5.',
  '1e3',
  '0x10',
  'NaN',
  'Infinity',
  'undefined',
  'soon',
  '1,5',
  '5 s',
  '5x',
  's',
  '1h-2m',
  '100000000000000',
  '9'.repeat(60),
  '9'.repeat(1_000_000),
  `${'9'.repeat(30)}x`,
  '2026-02-30T00:00:00Z',
  '2026-13-01T00:00:00Z',
  '2026-05-23T25:00:00Z',
  '2026-05-23',
  '2026-05-23T12:00:30+99:99',
  '__proto__',
];

describe('parseResetTime', () => {
  for (const [text, delayMs] of READ) {
    it(`reads "${text}" as ${delayMs} ms`, () => assert.equal(parseResetTime(text, NOW_MS), delayMs));
  }

  it('takes everything else for malformed', () => {
    for (const text of MALFORMED) assert.equal(parseResetTime(text, NOW_MS), undefined, text.slice(0, 80));
  });

  it('reads what Date writes, whatever the zone of this machine', () => {
    const moment = fc.integer({ min: Date.UTC(1975, 0), max: Date.UTC(2100, 0) });
    fc.assert(
      fc.property(moment, moment, (nowMs, atMs) => {
        const delayMs = Math.max(0, atMs - nowMs);
        assert.equal(parseResetTime(new Date(atMs).toISOString(), nowMs), delayMs);
        assert.equal(parseResetTime(new Date(atMs).toISOString().replace('Z', ''), nowMs), delayMs);
        assert.equal(parseResetTime(String(atMs), nowMs), delayMs);
        assert.equal(parseResetTime((atMs / 1000).toFixed(3), nowMs), delayMs);
      }),
    );
  });

  const micros = fc.oneof(
    fc.nat({ max: 999_999 }),
    fc.nat({ max: 999 }).map((ms) => ms * 1000),
  );
  it('reads a date without a zone as one of UTC, wherever this machine is', () => {
    const { TZ } = process.env;
    process.env.TZ = 'Asia/Seoul';
    try {
      assert.equal(parseResetTime('2026-05-23T12:00:09', NOW_MS), 9_000);
    } finally {
      if (TZ === undefined) delete process.env.TZ;
      else process.env.TZ = TZ;
    }
  });

  it('takes a date for malformed that has more before it or behind it', () => {
    const date = '2026-05-23T12:00:09Z';
    assert.equal(parseResetTime(date, NOW_MS), 9_000);
    for (const wrong of [`x${date}`, `1${date}`, `${date}x`, `${date}0`]) {
      assert.equal(parseResetTime(wrong, NOW_MS), undefined, wrong);
    }
  });

  it('is never shorter than what was asked for, nor a millisecond longer', () => {
    fc.assert(
      fc.property(fc.nat({ max: 99_999_999 }), micros, (seconds, micros) => {
        const delayMs = parseResetTime(`${seconds}.${String(micros).padStart(6, '0')}`, NOW_MS);
        assert.equal(delayMs, seconds * 1000 + Math.ceil(micros / 1000));
      }),
    );
  });

  it('reads what Go writes for a duration', () => {
    const part = (max: number) => fc.nat({ max });
    fc.assert(
      fc.property(part(100), part(59), part(59), part(999), (hours, minutes, seconds, ms) => {
        const delayMs = ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms;
        const tail = `${seconds}${ms === 0 ? '' : `.${String(ms).padStart(3, '0')}`}s`;
        assert.equal(parseResetTime(`${hours}h${minutes}m${tail}`, NOW_MS), delayMs);
      }),
    );
  });
});
