import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { presets } from '../lib/presets.ts';
import { resolveOptions } from '../lib/resolve-options.ts';

const CWD = import.meta.dirname;

describe('presets.conservative', () => {
  it('is 12 per second, 69 ms apart, 3 in flight', () => {
    const { rate, concurrency } = resolveOptions(presets.conservative, CWD);
    assert.equal(concurrency, 3);
    assert.equal(rate.length, 1);
    assert.deepEqual(rate[0], {
      limit: 15,
      windowMs: 1000,
      safetyMargin: 0.8,
      arrivalWithinMs: 50,
      spacingMs: 69,
      straggleMs: 1000,
      initial: 'full',
      tokens: 12,
    });
  });

  it('leaves room for all its tokens in a window, in spite of the spacing', () => {
    const [limit] = resolveOptions(presets.conservative, CWD).rate;
    assert.ok(limit && (limit.tokens - 1) * limit.spacingMs < limit.windowMs);
  });
});

describe('presets.exact', () => {
  it('uses all that is allowed', () => {
    const { rate, concurrency } = resolveOptions(presets.exact(20, 1000), CWD);
    assert.equal(concurrency, 20);
    assert.equal(rate[0]?.tokens, 20);
    assert.equal(rate[0]?.spacingMs, 0);
    assert.equal(rate[0]?.arrivalWithinMs, Number.POSITIVE_INFINITY);
  });

  it('stays within the largest concurrency', () => {
    assert.equal(resolveOptions(presets.exact(1_000_000, 1000), CWD).concurrency, 65_536);
  });

  it('names the argument that is wrong', () => {
    assert.throws(() => presets.exact(0, 1000), { name: 'InvalidOptionError', option: 'rate.limit' });
    assert.throws(() => presets.exact(20, Number.NaN), { name: 'InvalidOptionError', option: 'rate.windowMs' });
    assert.throws(() => presets.exact('20' as never, 1000), { name: 'InvalidOptionError', option: 'rate.limit' });
  });
});

describe('presets', () => {
  it('are frozen, spread and can be overridden', () => {
    assert.ok(Object.isFrozen(presets));
    for (const preset of [presets.conservative, presets.exact(5, 1000)]) {
      assert.ok(Object.isFrozen(preset) && Object.isFrozen(preset.rate));
    }
    assert.equal(resolveOptions({ ...presets.conservative, concurrency: 8 }, CWD).concurrency, 8);
  });
});
