import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Algorithm, createLimiter, type LimiterSettings } from '../../lib/simulator/limiters.ts';

interface Case {
  readonly settings: LimiterSettings;
  readonly arrivalsNs: readonly number[];
}

/** Arrivals with many exact coincidences with the boundaries of the window. */
function cases(algorithm: Algorithm): fc.Arbitrary<Case> {
  return fc
    .record({
      limit: fc.integer({ min: 1, max: 7 }),
      windowNs: fc.integer({ min: 1, max: 60 }),
      burst: fc.integer({ min: algorithm === 'gcra' ? 0 : 1, max: 5 }),
      phaseNs: fc.integer({ min: -70, max: 70 }),
      countRefused: fc.boolean(),
    })
    .chain((numbers) => {
      const { windowNs, limit } = numbers;
      const gapNs = fc.oneof(
        fc.constantFrom(
          0,
          1,
          windowNs,
          windowNs - 1,
          windowNs + 1,
          Math.floor(windowNs / limit),
          Math.ceil(windowNs / limit),
        ),
        fc.integer({ min: 0, max: 2 * windowNs }),
      );
      return fc.array(gapNs, { maxLength: 60 }).map((gapsNs) => {
        let atNs = 0;
        return { settings: { algorithm, ...numbers }, arrivalsNs: gapsNs.map((gap) => (atNs += gap)) };
      });
    });
}

/** Decide each arrival from the whole history before it. */
function bruteForce(
  { settings, arrivalsNs }: Case,
  isAdmitted: (nowNs: number, countedNs: readonly number[]) => boolean,
): boolean[] {
  const countedNs: number[] = [];
  return arrivalsNs.map((nowNs) => {
    const admitted = isAdmitted(nowNs, countedNs);
    if (admitted || settings.countRefused) countedNs.push(nowNs);
    return admitted;
  });
}

function decisions({ settings, arrivalsNs }: Case): boolean[] {
  const limiter = createLimiter(settings);
  return arrivalsNs.map((nowNs) => limiter.admit(nowNs));
}

function check(arbitrary: fc.Arbitrary<Case>, expected: (one: Case) => boolean[]): void {
  fc.assert(
    fc.property(arbitrary, (one) => {
      assert.deepEqual(decisions(one), expected(one));
    }),
    { numRuns: 2000 },
  );
}

test('fixed: counts what is in the same window', () => {
  check(cases('fixed'), (one) => {
    const { limit, windowNs, phaseNs } = one.settings;
    const windowOf = (atNs: number) => Math.floor((atNs - phaseNs) / windowNs);
    return bruteForce(one, (nowNs, counted) => counted.filter((at) => windowOf(at) === windowOf(nowNs)).length < limit);
  });
});

test('sliding-log: counts what is in (t - W, t]', () => {
  check(cases('sliding-log'), (one) => {
    const { limit, windowNs } = one.settings;
    return bruteForce(one, (nowNs, counted) => counted.filter((at) => at > nowNs - windowNs).length < limit);
  });
});

test('sliding-counter: weighs the previous window, and counts the new request before it compares', () => {
  check(cases('sliding-counter'), (one) => {
    const { limit, windowNs, phaseNs } = one.settings;
    return bruteForce(one, (nowNs, counted) => {
      const index = Math.floor((nowNs - phaseNs) / windowNs);
      const countIn = (which: number) =>
        counted.filter((at) => at >= phaseNs + which * windowNs && at < phaseNs + (which + 1) * windowNs).length;
      const remainingNs = phaseNs + (index + 1) * windowNs - nowNs;
      return countIn(index - 1) * remainingNs + (countIn(index) + 1) * windowNs <= limit * windowNs;
    });
  });
});

test('token-bucket: no stretch of time has more than the burst and what has refilled in it', () => {
  const arbitrary = cases('token-bucket').map((one) => ({
    ...one,
    settings: { ...one.settings, countRefused: false },
  }));
  check(arbitrary, (one) => {
    const { limit, windowNs, burst } = one.settings;
    return bruteForce(one, (nowNs, admitted) =>
      [...admitted, nowNs].every(
        (from, index, all) => (all.length - index) * windowNs <= burst * windowNs + (nowNs - from) * limit,
      ),
    );
  });
});

test('gcra: as the theoretical arrival time says', () => {
  const arbitrary = cases('gcra').map((one) => ({ ...one, settings: { ...one.settings, countRefused: false } }));
  check(arbitrary, ({ settings: { limit, windowNs, burst }, arrivalsNs }) => {
    // Times are multiplied by the limit, so that the interval, window / limit, is a whole number.
    let theoretical = 0n;
    return arrivalsNs.map((atNs) => {
      const now = BigInt(atNs) * BigInt(limit);
      const interval = BigInt(windowNs);
      if (now < theoretical - BigInt(burst) * interval) return false;
      theoretical = (now > theoretical ? now : theoretical) + interval;
      return true;
    });
  });
});

test('gcra with a burst of 1 lets two through at once, then one each interval', () => {
  const limiter = createLimiter(settingsOf('gcra', { limit: 20, windowNs: 1e9, burst: 1 }));
  assert.deepEqual(
    [0, 0, 0, 49_999_999, 50_000_000, 50_000_000].map((at) => limiter.admit(at)),
    [true, true, false, false, true, false],
  );
});

test('sliding-log: free again exactly W after, not a nanosecond before', () => {
  const limiter = createLimiter(settingsOf('sliding-log', { limit: 1, windowNs: 1e9 }));
  assert.deepEqual(
    [5, 1e9 + 4, 1e9 + 5].map((at) => limiter.admit(at)),
    [true, false, true],
  );
});

test('the buckets stay exact after days of pause, and with the largest limit', () => {
  for (const algorithm of ['token-bucket', 'gcra'] as const) {
    const limiter = createLimiter(settingsOf(algorithm, { limit: 1_000_000, windowNs: 1e9, burst: 1_000_000 }));
    const capacity = algorithm === 'gcra' ? 1_000_001 : 1_000_000;
    for (const atNs of [0, 50 * 86_400e9]) {
      let admitted = 0;
      while (limiter.admit(atNs)) admitted++;
      assert.equal(admitted, capacity, algorithm);
      assert.equal(limiter.admit(atNs + 999), false);
      assert.equal(limiter.admit(atNs + 1000), true);
    }
  }
});

test('countRefused: a client that does not pause is never let in again', () => {
  const patient = createLimiter(settingsOf('sliding-log', { limit: 2, windowNs: 10 }));
  const strict = createLimiter(settingsOf('sliding-log', { limit: 2, windowNs: 10, countRefused: true }));
  const every2Ns = Array.from({ length: 50 }, (_, index) => index * 2);
  assert.equal(every2Ns.filter((at) => patient.admit(at)).length, 20);
  assert.equal(every2Ns.filter((at) => strict.admit(at)).length, 2);
});

test('none: refuses nothing', () => {
  const limiter = createLimiter(settingsOf('none', { limit: 1 }));
  assert.ok([0, 0, 0, 1].every((at) => limiter.admit(at)));
});

function settingsOf(algorithm: Algorithm, given: Partial<LimiterSettings>): LimiterSettings {
  return { algorithm, limit: 20, windowNs: 1e9, burst: 20, phaseNs: 0, countRefused: false, ...given };
}
