import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HINTS_IGNORED } from '../../lib/shared/layout.ts';
import { explore, type Scenario, Violation } from './explore.ts';
import type { Body } from './thread.ts';

const sizes = { tokens: [], slots: 0 };
const base = { sizes, ghost: {}, end: () => 'over' };
const AT = HINTS_IGNORED;

const adder =
  (times: number): Body<object> =>
  ({ block }) => {
    for (let n = 0; n < times; n++) Atomics.add(block.ints, AT, 1);
  };

const countIn = ({ block }: { readonly block: { readonly ints: Int32Array } }) => `${block.ints[AT]}`;

/** What the exploration stumbles over. */
async function violationOf<G extends object>(scenario: Scenario<G>): Promise<Violation> {
  try {
    await explore(scenario);
  } catch (error) {
    if (error instanceof Violation) return error;
    throw error;
  }
  return assert.fail('There is no violation.');
}

describe('the explorer', () => {
  it('goes through every order', async () => {
    for (const [one, other, schedules] of [
      [1, 1, 2],
      [2, 3, 10],
      [7, 5, 792],
    ] as const) {
      const threads = { T1: adder(one), T2: adder(other) };
      const exploration = await explore({ ...base, threads, end: countIn });
      assert.equal(exploration.schedules, schedules);
      assert.equal(exploration.longest, one + other);
      assert.deepEqual([...exploration.ends.keys()], [`${one + other}`]);
    }
  });

  it('merges states only if all is the same that anybody can see', async () => {
    const storer: Body<object> = ({ block }) => {
      for (let n = 0; n < 10; n++) Atomics.store(block.ints, AT, 1);
    };
    const { states, schedules } = await explore({ ...base, threads: { T1: storer, T2: storer } });
    assert.equal(states, 11 * 11);
    assert.equal(schedules, 184_756);
  });

  it('kills at every step, once or as often as it may', async () => {
    const threads = { T1: adder(3), T2: adder(3) };
    const once = await explore({ ...base, threads, mortal: ['T1', 'T2'], end: countIn });
    assert.deepEqual([...once.ends.keys()].sort(), ['3', '4', '5', '6']);
    const twice = await explore({ ...base, threads, mortal: ['T1', 'T2'], deaths: 2, end: countIn });
    assert.deepEqual([...twice.ends.keys()].sort(), ['0', '1', '2', '3', '4', '5', '6']);
  });

  it('goes every way that a thread can choose', async () => {
    const chooser: Body<object> = ({ choose }) => `${choose('x', [1, 2])}${choose('y', ['a', 'b'])}`;
    const { ends } = await explore({ ...base, threads: { T1: chooser }, end: ({ returned }) => `${returned('T1')}` });
    assert.deepEqual([...ends.keys()].sort(), ['1a', '1b', '2a', '2b']);
  });

  it('makes plain reads and writes steps of their own', async () => {
    const plain: Body<object> = ({ block }) => {
      block.ints[AT] = (block.ints[AT] ?? 0) + 1;
    };
    const { ends } = await explore({ ...base, threads: { T1: plain, T2: plain }, end: countIn });
    assert.deepEqual([...ends.keys()].sort(), ['1', '2']);
    assert.deepEqual(ends.get('1'), [
      'T1 read hintsIgnored = 0',
      'T2 read hintsIgnored = 0',
      'T1 write hintsIgnored := 1',
      'T2 write hintsIgnored := 1',
    ]);
    const filler: Body<object> = ({ block }) => block.ints.fill(1, AT, AT + 2);
    const filled = await explore({
      ...base,
      threads: { T1: filler, T2: ({ block }) => `${Atomics.load(block.ints, AT)}${Atomics.load(block.ints, AT + 1)}` },
      end: ({ returned }) => `${returned('T2')}`,
    });
    assert.deepEqual([...filled.ends.keys()].sort(), ['00', '01', '10', '11']);
  });

  it('lets plain writes overtake atomic stores only where asked to, and only to other words', async () => {
    const writer: Body<object> = ({ block }) => {
      Atomics.store(block.ints, AT, 1);
      block.ints[AT] = 2;
      block.ints[AT + 4] = 1;
    };
    const reader: Body<object> = ({ block }) => `${Atomics.load(block.ints, AT + 4)}${Atomics.load(block.ints, AT)}`;
    const scenario: Scenario<object> = {
      ...base,
      threads: { T1: writer, T2: reader },
      end: ({ returned }) => `${returned('T2')}`,
    };
    const inOrder = await explore(scenario);
    assert.deepEqual([...inOrder.ends.keys()].sort(), ['00', '01', '02', '12']);
    const overtaken = await explore({ ...scenario, plainMayOvertake: true });
    // The write to the same word stays behind the store, and the one after it behind that.
    assert.deepEqual([...overtaken.ends.keys()].sort(), ['00', '01', '02', '12']);
    const swapped: Body<object> = ({ block }) => {
      Atomics.store(block.ints, AT, 1);
      block.ints[AT + 4] = 1;
    };
    const weak = await explore({ ...scenario, threads: { T1: swapped, T2: reader }, plainMayOvertake: true });
    assert.deepEqual([...weak.ends.keys()].sort(), ['00', '01', '10', '11']);
  });

  it('waits for what does not come, and says so', async () => {
    const waiter: Body<object> = ({ until }) => until('ever', () => false);
    const { message, schedule } = await violationOf({ ...base, threads: { T1: waiter, T2: adder(1) } });
    assert.match(message, /^T1 waits for ever\.\n/);
    assert.deepEqual(schedule, ['T2 add hintsIgnored 1 = 0']);
  });

  it('finds a thread that does not come to an end', async () => {
    const spinner: Body<object> = ({ block }) => {
      while (Atomics.load(block.ints, AT) === 0);
    };
    assert.match((await violationOf({ ...base, threads: { T1: spinner } })).message, /^T1 does not come to an end\.\n/);
  });

  it('says what the code throws, and the shortest way to it', async () => {
    const thrower: Body<object> = ({ block }) => {
      Atomics.load(block.ints, AT);
      if (Atomics.load(block.ints, AT) === 2) throw new RangeError('two');
    };
    const { cause, schedule } = await violationOf({ ...base, threads: { T1: adder(3), T2: thrower } });
    assert.ok(cause instanceof RangeError);
    assert.equal(schedule.length, 4);
    assert.equal(schedule.at(-1), 'T2 load hintsIgnored = 2');
  });

  it('is not misled by code that swallows what it throws to stop it', async () => {
    const swallower: Body<object> = async ({ block, note }) => {
      for (let n = 0; n < 3; n++) {
        try {
          Atomics.add(block.ints, AT, 1);
        } catch {}
        note(({ ghost }) => Object.assign(ghost, { n }));
        await Promise.resolve();
      }
    };
    const { ends } = await explore({
      ...base,
      threads: { T1: swallower },
      end: (world) => `${countIn(world)} ${JSON.stringify(world.ghost)}`,
    });
    assert.deepEqual([...ends.keys()], ['3 {"n":2}']);
  });

  it('refuses code that does something else each time, and words that are said to be private and are not', async () => {
    let runs = 0;
    const moody: Body<object> = ({ block }) => {
      Atomics.add(block.ints, AT, runs++);
      Atomics.load(block.ints, AT);
    };
    assert.match((await violationOf({ ...base, threads: { T1: moody } })).message, /^The body is not deterministic/);
    await assert.rejects(
      explore({ ...base, threads: { T1: adder(1), T2: adder(1) }, isPrivate: ({ index }) => index === AT }),
      /ints\[17\] is not private/,
    );
  });

  it('leaves the real Atomics and the real clock as they were, also after a violation', async () => {
    const { Atomics: realAtomics } = globalThis;
    const { bigint } = process.hrtime;
    const wrong: Body<object> = ({ block }) => {
      Atomics.load(block.ints, AT);
      assert.equal(process.hrtime.bigint(), 7n);
      assert.notEqual(globalThis.Atomics, realAtomics);
      // Other memory is none of its business.
      assert.equal(Atomics.load(new Int32Array([5]), 0), 5);
      throw new Error('wrong');
    };
    assert.match((await violationOf({ ...base, threads: { T1: wrong }, hrtimeNs: 7n })).message, /^wrong\n/);
    assert.equal(globalThis.Atomics, realAtomics);
    assert.equal(process.hrtime.bigint, bigint);
  });
});
