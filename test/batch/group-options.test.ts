import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DYNAMIC_BATCH_DEFAULTS } from '../../lib/batch/dynamic-batch.ts';
import { InvalidOptionError } from '../../lib/errors.ts';
import type { RunOptions } from '../../lib/options.ts';
import { resolveRunOptions } from '../../lib/resolve-options.ts';

const groupsOf = (options: RunOptions) => resolveRunOptions(options).groups;
const dynamicOf = (dynamicBatch: RunOptions['dynamicBatch']) => groupsOf({ dynamicBatch });

describe('groups', () => {
  it('are none, unless asked for', () => {
    assert.equal(groupsOf({}), undefined);
    assert.equal(groupsOf({ dynamicBatch: false }), undefined);
    assert.equal(groupsOf({ batchSize: undefined, dynamicBatch: undefined, batchDelayMs: undefined }), undefined);
  });

  it('of a fixed size have no wait, unless asked for', () => {
    assert.deepEqual(groupsOf({ batchSize: 7 }), { size: 7, delayMs: 0, dynamic: undefined });
    assert.deepEqual(groupsOf({ batchSize: 7, batchDelayMs: 9, dynamicBatch: false }), {
      size: 7,
      delayMs: 9,
      dynamic: undefined,
    });
  });

  it('that are dynamic start with 50 items and 1 s', () => {
    assert.deepEqual(dynamicOf(true), { size: 50, delayMs: 1_000, dynamic: DYNAMIC_BATCH_DEFAULTS });
    assert.deepEqual(dynamicOf({}), dynamicOf(true));
    assert.deepEqual(dynamicOf({ step: undefined }), dynamicOf(true));
    const { dynamic, ...start } = groupsOf({ batchSize: 9, batchDelayMs: 2_000, dynamicBatch: { step: 0.1 } }) ?? {};
    assert.deepEqual(
      [start, dynamic],
      [
        { size: 9, delayMs: 2_000 },
        { ...DYNAMIC_BATCH_DEFAULTS, step: 0.1 },
      ],
    );
  });

  it('start within their bounds', () => {
    assert.equal(dynamicOf({ maxSize: 20 })?.size, 20);
    assert.equal(dynamicOf({ minSize: 70 })?.size, 70);
    assert.equal(dynamicOf({ minDelayMs: 3_000 })?.delayMs, 3_000);
    assert.equal(dynamicOf({ maxDelayMs: 700 })?.delayMs, 700);
  });

  it('have bounds that move with each other where one is a default', () => {
    const boundsOf = (options: RunOptions['dynamicBatch']) => {
      const { minSize, maxSize, minDelayMs, maxDelayMs } = dynamicOf(options)?.dynamic ?? assert.fail();
      return [minSize, maxSize, minDelayMs, maxDelayMs];
    };
    assert.deepEqual(boundsOf({ minSize: 200, minDelayMs: 9_000 }), [200, 200, 9_000, 9_000]);
    assert.deepEqual(boundsOf({ maxSize: 2, maxDelayMs: 0 }), [2, 2, 0, 0]);
  });
});

const NO_NUMBER = ['20', 10n, null, {}, [], Number.NaN, Number.POSITIVE_INFINITY, -1];
const NO_INTEGER = [...NO_NUMBER, 1.5, 0];
const inDynamic = (field: string) => (value: unknown) => ({ dynamicBatch: { [field]: value } });

/** [path, how to put a value there, values that are refused] */
const REFUSED: [string, (value: unknown) => unknown, unknown[]][] = [
  ['batchSize', (batchSize) => ({ batchSize }), [...NO_INTEGER, true, 1_000_001]],
  ['batchDelayMs', (batchDelayMs) => ({ batchSize: 1, batchDelayMs }), [...NO_NUMBER, 2 ** 31]],
  ['batchDelayMs', (batchDelayMs) => ({ batchDelayMs }), [0, 1]],
  ['batchDelayMs', (batchDelayMs) => ({ batchDelayMs, dynamicBatch: false }), [0, 1]],
  ['progressInterval', (progressInterval) => ({ progressInterval }), [...NO_INTEGER, true, 1e9 + 1]],
  ['dynamicBatch', (dynamicBatch) => ({ dynamicBatch }), [1, 'yes', null, [], new Map()]],
  ['dynamicBatch.minSize', inDynamic('minSize'), [...NO_INTEGER, 1_000_001]],
  ['dynamicBatch.maxSize', inDynamic('maxSize'), [...NO_INTEGER, 1_000_001]],
  ['dynamicBatch.maxSize', (maxSize) => ({ dynamicBatch: { minSize: 10, maxSize } }), [9]],
  ['dynamicBatch.minDelayMs', inDynamic('minDelayMs'), [...NO_NUMBER, 2 ** 31]],
  ['dynamicBatch.maxDelayMs', inDynamic('maxDelayMs'), [...NO_NUMBER, 2 ** 31]],
  ['dynamicBatch.maxDelayMs', (maxDelayMs) => ({ dynamicBatch: { minDelayMs: 10, maxDelayMs } }), [9]],
  ['dynamicBatch.targetErrorRate', inDynamic('targetErrorRate'), [...NO_NUMBER, 1.1]],
  ['dynamicBatch.step', inDynamic('step'), [...NO_NUMBER, 0, 0.6]],
  ['dynamicBatch.minBatches', inDynamic('minBatches'), [...NO_INTEGER, 1_001]],
  ['dynamicBatch.minIntervalMs', inDynamic('minIntervalMs'), [...NO_NUMBER, 2 ** 31]],
  ['dynamicBatch.slowdown', inDynamic('slowdown'), [...NO_NUMBER, 0.9, 1_001]],
  ['dynamicBatch.size', inDynamic('size'), [50]],
  ['batchSize', (batchSize) => ({ batchSize, dynamicBatch: true }), [4, 101]],
  ['batchDelayMs', (batchDelayMs) => ({ batchDelayMs, dynamicBatch: true }), [499, 5_001]],
];

describe('options about groups that are refused', () => {
  for (const [path, put, values] of REFUSED) {
    it(path, () => {
      for (const value of values) {
        assert.throws(
          () => resolveRunOptions(put(value) as never),
          (error) =>
            error instanceof InvalidOptionError && error.option === path && error.message.includes(error.allowed),
          `${path}: ${String(value)}`,
        );
      }
    });
  }

  it('accept the bounds themselves', () => {
    const accepted: RunOptions[] = [
      { batchSize: 1, batchDelayMs: 0, progressInterval: 1 },
      { batchSize: 1_000_000, batchDelayMs: 2_147_483_647, progressInterval: 1e9 },
      { batchSize: 5, batchDelayMs: 500, dynamicBatch: true },
      { batchSize: 100, batchDelayMs: 5_000, dynamicBatch: true },
      { dynamicBatch: { minSize: 1, maxSize: 1, minDelayMs: 0, maxDelayMs: 0, step: 0.5, slowdown: 1, minBatches: 1 } },
      { dynamicBatch: { targetErrorRate: 0, minIntervalMs: 0, minBatches: 1_000, slowdown: 1_000 } },
    ];
    for (const options of accepted) assert.doesNotThrow(() => resolveRunOptions(options));
  });
});
