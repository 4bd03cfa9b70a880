import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Decision, decide, inDoubt, type RetryRules, refusedForGood, rulesFor } from '../../lib/batch/decide.ts';
import type { WorkItem } from '../../lib/batch/work-queue.ts';
import { ERROR_CODES, type ErrorCode } from '../../lib/errors.ts';
import { END } from '../../lib/protocol.ts';
import type { FailureRecord } from '../../lib/recover/error-record.ts';
import type { RecoveryRule } from '../../lib/types.ts';

const RULES: RetryRules = {
  scope: 'unfinished',
  maxAttempts: 3,
  maxRefusals: 5,
  initialMs: 1_000,
  factor: 2,
  maxMs: 32_000,
  jitter: 0.1,
  maxRetryAfterMs: 120_000,
};

const entryOf = (entry: Partial<WorkItem> = {}): WorkItem => ({
  index: 7,
  item: 'item',
  attempts: 0,
  refusals: 0,
  refreshes: 0,
  possiblyExecuted: false,
  sendFailures: 0,
  ...entry,
});

const recordOf = (record: Partial<FailureRecord> = {}): FailureRecord => ({
  code: 'NETWORK',
  name: 'ItemError',
  message: 'Gone.',
  possiblyExecuted: false,
  ...record,
});

type EndName = keyof typeof END;

/** One case of the decision table. */
interface Case {
  readonly end: EndName;
  readonly scope: 'unfinished' | 'batch';
  readonly idempotent: boolean;
  readonly executed: boolean;
  /** One more attempt, refusal, or attempt with refused credentials, is the last. */
  readonly isLast: boolean;
}

/** What is expected of all cases that have these values. */
interface Row extends Partial<Omit<Case, 'end'>> {
  readonly end: EndName | readonly EndName[];
  readonly next: 'front' | 'last' | 'later' | 'fails as it is' | 'fails in doubt' | 'fails as refused';
  readonly attempts: 0 | 1;
  readonly refusals: 0 | 1;
  /** The attempt counts as one whose credentials were refused, too. */
  readonly refreshes?: 1;
  /** The item remembers that it may have been executed. */
  readonly remembers?: true;
}

const TABLE: readonly Row[] = [
  { end: ['cancelled', 'notStarted'], next: 'front', attempts: 0, refusals: 0 },
  { end: ['fatal', 'aborted'], next: 'fails as it is', attempts: 1, refusals: 0 },
  { end: 'refused', scope: 'unfinished', isLast: false, next: 'last', attempts: 0, refusals: 1 },
  { end: 'refused', scope: 'unfinished', isLast: true, next: 'fails as refused', attempts: 0, refusals: 1 },
  { end: 'refused', scope: 'batch', next: 'last', attempts: 0, refusals: 1 },
  { end: 'retry', executed: false, isLast: false, next: 'later', attempts: 1, refusals: 0 },
  { end: 'retry', executed: false, isLast: true, next: 'fails as it is', attempts: 1, refusals: 0 },
  { end: 'retry', executed: true, idempotent: false, next: 'fails in doubt', attempts: 1, refusals: 0 },
  {
    end: 'retry',
    executed: true,
    idempotent: true,
    isLast: false,
    next: 'later',
    attempts: 1,
    refusals: 0,
    remembers: true,
  },
  {
    end: 'retry',
    executed: true,
    idempotent: true,
    isLast: true,
    next: 'fails as it is',
    attempts: 1,
    refusals: 0,
    remembers: true,
  },
  { end: 'stale', executed: false, isLast: false, next: 'front', attempts: 1, refusals: 0, refreshes: 1 },
  { end: 'stale', executed: false, isLast: true, next: 'fails as it is', attempts: 1, refusals: 0, refreshes: 1 },
  { end: 'stale', executed: true, idempotent: false, next: 'fails in doubt', attempts: 1, refusals: 0, refreshes: 1 },
  {
    end: 'stale',
    executed: true,
    idempotent: true,
    isLast: false,
    next: 'front',
    attempts: 1,
    refusals: 0,
    refreshes: 1,
    remembers: true,
  },
  {
    end: 'stale',
    executed: true,
    idempotent: true,
    isLast: true,
    next: 'fails as it is',
    attempts: 1,
    refusals: 0,
    refreshes: 1,
    remembers: true,
  },
];

/** Ends that come without a record: nothing happened to the item. */
const WITHOUT_RECORD: readonly EndName[] = ['cancelled', 'notStarted'];

function* cases(): Generator<Case> {
  for (const end of Object.keys(END) as EndName[]) {
    if (end === 'ok') continue;
    for (const scope of ['unfinished', 'batch'] as const) {
      for (const idempotent of [true, false]) {
        for (const executed of [true, false]) {
          for (const isLast of [true, false]) yield { end, scope, idempotent, executed, isLast };
        }
      }
    }
  }
}

const rowsOf = (one: Case): Row[] =>
  TABLE.filter(
    ({ end, scope = one.scope, idempotent = one.idempotent, executed = one.executed, isLast = one.isLast }) =>
      [end].flat().includes(one.end) &&
      scope === one.scope &&
      idempotent === one.idempotent &&
      executed === one.executed &&
      isLast === one.isLast,
  );

function assertNext(decision: Decision, next: Row['next'], record: FailureRecord): void {
  if (next === 'front' || next === 'last' || next === 'later') {
    assert.equal(decision.next, next);
    return;
  }
  assert.ok(decision.next === 'fail', `it fails, and does not go to "${decision.next}"`);
  if (next === 'fails as it is') assert.equal(decision.record, record);
  else if (next === 'fails in doubt') assert.deepEqual(decision.record, inDoubt(record));
  else assert.equal(decision.record.code, 'RATE_LIMITED');
}

describe('decide', () => {
  for (const one of cases()) {
    const { end, scope, idempotent, executed, isLast } = one;
    const words = [
      end,
      scope,
      idempotent ? 'idempotent' : 'not idempotent',
      executed ? 'perhaps executed' : 'not executed',
      isLast ? 'the last' : 'not the last',
    ];
    it(words.join(', '), () => {
      const [row, another] = rowsOf(one);
      assert.ok(row && another === undefined, 'the table has one row for it');
      const before = isLast
        ? { attempts: 2, refusals: 4, refreshes: end === 'stale' ? 2 : 0 }
        : { attempts: 0, refusals: 0, refreshes: 0 };
      const entry = entryOf(before);
      const record = recordOf({ possiblyExecuted: executed });
      const given = WITHOUT_RECORD.includes(end) ? undefined : record;
      const decision = decide(END[end], given, idempotent, entry, { ...RULES, scope }, 0);
      assertNext(decision, row.next, record);
      assert.deepEqual(
        entry,
        entryOf({
          attempts: before.attempts + row.attempts,
          refusals: before.refusals + row.refusals,
          refreshes: before.refreshes + (row.refreshes ?? 0),
          possiblyExecuted: row.remembers ?? false,
        }),
      );
    });
  }

  it('waits longer after each attempt, with jitter', () => {
    const entry = entryOf();
    const rules = { ...RULES, maxAttempts: 10 };
    const waits = Array.from({ length: 7 }, () => decide(END.retry, recordOf(), true, entry, rules, 0.5));
    assert.deepEqual(
      waits,
      [1_050, 2_100, 4_200, 8_400, 16_800, 33_600, 33_600].map((delayMs) => ({ next: 'later', delayMs })),
    );
  });

  it('waits as long as the upstream asks, or fails if that is too long', () => {
    const ask = (retryAfterMs: number) => decide(END.retry, recordOf({ retryAfterMs }), true, entryOf(), RULES, 0);
    assert.deepEqual(ask(5_000), { next: 'later', delayMs: 5_000 });
    assert.deepEqual(ask(120_000), { next: 'later', delayMs: 120_000 });
    assert.equal(ask(120_001).next, 'fail');
  });

  it('never forgets that an earlier attempt may have been executed', () => {
    const entry = entryOf();
    decide(END.retry, recordOf({ possiblyExecuted: true }), true, entry, RULES, 0);
    decide(END.retry, recordOf({ possiblyExecuted: false }), true, entry, RULES, 0);
    decide(END.refused, recordOf({ code: 'RATE_LIMITED' }), true, entry, RULES, 0);
    assert.equal(entry.possiblyExecuted, true);
  });

  it('counts attempts with refused credentials for themselves', () => {
    const entry = entryOf();
    decide(END.retry, recordOf(), true, entry, RULES, 0);
    const stale = recordOf({ code: 'HTTP_STATUS', status: 401 });
    assert.deepEqual(decide(END.stale, stale, true, entry, RULES, 0), { next: 'front' });
    assert.deepEqual(decide(END.stale, stale, true, entry, RULES, 0), { next: 'front' });
    // The second attempt of three that was let down: it waits as long as a second one does.
    assert.deepEqual(decide(END.retry, recordOf(), true, entry, RULES, 0), { next: 'later', delayMs: 2_000 });
    assert.deepEqual([entry.attempts, entry.refreshes], [4, 2]);
    assert.deepEqual(decide(END.stale, stale, true, entry, RULES, 0), { next: 'fail', record: stale });
  });

  it('lets the waits be longer', () => {
    const wait = (initialMs: number) => decide(END.retry, recordOf(), true, entryOf(), { ...RULES, initialMs }, 0, 2);
    assert.deepEqual(wait(1_000), { next: 'later', delayMs: 2_000 });
    assert.deepEqual(wait(20_000), { next: 'later', delayMs: 32_000 });
  });

  it('allows one attempt, or one refusal, where the rules say so', () => {
    assert.equal(decide(END.retry, recordOf(), true, entryOf(), { ...RULES, maxAttempts: 1 }, 0).next, 'fail');
    assert.equal(decide(END.stale, recordOf(), true, entryOf(), { ...RULES, maxAttempts: 1 }, 0).next, 'fail');
    assert.equal(decide(END.refused, recordOf(), true, entryOf(), { ...RULES, maxRefusals: 1 }, 0).next, 'fail');
  });
});

describe('rulesFor', () => {
  const found = (isUsers: boolean, rule: Partial<RecoveryRule>) => ({
    isUsers,
    rule: { type: 'Test', when: {}, severity: 'low', actions: [], message: { ko: '', en: '' }, ...rule } as const,
  });

  it('leaves the rules alone where the table has nothing to say', () => {
    for (const actions of [['retry', 'wait'], ['refresh-credentials'], ['notify'], []] as const) {
      assert.equal(rulesFor(found(true, { actions }), RULES), RULES);
    }
    // Built-in rules describe what was decided, and decide nothing.
    assert.equal(rulesFor(found(false, { actions: ['fail-fast'] }), RULES), RULES);
    assert.equal(rulesFor(found(false, { actions: ['retry'] }), RULES), RULES);
  });

  it('takes attempts from the rule, for refusals too', () => {
    const rules = rulesFor(found(true, { actions: ['retry', 'wait'], maxAttempts: 7 }), RULES);
    assert.deepEqual(rules, { ...RULES, maxAttempts: 7, maxRefusals: 7 });
  });

  it('waits for nothing where the rule says retry without wait', () => {
    assert.deepEqual(rulesFor(found(true, { actions: ['retry'] }), RULES), { ...RULES, initialMs: 0 });
  });

  it('never tries again what fails fast', () => {
    const rules = rulesFor(found(true, { actions: ['fail-fast'] }), RULES);
    assert.deepEqual([rules.maxAttempts, rules.maxRefusals], [1, 1]);
    assert.equal(decide(END.retry, recordOf(), true, entryOf(), rules, 0).next, 'fail');
  });
});

describe('inDoubt', () => {
  const DOUBTFUL: readonly ErrorCode[] = ['NETWORK', 'TIMEOUT', 'WORKER_LOST'];

  it('is what nobody knows about; an answer, whatever it says, stays what it is', () => {
    for (const code of ERROR_CODES) {
      const record = recordOf({ code, possiblyExecuted: true });
      if (!DOUBTFUL.includes(code)) {
        assert.equal(inDoubt(record), record);
        continue;
      }
      assert.deepEqual(inDoubt({ ...record, status: 502, cause: { name: 'Error', message: 'Below.' } }), {
        code: 'IN_DOUBT',
        name: 'InDoubtError',
        message: `The request was sent and may have been executed, and it is not idempotent, so it was not sent again. Gone.`,
        status: 502,
        possiblyExecuted: true,
        cause: { name: 'ItemError', message: 'Gone.', code, cause: { name: 'Error', message: 'Below.' } },
      });
    }
  });
});

describe('refusedForGood', () => {
  it('keeps what the upstream said, and says that nothing was executed', () => {
    const record = recordOf({ status: 429, retryAfterMs: 50, possiblyExecuted: true });
    const { message, ...rest } = refusedForGood(record, 'refused 5 times');
    assert.match(message, /refused 5 times/);
    assert.deepEqual(rest, {
      code: 'RATE_LIMITED',
      name: 'RateLimitError',
      status: 429,
      retryAfterMs: 50,
      possiblyExecuted: false,
    });
    assert.equal(refusedForGood(undefined, 'why').code, 'RATE_LIMITED');
  });
});
