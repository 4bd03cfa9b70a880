import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { StartSlots } from '../../lib/limit/start-slots.ts';
import { createControlBlock } from '../../lib/shared/control-block.ts';

const slotsOf = (gapNs: bigint, threads = 1): StartSlots[] => {
  const block = createControlBlock({ tokens: [1], slots: 0 });
  return Array.from({ length: threads }, () => new StartSlots(block, 0, gapNs));
};

describe('StartSlots', () => {
  it('refuses a limit that the control block does not have', () => {
    const block = createControlBlock({ tokens: [1], slots: 0 });
    assert.throws(() => new StartSlots(block, 1, 5n), RangeError);
  });

  it('gives this moment, then one gap later, and nothing that is further ahead', () => {
    const [slots] = slotsOf(50n);
    assert.ok(slots);
    assert.equal(slots.reserve(1_000n), 1_000n);
    assert.equal(slots.reserve(1_000n), 1_050n);
    assert.equal(slots.reservableAtNs, 1_050n);
    assert.equal(slots.reserve(1_049n), undefined);
    assert.equal(slots.reserve(1_050n), 1_100n);
  });

  it('does not save up starts that were not used', () => {
    const [slots] = slotsOf(50n);
    assert.ok(slots);
    assert.equal(slots.reserve(1_000n), 1_000n);
    assert.equal(slots.reserve(9_000n), 9_000n);
    assert.equal(slots.reserve(9_001n), 9_050n);
  });

  it('keeps all starts of all threads a gap apart, wastes nothing, and says when to come again', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 1n, max: 100n }),
        fc.array(fc.tuple(fc.bigInt({ min: 0n, max: 150n }), fc.nat(2)), { maxLength: 200, size: 'max' }),
        (gapNs, asks) => {
          const threads = slotsOf(gapNs, 3);
          let nowNs = 1_000n;
          let lastNs: bigint | undefined;
          for (const [passNs, thread] of asks) {
            nowNs += passNs;
            const slots = threads[thread];
            assert.ok(slots);
            const nextNs = lastNs === undefined || lastNs + gapNs < nowNs ? nowNs : lastNs + gapNs;
            const startNs = slots.reserve(nowNs);
            if (nextNs - nowNs > gapNs) {
              assert.equal(startNs, undefined);
              assert.equal(slots.reservableAtNs, nextNs - gapNs);
            } else {
              assert.equal(startNs, nextNs);
              lastNs = nextNs;
            }
          }
        },
      ),
    );
  });
});
