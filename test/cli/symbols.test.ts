import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MAX_ITEMS } from '../../lib/cli/flags.ts';
import { symbols } from '../../lib/cli/symbols.ts';

describe('symbols', () => {
  it('are different, of six digits, and as many as asked for', () => {
    const all = symbols(MAX_ITEMS);
    assert.equal(all.length, MAX_ITEMS);
    assert.equal(new Set(all).size, MAX_ITEMS);
    assert.deepEqual(
      all.filter((symbol) => !/^\d{6}$/.test(symbol) || symbol === '000000'),
      [],
    );
  });

  it('are the same ones in the same order, however many', () => {
    for (const count of [1, 39, 40, 41, 100]) assert.deepEqual(symbols(count), symbols(1000).slice(0, count));
  });
});
