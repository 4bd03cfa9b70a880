import assert from 'node:assert/strict';
import { test } from 'node:test';
import { timeOutOverdue } from '../../workers/deadlines.ts';

test('all whose time is up are told, and the earliest of the others is known', () => {
  const told: bigint[] = [];
  const timed = (deadlines: readonly bigint[]) =>
    deadlines.map((deadlineNs) => ({ deadlineNs, timeOut: () => void told.push(deadlineNs) }));
  assert.equal(timeOutOverdue(timed([0n, 30n, 9n, 20n, 10n, 40n]), 10n), 20n);
  assert.deepEqual(told, [9n, 10n]);
  assert.equal(timeOutOverdue(timed([0n, 5n]), 10n), 0n);
});
