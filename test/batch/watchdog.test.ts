import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Chunk } from '../../lib/batch/chunk.ts';
import { StillThreads } from '../../lib/batch/still-threads.ts';
import { Watchdog } from '../../lib/batch/watchdog.ts';
import { WORK } from '../../lib/shared/layout.ts';
import { itemsUpTo, Stage } from './played-threads.ts';

function scene(lanes: readonly number[] = [2, 2]) {
  const stage = new Stage(lanes);
  const played = stage.batch(itemsUpTo(20));
  const chunk = (place: number, count = 3): Chunk => stage.chunk(played, count, { thread: stage.thread(place) });
  return { stage, chunk };
}

const placesOf = (threads: Iterable<{ readonly place: number }>) => [...threads].map(({ place }) => place);

describe('StillThreads', () => {
  const MAX = 2;

  it('finds a thread that shows no sign of life in more looks than that, and goes on to', () => {
    const { chunk } = scene();
    const chunks = [chunk(0), chunk(1)];
    const still = new StillThreads();
    const look = () => placesOf(still.look(chunks, MAX));
    assert.deepEqual([look(), look(), look(), look()], [[], [], [0, 1], [0, 1]]);
  });

  it('takes any progress of any of its chunks for a sign of life, and then counts anew', () => {
    const { chunk } = scene([2]);
    const first = chunk(0);
    const second = chunk(0);
    let chunks = [first, second];
    const still = new StillThreads();
    const look = () => placesOf(still.look(chunks, MAX));
    const signs: (() => unknown)[] = [
      () => first.slot.claim(0),
      () => second.slot.claim(0),
      () => {
        second.settled = 1;
      },
      () => {
        chunks = [first, chunk(0)];
      },
    ];
    assert.deepEqual([look(), look()], [[], []]);
    for (const sign of signs) {
      sign();
      assert.deepEqual([look(), look()], [[], []]);
    }
    assert.deepEqual(look(), [0]);
  });

  it('leaves a thread alone that has an item in work or waiting, and counts anew after it', () => {
    const { chunk } = scene([2]);
    const first = chunk(0);
    const chunks = [first, chunk(0)];
    const still = new StillThreads();
    const look = () => placesOf(still.look(chunks, MAX));
    const busy: [() => void, () => void][] = [
      [() => (first.slot.work = WORK.called), () => (first.slot.work = 0)],
      [() => (first.slot.work = WORK.waiting), () => (first.slot.work = 0)],
    ];
    for (const [begin, end] of busy) {
      assert.deepEqual([look(), look()], [[], []]);
      begin();
      assert.deepEqual([look(), look(), look(), look()], [[], [], [], []]);
      end();
    }
    first.slot.work = WORK.ended;
    first.slot.deadlineNs = 5n;
    assert.deepEqual([look(), look(), look()], [[], [], [0]]);
  });

  it('does not look at threads that are ending, and forgets those that have nothing to do', () => {
    const { stage, chunk } = scene([1]);
    const only = chunk(0);
    const still = new StillThreads();
    const look = (chunks: Chunk[]) => placesOf(still.look(chunks, MAX));
    stage.thread().state = 'dying';
    assert.deepEqual([look([only]), look([only]), look([only])], [[], [], []]);
    stage.thread().state = 'ready';
    assert.deepEqual([look([only]), look([only])], [[], []]);
    assert.deepEqual(look([]), []);
    assert.deepEqual([look([only]), look([only]), look([only])], [[], [], [0]]);
  });
});

describe('Watchdog', () => {
  const graceNs = 200_000_000n;
  const watchdog = (timeoutMs = 500) => new Watchdog({ timeoutMs, killGraceMs: 200, tickMs: 100 });

  it('ends a thread whose item ran on past its deadline and its grace', () => {
    const { chunk } = scene();
    const [late, good] = [chunk(0), chunk(1)];
    for (const { slot } of [late, good]) {
      slot.claim(0);
      slot.work = WORK.called | WORK.toldTimeout;
    }
    late.slot.deadlineNs = 1_000n;
    good.slot.deadlineNs = 1_001n;
    const dog = watchdog();
    assert.deepEqual([...dog.look([late, good], 999n + graceNs)], []);
    const ended = [...dog.look([late, good], 1_000n + graceNs)];
    assert.deepEqual(
      ended.map(([{ place }, because]) => [place, because]),
      [[0, 'a handler that ignored its timeout']],
    );
    assert.deepEqual([late.blame, good.blame, late.thread.isMute], ['guilty', undefined, false]);
  });

  it('ends a thread that does nothing for 5 s, or for as long as an attempt may take if that is longer', () => {
    for (const [timeoutMs, looks] of [
      [500, 50],
      [4_800, 50],
      [4_900, 51],
    ] as const) {
      const { chunk } = scene([1]);
      const only = chunk(0);
      const dog = watchdog(timeoutMs);
      for (let n = 0; n < looks; n++) assert.deepEqual([...dog.look([only], 0n)], []);
      const ended = [...dog.look([only], 0n)];
      assert.deepEqual(
        ended.map(([{ place, isMute }, because]) => [place, isMute, because]),
        [[0, true, 'a handler that blocked its thread']],
      );
    }
  });

  it('blames the one item whose end a still thread has not reported, or suspects all', () => {
    for (const [claimed, blame] of [
      [[1, 0], 'guilty'],
      [[1, 1], 'suspect'],
      [[2, 0], 'suspect'],
    ] as const) {
      const { chunk } = scene([2, 2]);
      const [first, second, other] = [chunk(0), chunk(0), chunk(1)];
      for (const [at, { slot }] of [first, second].entries()) {
        for (let position = 0; position < (claimed[at] ?? 0); position++) slot.claim(position);
      }
      const dog = watchdog();
      const looks = Array.from({ length: 51 }, () => {
        // A sign of life.
        other.settled++;
        return [...dog.look([first, second, other], 0n)].length;
      });
      assert.deepEqual([looks.at(-2), looks.at(-1)], [0, 1]);
      assert.deepEqual([first.blame, second.blame, other.blame], [blame, blame, undefined]);
      assert.deepEqual([first.thread.isMute, other.thread.isMute], [true, false]);
    }
  });
});
