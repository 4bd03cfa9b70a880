import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import fc from 'fast-check';

import { parseHttpDate, parseRetryAfter } from '../../lib/recover/retry-after.ts';

const NOW_MS = Date.UTC(1994, 10, 6, 8, 49, 0);

describe('parseRetryAfter', () => {
  it('reads digits as seconds', () => {
    assert.equal(parseRetryAfter('1', NOW_MS), 1000);
    assert.equal(parseRetryAfter(' 120 ', NOW_MS), 120_000);
    assert.equal(parseRetryAfter('007', NOW_MS), 7000);
  });

  it('reads the three date forms of HTTP against the given time', () => {
    assert.equal(parseRetryAfter('Sun, 06 Nov 1994 08:49:37 GMT', NOW_MS), 37_000);
    assert.equal(parseRetryAfter('Sunday, 06-Nov-94 08:49:37 GMT', NOW_MS), 37_000);
    assert.equal(parseRetryAfter('Sun Nov  6 08:49:37 1994', NOW_MS), 37_000);
  });

  it('says 0 for now and for the past, which are not malformed', () => {
    assert.equal(parseRetryAfter('0', NOW_MS), 0);
    assert.equal(parseRetryAfter('000', NOW_MS), 0);
    assert.equal(parseRetryAfter('Sun, 06 Nov 1994 08:49:00 GMT', NOW_MS), 0);
    assert.equal(parseRetryAfter('Sat, 05 Nov 1994 08:49:37 GMT', NOW_MS), 0);
  });

  it('takes everything else for malformed', () => {
    const nonsense = ['', ' ', '-5', '+5', '1.5', '1e3', '0x10', '5s', '1, 2', 'soon', 'NaN', 'Infinity', '2099-01-01'];
    const impossible = [
      'Sun, 31 Feb 2094 08:49:37 GMT',
      'Sun, 06 Nov 2094 24:49:37 GMT',
      'Sun, 06 Nov 2094 08:60:37 GMT',
      'Sun, 06 Nov 2094 08:49:61 GMT',
      'Sun, 06 Foo 2094 08:49:37 GMT',
      'Sun, 06 Nov 2094 08:49:37 +0900',
      'Sun, 6 Nov 2094 08:49:37 GMT',
    ];
    for (const text of [...nonsense, ...impossible]) assert.equal(parseRetryAfter(text, NOW_MS), undefined, text);
  });

  it('takes a date for malformed that has more before it or behind it', () => {
    for (const date of [
      'Sun, 06 Nov 1994 08:49:37 GMT',
      'Sunday, 06-Nov-94 08:49:37 GMT',
      'Sun Nov  6 08:49:37 1994',
      'Sun Nov 16 08:49:37 1994',
    ]) {
      assert.notEqual(parseHttpDate(date, NOW_MS), undefined);
      for (const wrong of [`A${date}`, `${date}1`, `${date} x`]) assert.equal(parseHttpDate(wrong, NOW_MS), undefined);
    }
    assert.equal(parseHttpDate('Sun Nov x6 08:49:37 1994', NOW_MS), undefined);
  });

  it('rounds up, also by a clock that knows parts of a millisecond', () => {
    assert.equal(parseRetryAfter('Sun, 06 Nov 1994 08:49:37 GMT', NOW_MS + 0.75), 37_000);
  });

  it('keeps a wait that is too long for a number of milliseconds a long wait', () => {
    assert.equal(parseRetryAfter('9'.repeat(400), NOW_MS), Number.MAX_SAFE_INTEGER);
  });

  it('gives a whole number of milliseconds or nothing, for any text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.nat().map(String), fc.date({ noInvalidDate: true }).map(String)), (text) => {
        const hint = parseRetryAfter(text, NOW_MS);
        assert.ok(hint === undefined || (Number.isSafeInteger(hint) && hint >= 0));
      }),
    );
  });

  it('gives back any whole second that toUTCString writes', () => {
    const second = fc.integer({ min: 1, max: 4_000_000_000 });
    fc.assert(
      fc.property(second, second, (now, ahead) => {
        const text = new Date((now + ahead) * 1000).toUTCString();
        assert.equal(parseRetryAfter(text, now * 1000), ahead * 1000);
      }),
    );
  });
});

describe('parseHttpDate', () => {
  it('finds the century of a two-digit year by the rule of 50 years', () => {
    const in2026 = Date.UTC(2026, 0, 1);
    assert.equal(parseHttpDate('Friday, 06-Nov-26 08:49:37 GMT', in2026), Date.UTC(2026, 10, 6, 8, 49, 37));
    assert.equal(parseHttpDate('Friday, 06-Nov-76 08:49:37 GMT', in2026), Date.UTC(2076, 10, 6, 8, 49, 37));
    assert.equal(parseHttpDate('Friday, 06-Nov-77 08:49:37 GMT', in2026), Date.UTC(1977, 10, 6, 8, 49, 37));
  });

  it('knows leap days and leap seconds', () => {
    assert.equal(parseHttpDate('Thu, 29 Feb 2024 00:00:00 GMT', 0), Date.UTC(2024, 1, 29));
    assert.equal(parseHttpDate('Wed, 29 Feb 2023 00:00:00 GMT', 0), undefined);
    assert.equal(parseHttpDate('Sat, 31 Dec 2016 23:59:60 GMT', 0), Date.UTC(2017, 0, 1));
  });
});
