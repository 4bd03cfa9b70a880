import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { DelayQueue } from '../../lib/batch/delay-queue.ts';

interface Waiting {
  readonly dueMs: number;
  readonly id: number;
}

describe('DelayQueue', () => {
  it('is empty at first', () => {
    const queue = new DelayQueue<string>();
    assert.equal(queue.size, 0);
    assert.equal(queue.nextDueMs, undefined);
    assert.deepEqual(queue.takeDue(Number.POSITIVE_INFINITY), []);
    assert.deepEqual(queue.takeAll(), []);
  });

  it('gives what is due at this moment, and nothing later', () => {
    const queue = new DelayQueue<string>();
    for (const [dueMs, name] of [
      [30, 'c'],
      [10, 'a'],
      [20, 'b'],
    ] as const) {
      queue.push(dueMs, name);
    }
    assert.equal(queue.nextDueMs, 10);
    assert.deepEqual(queue.takeDue(9.9), []);
    assert.deepEqual(queue.takeDue(20), ['a', 'b']);
    assert.equal(queue.nextDueMs, 30);
    assert.deepEqual(queue.takeAll(), ['c']);
    assert.equal(queue.size, 0);
  });

  it('agrees with sorting, whatever is pushed and taken when', () => {
    const dueMs = fc.oneof(fc.integer({ min: 0, max: 20 }), fc.double({ min: 0, max: 1e6, noNaN: true }));
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ push: dueMs }) },
      { weight: 1, arbitrary: fc.record({ take: dueMs }) },
      { weight: 1, arbitrary: fc.constant('all' as const) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
        const queue = new DelayQueue<Waiting>();
        let model: Waiting[] = [];
        for (const [id, action] of steps.entries()) {
          if (action === 'all') {
            const byId = (a: Waiting, b: Waiting) => a.id - b.id;
            assert.deepEqual(queue.takeAll().sort(byId), model.toSorted(byId));
            model = [];
          } else if ('push' in action) {
            const waiting = { dueMs: action.push, id };
            queue.push(action.push, waiting);
            model.push(waiting);
          } else {
            const taken = queue.takeDue(action.take);
            const due = model.filter((waiting) => waiting.dueMs <= action.take);
            assert.deepEqual(
              taken.map((waiting) => waiting.dueMs),
              due.map((waiting) => waiting.dueMs).sort((a, b) => a - b),
            );
            assert.deepEqual(new Set(taken), new Set(due));
            model = model.filter((waiting) => !due.includes(waiting));
          }
          assert.equal(queue.size, model.length);
          const next = model.reduce((least, waiting) => Math.min(least, waiting.dueMs), Number.POSITIVE_INFINITY);
          assert.equal(queue.nextDueMs ?? Number.POSITIVE_INFINITY, next);
        }
      }),
      { numRuns: 200 },
    );
  });
});
