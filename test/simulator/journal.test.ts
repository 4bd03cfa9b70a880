import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { arrivalsOf, Journal, mostInWindow } from '../../lib/simulator/journal.ts';

test('mostInWindow is what trying every window gives', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 80 }),
      fc.integer({ min: 1, max: 40 }),
      (gapsNs, windowNs) => {
        let atNs = 0;
        const times = gapsNs.map((gap) => (atNs += gap));
        const counts = times.map((from) => times.filter((at) => at >= from && at < from + windowNs).length);
        assert.equal(mostInWindow(Float64Array.from(times), windowNs), Math.max(0, ...counts));
      },
    ),
    { numRuns: 1000 },
  );
});

test('the window is half-open: two that are exactly W apart are not in one', () => {
  assert.equal(mostInWindow(Float64Array.of(0, 1000), 1000), 1);
  assert.equal(mostInWindow(Float64Array.of(0, 999), 1000), 2);
});

test('every arrival comes back as it was told, also after the columns have grown', () => {
  const originNs = 10n ** 15n;
  const journal = new Journal(originNs, 100_000);
  for (let index = 0; index < 5000; index++) {
    const n = journal.arrive(index * 1000, 'GET', `/item/${index}`, index % 2 === 0 ? `key${index}` : undefined);
    assert.equal(n, index + 1);
    journal.decide(n, index % 5 === 1 ? 'refused' : 'accepted', index % 5 !== 1);
    if (index % 5 === 1) journal.answer(n, 500, index * 1000 + 1, false);
    if (index % 5 === 2) journal.answer(n, 200, index * 1000 + 7, true);
    if (index % 5 === 3) journal.abort(n);
  }
  const arrivals = arrivalsOf(journal.columns());
  assert.equal(arrivals.length, 5000);
  for (const [index, arrival] of arrivals.entries()) {
    const outcome = (['pending', 'refused', 'ok', 'aborted', 'pending'] as const)[index % 5];
    const answeredAfterNs = { ok: 7, refused: 1, aborted: undefined, pending: undefined }[outcome ?? 'pending'];
    assert.deepEqual(arrival, {
      n: index + 1,
      atNs: originNs + BigInt(index * 1000),
      method: 'GET',
      path: `/item/${index}`,
      key: index % 2 === 0 ? `key${index}` : undefined,
      outcome,
      status: { ok: 200, refused: 500, aborted: 0, pending: 0 }[outcome ?? 'pending'],
      answeredAtNs: answeredAfterNs === undefined ? undefined : originNs + BigInt(index * 1000 + answeredAfterNs),
    });
  }
  const summary = journal.summary(10_000);
  assert.deepEqual(
    [summary.total, summary.ok, summary.refused, summary.aborted, summary.pending, summary.injected],
    [5000, 1000, 1000, 1000, 2000, 0],
  );
  assert.equal(summary.maxInWindow, 10);
  assert.equal(summary.maxAcceptedInWindow, 8);
  assert.equal(summary.ratePerSecond, 1e6);
});

test('past maxArrivals it only counts', () => {
  const journal = new Journal(0n, 3);
  for (let index = 0; index < 10; index++) {
    const n = journal.arrive(index, 'GET', '/', undefined);
    journal.decide(n, 'accepted', true);
    journal.answer(n, 200, index, true);
  }
  const summary = journal.summary(1000);
  assert.equal(summary.total, 10);
  assert.equal(summary.ok, 10);
  assert.equal(summary.unrecorded, 7);
  assert.equal(summary.maxInWindow, 3);
  assert.deepEqual(
    arrivalsOf(journal.columns()).map((arrival) => arrival.n),
    [1, 2, 3],
  );
});

test('long paths and keys are cut', () => {
  const journal = new Journal(0n, 3);
  journal.arrive(0, 'GET', `/${'p'.repeat(5000)}`, 'k'.repeat(5000));
  const [arrival] = arrivalsOf(journal.columns());
  assert.equal(arrival?.path.length, 512);
  assert.equal(arrival?.key?.length, 128);
});

test('an empty journal has empty numbers', () => {
  const summary = new Journal(5n, 3).summary(1000);
  assert.equal(summary.maxInWindow, 0);
  assert.equal(summary.ratePerSecond, 0);
  assert.equal(summary.firstAtNs, undefined);
});
