import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { Limiter } from '../../lib/limit/limiter.ts';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { StartSlots } from '../../lib/limit/start-slots.ts';
import { TokenBucket } from '../../lib/limit/token-bucket.ts';
import { CallCounter, CallReader } from '../../lib/shared/call-ring.ts';
import { CircuitCounters } from '../../lib/shared/circuit-counters.ts';
import type { ControlBlock } from '../../lib/shared/control-block.ts';
import { CAUSE, Gate } from '../../lib/shared/gate.ts';
import { GateCloser } from '../../lib/shared/gate-closer.ts';
import { CALL_SECONDS } from '../../lib/shared/layout.ts';
import { WorkSlot } from '../../lib/shared/work-slot.ts';
import { limitOf } from '../limit/worlds.ts';
import { explore, type Scenario, Violation } from './explore.ts';
import * as broken from './fixtures/broken.ts';
import { detectors } from './gate-world.ts';
import type { Body } from './thread.ts';
import { clock, type Fate, reclaimer, requester, type TokenGhost, tokenScenario } from './token-world.ts';

/**
 * A scenario that the shipped class comes through and the broken one does not.
 * @param line What the schedule must contain: the step by which it goes wrong.
 */
async function findsIn<C, G extends object>(
  t: TestContext,
  { shipped, bad }: { readonly shipped: C; readonly bad: C },
  scenarioOf: (of: C) => Scenario<G>,
  what: RegExp,
  line: RegExp,
): Promise<void> {
  await explore(scenarioOf(shipped));
  const error = await explore(scenarioOf(bad)).then(
    () => assert.fail('the mistake is not found'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof Violation, `${error}`);
  t.diagnostic([error.message.split('\n')[0], ...error.schedule].join(' | '));
  assert.match(error.message, what);
  assert.ok(error.schedule.some((step) => line.test(step)));
}

type BucketClass = typeof TokenBucket;

/** One token; two threads, of which the first may die; and the main thread. */
function oneToken(limit: Partial<PlannedLimit>, times: readonly number[], fates: readonly Fate[], isMortal = false) {
  const limits = [limitOf({ tokens: 1, windowNs: 100n, ...limit })];
  return (Bucket: BucketClass): Scenario<TokenGhost> => {
    const make = (block: Pick<ControlBlock, 'words' | 'layout'>, id: number) => {
      const made = new Limiter(block, limits, id);
      const buckets = limits.map((planned, n) => new Bucket(block, n, planned, id));
      return Object.assign(made, { buckets });
    };
    return {
      ...tokenScenario(limits),
      threads: {
        T1: requester('T1', 1, limits, fates, (block) => make(block, 1)),
        T2: requester('T2', 2, limits, ['answered'], (block) => make(block, 2)),
        clock: clock(times),
        main: reclaimer({ T1: 1 }, limits, (block) => make(block, 0)),
      },
      mortal: isMortal ? ['T1'] : [],
      end: () => 'over',
    };
  };
}

describe('the explorer finds the mistake of a bucket that', () => {
  const shipped: BucketClass = TokenBucket;

  it('takes by looking and then storing', (t) =>
    findsIn(
      t,
      { shipped, bad: broken.TakesByStore },
      oneToken({}, [], ['answered']),
      /T[12] holds/,
      /store token\[0]\[0] := -/,
    ));

  it('stores the answer without looking whose token it is', (t) =>
    findsIn(
      t,
      { shipped, bad: broken.AnswersByStore },
      oneToken({ arrivalWithinNs: 50n }, [150], ['answered']),
      /T1 writes the word of a token that T2 holds|T2 writes the word of a token that T1 holds/,
      /store token\[0]\[0] := 100/,
    ));

  it('lets a token rest for no time after a request without an answer', (t) =>
    findsIn(
      t,
      { shipped, bad: broken.AbandonsAtOnce },
      oneToken({}, [], ['abandoned']),
      /before it has rested/,
      /store token/,
    ));

  it('takes back from the dead without waiting for stragglers', (t) =>
    findsIn(
      t,
      { shipped, bad: broken.ReclaimsTooEarly },
      oneToken({}, [], ['answered'], true),
      /before it has rested/,
      /T1 dies/,
    ));

  it('takes back what the living hold', (t) =>
    findsIn(
      t,
      { shipped, bad: broken.ReclaimsFromAll },
      oneToken({}, [], ['answered'], true),
      /main writes .* that T2 holds/,
      /T1 dies/,
    ));
});

const sizes = { tokens: [1], slots: 1, threads: 1 };

describe('the explorer finds the mistake of', () => {
  it('a start that is made known by looking and then storing', (t) =>
    findsIn(
      t,
      { shipped: StartSlots, bad: broken.StartsByStore },
      (Slots) => {
        const starter: Body<object> = ({ block }) => new Slots(block, 0, 50n).start(0n, 0n);
        return {
          sizes,
          ghost: {},
          threads: { T1: starter, T2: starter },
          end: ({ returned }) => {
            assert.notEqual(returned('T1'), returned('T2'), 'two starts at the same time');
            return 'over';
          },
        };
      },
      /two starts/,
      /store nextStartNs/,
    ));

  const closers = (GateOf: typeof Gate): Scenario<object> => {
    const closer =
      (causes: number): Body<object> =>
      ({ block }) =>
        new GateOf(block).close(0, causes);
    return {
      sizes,
      ghost: {},
      threads: { T1: closer(CAUSE.refused), T2: closer(CAUSE.quota) },
      check: ({ block }) => {
        const gate = new Gate(block);
        if (gate.generation === 1) assert.notEqual(gate.causesOf(1), 0, 'closed for no cause');
      },
      end: ({ block, returned }) => {
        const gate = new Gate(block);
        assert.notEqual(returned('T1'), returned('T2'), 'closed by both');
        assert.equal(gate.causesOf(1), CAUSE.refused | CAUSE.quota, 'a cause is lost');
        return 'over';
      },
    };
  };

  it('a gate that is closed by looking and then adding', (t) =>
    findsIn(
      t,
      { shipped: Gate, bad: broken.ClosesByAdd },
      (GateOf) => ({
        ...closers(GateOf),
        check: () => {},
        end: ({ returned }) => {
          assert.notEqual(returned('T1'), returned('T2'), 'closed by both');
          return 'over';
        },
      }),
      /closed by both/,
      /add generation 1 = 1/,
    ));

  it('a gate that is closed before it says why', (t) =>
    findsIn(
      t,
      { shipped: Gate, bad: broken.ClosesBeforeItSaysWhy },
      closers,
      /closed for no cause/,
      /generation 0 -> 1 = 0/,
    ));

  it('a gate that says why by looking and then storing', (t) =>
    findsIn(t, { shipped: Gate, bad: broken.SaysWhyByStore }, closers, /a cause is lost/, /store causes/));

  it('a gate that wishes for quiet by looking and then storing', (t) =>
    findsIn(
      t,
      { shipped: Gate, bad: broken.WishesByStore },
      (GateOf) => ({
        sizes,
        ghost: {},
        threads: {
          T1: ({ block }) => new GateOf(block).pauseUntil(100n),
          T2: ({ block }) => new GateOf(block).pauseUntil(200n),
        },
        end: ({ block }) => {
          assert.equal(new Gate(block).pausedUntilNs, 200n, 'the shorter wish is left');
          return 'over';
        },
      }),
      /the shorter wish is left/,
      /store pausedUntilNs := 100/,
    ));

  const quotaAndRefusal = (Closer: typeof GateCloser) =>
    detectors({ T1: { cause: CAUSE.quota, quietNs: 100n }, T2: { cause: CAUSE.refused, quietNs: 300n } }, 1, Closer);

  it('a thread that asks for quiet after it has closed the gate', (t) =>
    findsIn(
      t,
      { shipped: GateCloser, bad: broken.ClosesBeforeItAsksForQuiet },
      quotaAndRefusal,
      /the wish for quiet is not there/,
      /generation 0 -> 1 = 0/,
    ));

  it('a thread that leaves it to the first one to tell of a refusal', (t) =>
    findsIn(
      t,
      { shipped: GateCloser, bad: broken.LetsTheFirstTell },
      quotaAndRefusal,
      /it was refused, and nobody cancels/,
      /T2 compareExchange generation 0 -> 1 = 1 \(lost\)/,
    ));

  const chunk = (Slot: typeof WorkSlot): Scenario<object> => ({
    sizes,
    ghost: {},
    threads: {
      lane: ({ block }) => {
        const slot = new Slot(block, 0);
        let claimed = 0;
        while (claimed < 2 && slot.claim(claimed)) claimed++;
        return claimed;
      },
      main: ({ block }) => new Slot(block, 0).close(),
    },
    end: ({ returned }) => {
      assert.equal(returned('lane'), returned('main'), 'an item is with both or with none');
      return 'over';
    },
  });

  it('a chunk whose items are claimed by looking and then storing', (t) =>
    findsIn(
      t,
      { shipped: WorkSlot, bad: broken.ClaimsByStore },
      chunk,
      /with both or with none/,
      /lane store slot\[0].cursor/,
    ));

  it('a chunk that is closed by looking and then storing', (t) =>
    findsIn(
      t,
      { shipped: WorkSlot, bad: broken.ClosesByStore },
      chunk,
      /with both or with none/,
      /main store slot\[0].cursor/,
    ));

  it('failures that are counted by looking and then storing', (t) =>
    findsIn(
      t,
      { shipped: CircuitCounters, bad: broken.CountsByStore },
      (Counters) => {
        const limits = { failureThreshold: 2, failureRate: 1, minimumCalls: 1e6, windowMs: 8 };
        const thread: Body<object> = ({ block }) => new Counters(block, limits).addFailure(0n);
        return {
          sizes,
          ghost: {},
          threads: { T1: thread, T2: thread },
          end: ({ returned }) => {
            assert.notEqual(returned('T1'), returned('T2'), 'both saw the threshold, or none did');
            return 'over';
          },
        };
      },
      /both saw the threshold, or none did/,
      /store failuresInRow := 1/,
    ));

  it('a ring of calls that says which second it is before it has emptied the count', (t) =>
    findsIn(
      t,
      { shipped: CallCounter, bad: broken.EntersTooEarly },
      (Counter): Scenario<object> => ({
        sizes,
        ghost: {},
        threads: {
          T1: ({ block }) => {
            const counter = new Counter(block, 0);
            for (const second of [0, 0, CALL_SECONDS]) counter.count(BigInt(second) * 1_000_000_000n);
          },
          reader: ({ block }) => Object.fromEntries(new CallReader(block).read())[CALL_SECONDS] ?? 0,
        },
        end: ({ returned }) => {
          assert.ok(Number(returned('reader')) <= 1, `${returned('reader')} calls told of 1`);
          return 'over';
        },
      }),
      /2 calls told of 1/,
      /store calls\[0].second := 64/,
    ));
});
