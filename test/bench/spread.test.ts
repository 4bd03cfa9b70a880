import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { mostInWindow } from '../../bench/harness/most-in-window.ts';
import { percentile, rateColumns, spreadColumns, spreadOf } from '../../bench/harness/spread.ts';

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

describe('percentile', () => {
  it('lies between its neighbours', () => {
    assert.equal(percentile([3, 1, 2], 50), 2);
    assert.equal(percentile([1, 2], 50), 1.5);
    assert.equal(percentile(upTo(101), 99), 100);
    assert.ok(Number.isNaN(percentile([], 50)));
  });
});

describe('spreadOf', () => {
  it('has a p99 from 100 samples on, and below that only the largest', () => {
    assert.equal(spreadOf(upTo(99)).p99, undefined);
    assert.equal(spreadOf(upTo(99)).max, 99);
    assert.equal(spreadOf(upTo(101)).p99, 100);
  });

  it('has a margin from two samples on', () => {
    assert.equal(spreadOf([5]).marginPercent, undefined);
    assert.equal(spreadOf([5, 5, 5]).marginPercent, 0);
    // 12.706, of Student's distribution with one degree of freedom, times 2, the standard error, of 10.
    assert.equal(Math.round(spreadOf([8, 12]).marginPercent ?? 0), 254);
  });

  it('is no figure where there is no sample', () => {
    const { samples, min, median, max } = spreadOf([]);
    assert.deepEqual({ samples, min, median, max }, { samples: 0, min: NaN, median: NaN, max: NaN });
  });
});

describe('columns', () => {
  it('have the bad tail of times at the top', () => {
    assert.deepEqual(Object.keys(spreadColumns(spreadOf(upTo(20)), 'ms')), ['min ms', 'median ms', 'max ms', '+- %']);
    assert.ok('p99 ms' in spreadColumns(spreadOf(upTo(100)), 'ms'));
  });

  it('have the bad tail of rates at the bottom', () => {
    assert.deepEqual(Object.keys(rateColumns(upTo(20), '1/s')), ['median 1/s', 'min 1/s', 'max 1/s', '+- %']);
    assert.equal(rateColumns(upTo(101), '1/s')['p1 1/s'], 2);
  });
});

describe('mostInWindow', () => {
  it('counts the fullest window, wherever it begins', () => {
    assert.equal(mostInWindow([], 10), 0);
    assert.equal(mostInWindow([0, 1, 2, 30, 31], 10), 3);
    assert.equal(mostInWindow([0, 5, 9, 12, 13, 14, 40], 10), 5);
  });

  it('leaves out what is exactly a window later', () => {
    assert.equal(mostInWindow([0, 10, 20], 10), 1);
    assert.equal(mostInWindow([0, 9, 10], 10), 2);
  });
});
