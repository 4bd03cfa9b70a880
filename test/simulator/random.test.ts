import assert from 'node:assert/strict';
import { test } from 'node:test';
import { drawMs, hashText, seededRandom } from '../../lib/simulator/random.ts';

test('a seed gives its own sequence, evenly spread over [0, 1)', () => {
  const [first, again, other] = [1, 1, 2].map((seed) => Array.from({ length: 10_000 }, seededRandom(seed)));
  assert.ok(first);
  assert.deepEqual(again, first);
  assert.notDeepEqual(other, first);
  for (let tenth = 0; tenth < 10; tenth++) {
    const inTenth = first.filter((number) => Math.floor(number * 10) === tenth).length;
    assert.ok(inTenth > 850 && inTenth < 1150, `${inTenth} of 10000 in tenth ${tenth}`);
  }
});

test('times are whole, within their bounds, both bounds included, and average in the middle', () => {
  const random = seededRandom(7);
  const times = Array.from({ length: 10_000 }, () => drawMs({ minMs: 5, maxMs: 30 }, random));
  assert.ok(times.every((time) => Number.isInteger(time)));
  assert.deepEqual([Math.min(...times), Math.max(...times)], [5, 30]);
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  assert.ok(Math.abs(mean - 17.5) < 0.3, `${mean}`);
  assert.equal(drawMs({ minMs: 12, maxMs: 12 }, random), 12);
  assert.equal(drawMs({ minMs: 0, maxMs: 0.4 }, random), 0);
});

test('the hash is FNV-1a', () => {
  assert.deepEqual([hashText(''), hashText('a'), hashText('foobar')], [0x811c9dc5, 0xe40c292c, 0xbf9cf968]);
});
