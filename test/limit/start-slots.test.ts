import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { allowedLatenessNs, StartSlots } from '../../lib/limit/start-slots.ts';
import { createControlBlock } from '../../lib/shared/control-block.ts';

const slotsOf = (gapNs: bigint, latenessNs?: bigint, threads = 1): StartSlots[] => {
  const block = createControlBlock({ tokens: [1], slots: 0 });
  return Array.from({ length: threads }, () => new StartSlots(block, 0, gapNs, latenessNs));
};

function one(gapNs: bigint, latenessNs?: bigint): StartSlots {
  const [slots] = slotsOf(gapNs, latenessNs);
  assert.ok(slots);
  return slots;
}

describe('StartSlots', () => {
  it('refuses a limit that the control block does not have', () => {
    const block = createControlBlock({ tokens: [1], slots: 0 });
    assert.throws(() => new StartSlots(block, 1, 5n), RangeError);
  });

  it('lets one start now, and the next one gap later', () => {
    const slots = one(50n);
    assert.equal(slots.start(1_000n, 1_000n), true);
    assert.equal(slots.nextNs, 1_050n);
    assert.equal(slots.start(1_049n, 1_049n), false);
    assert.equal(slots.nextNs, 1_050n);
    assert.equal(slots.start(1_050n, 1_050n), true);
  });

  it('does not save up starts that nobody waited for', () => {
    const slots = one(50n, 1_000n);
    assert.equal(slots.start(1_000n, 1_000n), true);
    assert.equal(slots.start(9_000n, 9_000n), true);
    assert.equal(slots.nextNs, 9_050n);
  });

  it('puts nobody off for a start that is as late as it may be, and only for what is beyond', () => {
    const slots = one(50n, 10n);
    assert.equal(slots.start(1_000n, 1_000n), true);
    assert.equal(slots.start(1_060n, 1_050n), true);
    assert.equal(slots.nextNs, 1_100n);
    assert.equal(slots.start(1_111n, 1_100n), true);
    assert.equal(slots.nextNs, 1_151n);
    assert.equal(slots.start(1_400n, 1_151n), true);
    assert.equal(slots.nextNs, 1_440n);
  });

  it('makes up only for the time since when a start was awaited, and not before it may be', () => {
    const slots = one(50n, 10n);
    assert.equal(slots.start(1_000n, 1_000n), true);
    assert.equal(slots.start(1_060n, 1_056n), true);
    assert.equal(slots.nextNs, 1_106n);
    // It was awaited for longer, but could not be.
    assert.equal(slots.start(1_110n, 1_000n), true);
    assert.equal(slots.nextNs, 1_156n);
    // Its timer was early, or another lane made it look.
    assert.equal(slots.start(1_200n, 1_230n), true);
    assert.equal(slots.nextNs, 1_250n);
  });

  it('allows for a quarter of the gap, or for what timers are always late by', () => {
    assert.equal(allowedLatenessNs(50_000_000n), 12_500_000n);
    assert.equal(allowedLatenessNs(8_000_004n), 2_000_001n);
    assert.equal(allowedLatenessNs(8_000_000n), 2_000_000n);
    assert.equal(allowedLatenessNs(1n), 2_000_000n);
    const slots = one(40_000_000n);
    slots.start(100_000_000n, 100_000_000n);
    slots.start(190_000_000n, 140_000_000n);
    assert.equal(slots.nextNs, 220_000_000n);
  });

  it('keeps any starts of all threads apart but for what may be late, wastes nothing, and puts nobody off needlessly', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 1n, max: 100n }),
        fc.bigInt({ min: 0n, max: 120n }),
        fc.array(fc.tuple(fc.bigInt({ min: 0n, max: 150n }), fc.bigInt({ min: 0n, max: 200n }), fc.nat(2)), {
          maxLength: 60,
          size: 'max',
        }),
        (gapNs, latenessNs, asks) => {
          const threads = slotsOf(gapNs, latenessNs, 3);
          const starts: bigint[] = [];
          let nowNs = 1_000n;
          let nextNs = 0n;
          for (const [passNs, waitedNs, thread] of asks) {
            nowNs += passNs;
            const slots = threads[thread];
            assert.ok(slots);
            const dueNs = nowNs - waitedNs;
            assert.equal(slots.start(nowNs, dueNs), nextNs <= nowNs);
            if (nextNs <= nowNs) {
              const lateNs = Number(nowNs) - Math.max(Number(dueNs), Number(nextNs));
              nextNs = nowNs + gapNs - BigInt(Math.min(lateNs, Number(latenessNs)));
              starts.push(nowNs);
            }
            assert.equal(slots.nextNs, nextNs);
          }
          for (const [n, lastNs] of starts.entries()) {
            for (const [m, firstNs] of starts.slice(0, n).entries()) {
              assert.ok(lastNs - firstNs >= BigInt(n - m) * gapNs - latenessNs);
            }
          }
        },
      ),
    );
  });
});
