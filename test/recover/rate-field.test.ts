import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type RateField, rateFieldOf } from '../../lib/recover/rate-field.ts';

describe('rateFieldOf', () => {
  // First, because names are remembered for as long as the process lives.
  it('remembers the first 256 names, and none that is very long', () => {
    const isRemembered = (name: string) => {
      const first = rateFieldOf(name);
      return rateFieldOf(name) === first;
    };
    const prefix = 'x-ratelimit-remaining-';
    assert.equal(isRemembered(prefix.padEnd(129, 'a')), false);
    assert.equal(isRemembered(prefix.padEnd(128, 'a')), true);
    for (let n = 1; n < 256; n++) assert.equal(isRemembered(prefix + n), true, `${n}`);
    assert.equal(isRemembered(`${prefix}256`), false);
    assert.equal(isRemembered(`${prefix}1`), true);
    assert.deepEqual(rateFieldOf(`${prefix}256`), { kind: '256', says: 'remaining' });
  });

  const field = (kind: string, says: RateField['says']): RateField => ({ kind, says });
  const NAMES: Readonly<Record<string, RateField | undefined>> = {
    'x-ratelimit-remaining': field('', 'remaining'),
    'ratelimit-remaining': field('', 'remaining'),
    'x-rate-limit-remaining': field('', 'remaining'),
    'x-ratelimit-remaining-tokens': field('tokens', 'remaining'),
    'x-ratelimit-remaining-after': field('after', 'remaining'),
    'x-ratelimit-reset': field('', 'resetMs'),
    'x-ratelimit-resettime': field('', 'resetMs'),
    'x-ratelimit-reset-at': field('', 'resetMs'),
    'x-ratelimit-reset-time': field('', 'resetMs'),
    'x-ratelimit-reset-after': field('', 'resetAfterMs'),
    'x-ratelimit-reset-in': field('', 'resetAfterMs'),
    'x-ratelimit-reset-requests': field('requests', 'resetMs'),
    'x-ratelimit-reset-in-requests': field('requests', 'resetAfterMs'),
    'acme-ratelimit-daily-reset': field('daily-acme', 'resetMs'),
    'acme-ratelimit-input-tokens-remaining': field('input-tokens-acme', 'remaining'),
    'x-acme-ratelimit-remaining': field('x-acme', 'remaining'),
    'x-ratelimit-limit': undefined,
    'x-ratelimit-': undefined,
    'x-ratelimit': undefined,
    'xratelimit-remaining': undefined,
    remaining: undefined,
  };
  for (const [name, expected] of Object.entries(NAMES)) {
    it(`reads ${name}`, () => {
      assert.deepEqual(rateFieldOf(name), expected);
      assert.deepEqual(rateFieldOf(name), expected);
    });
  }
});
