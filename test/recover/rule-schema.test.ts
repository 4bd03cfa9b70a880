import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ERROR_CODES, InvalidOptionError } from '../../lib/errors.ts';
import { parseOptions } from '../../lib/options-schema.ts';
import { DEFAULT_RULES } from '../../lib/recover/default-rules.ts';
import { recoveryRulesSchema } from '../../lib/recover/rule-schema.ts';
import { options } from '../../lib/schema-parts.ts';
import type { RecoveryRule } from '../../lib/types.ts';
import { assertReadable } from './rule-messages.ts';

const schema = options({ recovery: recoveryRulesSchema });

/** Rules that no type checker has seen, as from JavaScript or JSON. */
function check(recovery: unknown): readonly RecoveryRule[] {
  return parseOptions(schema, { recovery }).recovery;
}

function errorOf(recovery: unknown): InvalidOptionError {
  try {
    check(recovery);
  } catch (error) {
    assert.ok(error instanceof InvalidOptionError, `not an InvalidOptionError: ${String(error)}`);
    return error;
  }
  assert.fail('nothing was thrown');
}

const GOOD: RecoveryRule = {
  type: 'ServerError',
  when: { code: 'HTTP_STATUS', status: { from: 500, to: 599 }, upstreamCode: ['A', 'B'], networkCode: 'ECONNRESET' },
  severity: 'medium',
  actions: ['wait', 'retry'],
  maxAttempts: 4,
  message: { en: 'A problem.', ko: '오류입니다.' },
};

const without = (key: string) => Object.fromEntries(Object.entries(GOOD).filter(([name]) => name !== key));

describe('a list of rules', () => {
  it('comes out as it was given, as a frozen copy', () => {
    const given = structuredClone([GOOD, { ...GOOD, when: {}, actions: [], maxAttempts: undefined }]);
    const rules = check(given);
    assert.deepEqual(rules, [GOOD, { ...without('maxAttempts'), when: {}, actions: [] }]);
    assert.ok(Object.isFrozen(rules) && Object.isFrozen(rules[0]?.actions) && Object.isFrozen(rules[0]?.when.status));
    assert.ok(!Object.isFrozen(given) && !Object.isFrozen(given[0]?.actions));
    assert.deepEqual(check([]), []);
  });

  it('may be the default rules, which people can read', () => {
    assert.deepEqual(check(DEFAULT_RULES), DEFAULT_RULES);
    assertReadable(DEFAULT_RULES);
    const types = DEFAULT_RULES.map(({ type }) => type);
    assert.equal(new Set(types).size, types.length);
  });

  it('may hold any actions that do not contradict each other', () => {
    for (const actions of [
      ['retry'],
      ['refresh-credentials'],
      ['refresh-credentials', 'wait', 'retry', 'trip-circuit', 'notify'],
      ['fail-fast', 'notify', 'trip-circuit'],
    ]) {
      assert.deepEqual(check([{ ...without('maxAttempts'), actions }])[0]?.actions, actions);
    }
    assert.equal(check([{ ...GOOD, actions: ['fail-fast'], maxAttempts: 1 }])[0]?.maxAttempts, 1);
  });

  it('accepts every rule that is valid', () => {
    const code = fc.string({ minLength: 1, maxLength: 64 }).filter((text) => text.trim() !== '');
    const some = <T>(one: fc.Arbitrary<T>) => fc.oneof(one, fc.array(one, { minLength: 1, maxLength: 3 }));
    const status = fc.integer({ min: 100, max: 999 });
    const range = fc.tuple(status, status).map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) }));
    const text = fc.string({ minLength: 1 });
    const rule = fc.record(
      {
        type: code,
        when: fc.record(
          {
            code: some(fc.constantFrom(...ERROR_CODES)),
            status: fc.oneof(some(status), range),
            networkCode: some(code),
            upstreamCode: some(code),
          },
          { requiredKeys: [], noNullPrototype: true },
        ),
        severity: fc.constantFrom('low', 'medium', 'high', 'critical'),
        actions: fc.oneof(
          fc.subarray(['retry', 'refresh-credentials', 'notify', 'trip-circuit']),
          fc.constant(['wait', 'retry']),
        ),
        maxAttempts: fc.integer({ min: 1, max: 1_000_000 }),
        message: fc.record({ ko: text, en: text }, { noNullPrototype: true }),
      },
      { requiredKeys: ['type', 'when', 'severity', 'actions', 'message'], noNullPrototype: true },
    );
    fc.assert(fc.property(fc.array(rule), (rules) => assert.deepEqual(check(rules), rules)));
  });
});

describe('what is wrong with a rule', () => {
  /** Path, then the rule, then what the message must say. */
  const cases: readonly (readonly [path: string, rule: unknown, says: RegExp])[] = [
    ['', 'ServerError', /got "ServerError"; allowed: a recovery rule/],
    ['', null, /got null/],
    ['.type', without('type'), /got undefined; allowed: a name such as/],
    ['.type', { ...GOOD, type: '' }, /got ""/],
    ['.type', { ...GOOD, type: ' ' }, /got " "/],
    ['.type', { ...GOOD, type: 'x'.repeat(65) }, /1 to 64 characters/],
    ['.when', without('when'), /got undefined; allowed: a plain object that says which errors/],
    ['.when', { ...GOOD, when: [] }, /got an array of 0/],
    ['.when.stats', { ...GOOD, when: { stats: 500 } }, /an unknown option; allowed: .*status/],
    ['.when.code', { ...GOOD, when: { code: 'TIMED_OUT' } }, /got "TIMED_OUT"; allowed: "RATE_LIMITED" or "TIMEOUT"/],
    ['.when.code', { ...GOOD, when: { code: [] } }, /got an array of 0; allowed: a list of at least one code/],
    ['.when.code[1]', { ...GOOD, when: { code: ['TIMEOUT', 'ENOTFOUND'] } }, /got "ENOTFOUND"/],
    ['.when.status', { ...GOOD, when: { status: '500' } }, /got "500"; allowed: an integer from 100 to 999/],
    ['.when.status', { ...GOOD, when: { status: 500.5 } }, /got 500.5/],
    ['.when.status', { ...GOOD, when: { status: 0 } }, /got 0/],
    ['.when.status', { ...GOOD, when: { status: [] } }, /a list of at least one status/],
    ['.when.status[0]', { ...GOOD, when: { status: [1000] } }, /got 1000/],
    ['.when.status.to', { ...GOOD, when: { status: { from: 500 } } }, /got undefined/],
    ['.when.status.to', { ...GOOD, when: { status: { from: 599, to: 500 } } }, /got 500; .* "from", which is 599/],
    ['.when.status.step', { ...GOOD, when: { status: { from: 500, to: 599, step: 1 } } }, /an unknown option/],
    ['.when.networkCode', { ...GOOD, when: { networkCode: '' } }, /got ""/],
    ['.when.networkCode', { ...GOOD, when: { networkCode: [] } }, /a list of at least one code/],
    ['.when.upstreamCode', { ...GOOD, when: { upstreamCode: 201 } }, /got 201; allowed: a code of the upstream/],
    ['.when.upstreamCode', { ...GOOD, when: { upstreamCode: [] } }, /a list of at least one code/],
    ['.severity', { ...GOOD, severity: 'LOW' }, /got "LOW"; allowed: "low" or "medium" or "high" or "critical"/],
    ['.actions', { ...GOOD, actions: 'retry' }, /got "retry"; allowed: a list of actions/],
    ['.actions[1]', { ...GOOD, actions: ['wait', 'sleep'] }, /got "sleep"; allowed: "wait" or "retry"/],
    ['.actions', { ...GOOD, actions: ['wait', 'retry', 'fail-fast'] }, /one of "retry" and "fail-fast"/],
    ['.actions', { ...GOOD, actions: ['refresh-credentials', 'fail-fast'] }, /one of "refresh-credentials" and "fail/],
    ['.actions', { ...GOOD, actions: ['wait'] }, /"wait" only together with "retry"/],
    ['.maxAttempts', { ...GOOD, maxAttempts: 0 }, /got 0; allowed: an integer from 1 to 1000000/],
    ['.maxAttempts', { ...GOOD, maxAttempts: 1_000_001 }, /got 1000001/],
    ['.maxAttempts', { ...GOOD, maxAttempts: 1.5 }, /got 1.5/],
    ['.maxAttempts', { ...GOOD, maxAttempts: '3' }, /got "3"/],
    ['.maxAttempts', { ...GOOD, actions: ['fail-fast'], maxAttempts: 3 }, /got 3; .*"fail-fast", which is never again/],
    ['.message', without('message'), /got undefined; allowed: a text for people in both languages/],
    ['.message', { ...GOOD, message: 'A problem.' }, /got "A problem."/],
    ['.message.en', { ...GOOD, message: { ko: '오류입니다.' } }, /got undefined; allowed: a text in English/],
    ['.message.ko', { ...GOOD, message: { en: 'A problem.', ko: '' } }, /got ""; allowed: a text in Korean/],
    ['.message.de', { ...GOOD, message: { ...GOOD.message, de: 'Ein Problem.' } }, /an unknown option/],
    ['.retries', { ...GOOD, retries: 3 }, /an unknown option/],
  ];

  for (const [path, rule, says] of cases) {
    it(`recovery[1]${path}: ${says.source}`, () => {
      const error = errorOf([GOOD, rule]);
      assert.equal(error.option, `recovery[1]${path}`);
      assert.match(error.message, says);
    });
  }

  it('is said also of the list itself', () => {
    assert.match(errorOf(GOOD).message, /"recovery": got an object; allowed: a list of recovery rules/);
  });

  it('is nothing worse, whatever is given', () => {
    const near = fc.record(
      {
        type: fc.anything(),
        when: fc.oneof(fc.anything(), fc.record({ code: fc.anything(), status: fc.anything() }, { requiredKeys: [] })),
        severity: fc.oneof(fc.anything(), fc.constant('low')),
        actions: fc.oneof(fc.anything(), fc.array(fc.anything())),
        message: fc.anything(),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.array(near, { minLength: 1 })), (given) => {
        try {
          check(given);
        } catch (error) {
          assert.ok(error instanceof InvalidOptionError, String(error));
        }
      }),
      { numRuns: 500 },
    );
  });
});
