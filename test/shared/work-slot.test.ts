import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type ControlBlock, createControlBlock } from '../../lib/shared/control-block.ts';
import { LINE_BYTES, slotIndex, WORK } from '../../lib/shared/layout.ts';
import { WorkSlot } from '../../lib/shared/work-slot.ts';
import { runThread } from './fixtures/run-threads.ts';
import type { ClaimerData } from './fixtures/slot-claimer.ts';
import { newStress, Stress } from './fixtures/stress.ts';

const blockOf = (): ControlBlock => createControlBlock({ tokens: [5], slots: 3 });

describe('WorkSlot', () => {
  it('hands out its items in order, each once', () => {
    const slot = new WorkSlot(blockOf(), 1);
    assert.equal(slot.started, 0);
    assert.equal(slot.claim(1), false, 'not out of turn');
    assert.equal(slot.claim(0), true);
    assert.equal(slot.claim(0), false);
    assert.equal(slot.claim(1), true);
    assert.equal(slot.started, 2);
  });

  it('hands out nothing once it is closed, and remembers how much was', () => {
    for (const claims of [0, 1, 7]) {
      const slot = new WorkSlot(blockOf(), 1);
      for (let position = 0; position < claims; position++) slot.claim(position);
      assert.equal(slot.close(), claims);
      assert.equal(slot.claim(claims), false);
      assert.equal(slot.started, claims);
      assert.equal(slot.close(), claims, 'closing again tells the same');
    }
  });

  it('keeps the state, the deadline and the counts of its item apart', () => {
    const block = blockOf();
    const slot = new WorkSlot(block, 1);
    const seen = new WorkSlot(block, 1);
    slot.work = WORK.called | WORK.idempotent;
    slot.deadlineNs = 2n ** 62n + 5n;
    slot.countSent();
    slot.countSent();
    slot.countSent();
    slot.countRefused();
    slot.countRefused();
    slot.countCancelled();
    slot.claim(0);
    const { work, deadlineNs, sent, refused, cancelled, started } = seen;
    assert.deepEqual(
      { work, deadlineNs, sent, refused, cancelled, started },
      {
        work: 10,
        deadlineNs: 2n ** 62n + 5n,
        sent: 3,
        refused: 2,
        cancelled: 1,
        started: 1,
      },
    );
  });

  it('writes on no other line, and is as new after a reset', () => {
    const block = blockOf();
    block.ints.fill(-1);
    const slot = new WorkSlot(block, 1);
    const from = slotIndex(block.layout, 1);
    const to = from + LINE_BYTES / 4;
    slot.reset();
    for (const read of [slot.started, slot.work, slot.sent, slot.refused, slot.cancelled]) assert.equal(read, 0);
    assert.equal(slot.deadlineNs, 0n);
    slot.deadlineNs = 1n;
    slot.work = WORK.waiting;
    slot.claim(0);
    slot.countSent();
    slot.countRefused();
    slot.countCancelled();
    slot.close();
    for (const [at, int] of block.ints.entries()) if (at < from || at >= to) assert.equal(int, -1);
  });

  it('agrees with a model about claims and closing', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.nat(6), fc.constant('close' as const)), { maxLength: 40 }), (steps) => {
        const slot = new WorkSlot(blockOf(), 2);
        let claimed = 0;
        let isClosed = false;
        for (const step of steps) {
          if (step === 'close') {
            isClosed = true;
            assert.equal(slot.close(), claimed);
          } else {
            const isTurn: boolean = !isClosed && step === claimed;
            assert.equal(slot.claim(step), isTurn);
            if (isTurn) claimed++;
          }
          assert.equal(slot.started, claimed);
        }
      }),
    );
  });
});

describe('WorkSlot between a lane and the main thread', () => {
  const SLOTS = 20_000;
  /** Slots from which the lane claimed an item while they were being closed: without them nothing was shown. */
  const MIN_IN_BETWEEN = 100;
  const PATIENCE_MS = 60_000;
  /** A lane that has no processor now is not waited for. */
  const MOST_LOOKS = 2_000;

  /** Close slot after slot while a lane claims from them as fast as it can; returns how often the two met. */
  async function race(): Promise<number> {
    const { buffer, layout, ints, words } = createControlBlock({ tokens: [5], slots: SLOTS });
    const slots = Array.from({ length: SLOTS }, (_, at) => new WorkSlot({ ints, words, layout }, at));
    const data: ClaimerData = { ...newStress(2, MIN_IN_BETWEEN, SLOTS), buffer, layout };
    const claims = runThread<Int32Array>(new URL('./fixtures/slot-claimer.js', import.meta.url), data);
    new Stress(data).meet();

    let inBetween = 0;
    const told = slots.map((slot, at) => {
      // Some are closed at once, others after some items.
      for (let looks = 0; slot.started < at % 50 && looks < MOST_LOOKS; looks++);
      const before = slot.started;
      const claimed = slot.close();
      if (claimed > before) inBetween++;
      return claimed;
    });
    assert.deepEqual(told, [...(await claims)], 'closing told how many were claimed');
    for (const [at, slot] of slots.entries()) {
      assert.equal(slot.started, told[at]);
      assert.equal(slot.close(), told[at]);
    }
    return inBetween;
  }

  it('is closed after exactly what was claimed, thousands of times', async () => {
    const endMs = performance.now() + PATIENCE_MS;
    let inBetween = 0;
    do inBetween += await race();
    while (inBetween < MIN_IN_BETWEEN && performance.now() < endMs);
    assert.ok(inBetween >= MIN_IN_BETWEEN, `lane and main thread met only ${inBetween} times`);
  });
});
