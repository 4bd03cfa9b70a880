import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import { slotIndex } from '../../lib/shared/layout.ts';
import { WorkSlot } from '../../lib/shared/work-slot.ts';
import { watchCollisions } from '../shared/fixtures/collisions.ts';
import { runThread } from '../shared/fixtures/run-threads.ts';
import type { ClaimerData } from '../shared/fixtures/slot-claimer.ts';
import { newStress, Stress } from '../shared/fixtures/stress.ts';

const SLOTS = 20_000;
/** A stress that never collided has shown nothing. */
const MIN_COLLISIONS = 25;
const PATIENCE_MS = 60_000;
/** A lane that has no processor now is not waited for. */
const MOST_LOOKS = 2_000;

test('stealing collides with claiming, and every item is claimed or stolen, never both', async () => {
  const endMs = performance.now() + PATIENCE_MS;
  // Of this thread alone: the lane took an item between the look at the cursor and the exchange that closes it.
  const collisions = watchCollisions();
  do {
    const block = createControlBlock({ tokens: [], slots: SLOTS });
    const data: ClaimerData = { ...newStress(2, MIN_COLLISIONS, SLOTS), buffer: block.buffer, layout: block.layout };
    const claiming = runThread<Int32Array>(new URL('../shared/fixtures/slot-claimer.js', import.meta.url), data);
    new Stress(data).meet();
    const stolenFrom = Array.from({ length: SLOTS }, (_, at) => {
      const slot = new WorkSlot(block, at);
      for (let looks = 0; slot.started < 1 + (at % 20) && looks < MOST_LOOKS; looks++);
      return slot.close();
    });
    assert.deepEqual(stolenFrom, [...(await claiming)], 'what was stolen begins where the lane has stopped');
    assert.equal(block.ints[slotIndex(block.layout, 0)], -1 - (stolenFrom[0] ?? 0));
  } while (collisions.count < MIN_COLLISIONS && performance.now() < endMs);
  assert.ok(collisions.count >= MIN_COLLISIONS, `only ${collisions.count} collisions`);
});
