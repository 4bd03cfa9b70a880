import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';
import { describeDisturbance, disturbanceOf, watchMachine } from '../../bench/harness/disturbance.ts';
import { busyOfTree, parseMachineTimes, parseProcessTimes } from '../../bench/harness/proc.ts';

describe('parseMachineTimes', () => {
  it('counts what is busy, without waiting and guests, and what was stolen', () => {
    const text = 'cpu  1000 200 300 90000 7000 40 60 500 999 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n';
    assert.deepEqual(parseMachineTimes(text), { busy: 16, stolen: 5 });
  });
});

describe('parseProcessTimes', () => {
  it('counts a process and the children that it has waited for, whatever its name is', () => {
    const text = '42 (a) b (c) S 7 42 42 0 -1 4194560 9 9 9 9 100 20 3 4 20 0 11 0 999 0 0';
    assert.deepEqual(parseProcessTimes(text), { pid: 42, parent: 7, busy: 1.27 });
  });
});

describe('busyOfTree', () => {
  it('sums a process and all that it started', () => {
    const processes = [
      { pid: 1, parent: 0, busy: 100 },
      { pid: 10, parent: 1, busy: 1 },
      { pid: 11, parent: 10, busy: 2 },
      { pid: 12, parent: 11, busy: 4 },
      { pid: 20, parent: 1, busy: 8 },
    ];
    assert.equal(busyOfTree(processes, 10), 7);
    assert.equal(busyOfTree(processes, 99), 0);
  });
});

describe('disturbanceOf', () => {
  it('tells this part, parts beside it, others and what was stolen apart', () => {
    assert.deepEqual(disturbanceOf({ own: 5, run: 7, machine: 8, stolen: 1 }, 10), {
      own: 0.5,
      beside: 0.2,
      others: 0.1,
      stolen: 0.1,
    });
  });

  it('is never below zero', () => {
    assert.equal(disturbanceOf({ own: 5, run: 5, machine: 4.99, stolen: 0 }, 10).others, 0);
  });

  it('says when it is too much, stolen time included', () => {
    const quiet = { own: 1, beside: 0, others: 0.15, stolen: 0 };
    assert.doesNotMatch(describeDisturbance(quiet), /disturbed/);
    assert.match(describeDisturbance({ ...quiet, stolen: 0.1 }), /disturbed/);
  });
});

describe('watchMachine', { skip: !existsSync('/proc/stat') }, () => {
  it('counts a child as our own, also one that has ended', async () => {
    const watch = watchMachine();
    const code = 'const until = process.cpuUsage().user + 4e5; while (process.cpuUsage().user < until);';
    await once(spawn(process.execPath, ['-e', code], { stdio: 'ignore' }), 'exit');
    const startedMs = performance.now();
    const { own } = watch();
    assert.ok(own > 0, `${own} cores in all, ${performance.now() - startedMs} ms to look`);
  });
});
