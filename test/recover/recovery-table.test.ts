import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { inDoubt } from '../../lib/batch/decide.ts';
import { ERROR_CODES, type ErrorCode, ItemError, RateLimitError } from '../../lib/errors.ts';
import { judge } from '../../lib/recover/classify.ts';
import { DEFAULT_RULES } from '../../lib/recover/default-rules.ts';
import { type FailureRecord, toFailureRecord } from '../../lib/recover/error-record.ts';
import { RecoveryTable } from '../../lib/recover/recovery-table.ts';
import { abortedRecord, timeoutRecord } from '../../lib/recover/stop-records.ts';
import type { Classify, ErrorMatch, RecoveryRule, Settled } from '../../lib/types.ts';
import { classify as classifyHttp } from '../../workers/http.ts';
import { anything } from './hostile.ts';

const table = new RecoveryTable([]);

function failure(code: ErrorCode, fields: Partial<FailureRecord> = {}): FailureRecord {
  return { code, name: 'Error', message: 'It failed.', possiblyExecuted: false, ...fields };
}

function ruleFor(when: ErrorMatch, fields: Partial<RecoveryRule> = {}): RecoveryRule {
  return {
    type: 'Mine',
    when,
    severity: 'low',
    actions: ['notify'],
    message: { en: 'Mine.', ko: '내 것.' },
    ...fields,
  };
}

/** Is this record one of those that a rule is for? */
function isFor(when: ErrorMatch, record: FailureRecord): boolean {
  return new RecoveryTable([ruleFor(when)]).find(record).isUsers;
}

/** The verdict of the engine beside the HTTP handler, and what the table says of the same record. */
function compare(settled: Settled, classifiers: readonly Classify[]) {
  const judgement = judge(settled, classifiers, true, table);
  assert.ok(judgement.verdict !== 'ok', 'it failed');
  const { type, actions } = table.find(judgement.record).rule;
  return { verdict: judgement.verdict, record: judgement.record, type, actions };
}

function assertAgree(settled: Settled, classifiers: readonly Classify[], what: string) {
  const said = compare(settled, classifiers);
  const isAgain = said.verdict !== 'fatal';
  assert.equal(said.actions.includes('retry'), isAgain, `${what}: ${said.type} and ${said.verdict}`);
  assert.equal(said.actions.includes('wait'), isAgain, what);
  assert.equal(said.actions.includes('fail-fast'), !isAgain, what);
  return said;
}

const http = [classifyHttp as Classify];
const answer = (status: number, headers = {}): Settled => ({
  ok: true,
  value: { status, headers, body: '' },
  item: { url: '/' },
  attempt: 1,
});
const rejection = (error: unknown): Settled => ({ ok: false, error, item: { url: '/' }, attempt: 1 });

describe('the default rules', () => {
  it('agree with the classifier of the HTTP handler on every status', () => {
    for (let status = 400; status <= 999; status++) {
      const { type, record } = assertAgree(answer(status), http, `status ${status}`);
      assert.equal(type === 'RateLimitError', status === 429, `status ${status}`);
      assert.equal(type === 'ServerError', status >= 500, `status ${status}`);
      // A 5xx counts for the circuit breaker; a word about the request or the rate does not.
      assert.equal(table.countsForCircuit(record), status >= 500, `status ${status}`);
    }
    const refused = assertAgree(answer(503, { 'retry-after': '2' }), http, '503 with Retry-After');
    assert.equal(refused.type, 'RateLimitError');
  });

  it('agree with the classifiers on every code that a handler may throw', () => {
    for (const code of ERROR_CODES) {
      for (const classifiers of [[], http]) {
        const { record, type } = assertAgree(rejection(new ItemError(code, 'Thrown.')), classifiers, code);
        assert.equal(record.code, code);
        assert.notEqual(type, 'UnknownError', `${code} has no row of its own`);
        assert.equal(table.countsForCircuit(record), code === 'TIMEOUT' || code === 'NETWORK', code);
      }
    }
    assertAgree(rejection(new RateLimitError()), http, 'RateLimitError');
    assertAgree(rejection(new Error('A bug.')), http, 'a bug');
    assertAgree(rejection(null), http, 'null');
  });

  it('tell kinds of network errors apart, and treat them alike', () => {
    const typeOf = (code: string) => {
      const cause = Object.assign(new Error('Gone.'), { code });
      const { type, record } = assertAgree(rejection(new ItemError('NETWORK', 'Gone.', { cause })), http, code);
      assert.ok(table.countsForCircuit(record), code);
      return type;
    };
    assert.equal(typeOf('ENOTFOUND'), 'NameResolutionError');
    assert.equal(typeOf('ECONNREFUSED'), 'UnreachableError');
    assert.equal(typeOf('ECONNRESET'), 'ConnectionError');
    assert.equal(typeOf('UND_ERR_SOCKET'), 'ConnectionError');
    assert.equal(typeOf('NEVER_HEARD_OF'), 'ConnectionError');
  });

  it('know the records that the engine makes itself', () => {
    const typeOf = (record: FailureRecord) => table.find(record).rule.type;
    assert.equal(typeOf(timeoutRecord(50, true)), 'Timeout');
    assert.equal(typeOf(inDoubt(timeoutRecord(50, true))), 'InDoubtError');
    assert.equal(
      typeOf(inDoubt(failure('NETWORK', { cause: { name: '', message: '', code: 'ENOTFOUND' } }))),
      'InDoubtError',
    );
    assert.equal(typeOf(abortedRecord(true)), 'AbortError');
  });

  it('say the kinds of a 4xx', () => {
    const typeOf = (status: number) => table.find(failure('HTTP_STATUS', { status })).rule.type;
    assert.equal(typeOf(400), 'InvalidParameterError');
    assert.equal(typeOf(401), 'AuthenticationError');
    assert.equal(typeOf(403), 'PermissionDeniedError');
    assert.equal(typeOf(404), 'NoDataError');
    assert.equal(typeOf(409), 'HttpStatusError');
  });

  it('end with a rule for every error', () => {
    const odd = { ...failure('HANDLER'), code: 'NEVER_HEARD_OF' as ErrorCode };
    assert.equal(table.find(odd).rule, DEFAULT_RULES.at(-1));
    assert.deepEqual(DEFAULT_RULES.at(-1)?.when, {});
  });

  it('are each of use: none is hidden behind those before it', () => {
    for (const rule of DEFAULT_RULES) {
      const { code, status, networkCode } = rule.when;
      const first = <T>(of: T | readonly T[] | undefined) => (Array.isArray(of) ? of[0] : of) as T | undefined;
      const oneStatus = typeof status === 'object' && 'from' in status ? status.from : first<number>(status);
      const oneCode = first<string>(networkCode);
      const record = failure(first<ErrorCode>(code) ?? ('NEVER_HEARD_OF' as ErrorCode), {
        ...(oneStatus === undefined ? {} : { status: oneStatus }),
        ...(oneCode === undefined ? {} : { cause: { name: 'Error', message: '', code: oneCode } }),
      });
      assert.equal(table.find(record).rule, rule, rule.type);
    }
  });

  it('leave the number of attempts to the options', () => {
    for (const rule of DEFAULT_RULES) assert.equal(rule.maxAttempts, undefined, rule.type);
  });

  it('cannot be changed through the record of a failure', () => {
    const { actions } = table.describe(failure('TIMEOUT'), 'en');
    assert.throws(() => (actions as string[]).push('fail-fast'), TypeError);
  });
});

describe('find', () => {
  it('tries the rules of the user first, in their order', () => {
    const record = failure('TIMEOUT');
    const rules = [ruleFor({ code: 'NETWORK' }), ruleFor({ code: 'TIMEOUT' }), ruleFor({})];
    assert.deepEqual(new RecoveryTable(rules).find(record), { rule: rules[1], isUsers: true });
    assert.deepEqual(new RecoveryTable(rules.toReversed()).find(record), { rule: rules[2], isUsers: true });
    assert.equal(new RecoveryTable(rules.slice(0, 1)).find(record).isUsers, false);
  });

  it('compares codes as a whole', () => {
    assert.ok(!isFor({ upstreamCode: 'EGW00201' }, failure('HANDLER', { upstreamCode: 'EGW002' })));
    assert.ok(!isFor({ upstreamCode: 'EGW002' }, failure('HANDLER', { upstreamCode: 'EGW00201' })));
    assert.ok(!isFor({ upstreamCode: 'EGW00201' }, failure('HANDLER')));
    assert.ok(!isFor({ networkCode: 'toString' }, failure('NETWORK')));
  });

  it('looks for the network code in the cause right underneath', () => {
    const cause = { name: 'Error', message: '', code: 'ECONNRESET' };
    assert.ok(isFor({ networkCode: 'ECONNRESET' }, failure('NETWORK', { cause })));
    const deeper = { cause: { name: 'Error', message: '', cause } };
    assert.ok(!isFor({ networkCode: 'ECONNRESET' }, failure('NETWORK', deeper)));
  });

  it('wants every condition that is given, and no other', () => {
    const codes = fc.constantFrom('A', 'AB', 'ECONNRESET', 'EGW00201');
    const records = fc.record({
      code: fc.constantFrom(...ERROR_CODES),
      status: fc.integer({ min: 100, max: 999 }),
      networkCode: codes,
      upstreamCode: codes,
    });
    type Key = 'code' | 'status' | 'networkCode' | 'upstreamCode';
    const KEYS: readonly Key[] = ['code', 'status', 'networkCode', 'upstreamCode'];
    /** Something that a field never is. */
    const WRONG = { code: 'ABSENT', status: 99, networkCode: 'ABSENT', upstreamCode: 'ABSENT' };

    fc.assert(
      fc.property(
        records,
        fc.subarray([...KEYS]),
        fc.array(fc.constantFrom('one', 'list', 'range'), { minLength: 4, maxLength: 4 }),
        fc.option(fc.constantFrom(...KEYS)),
        fc.option(fc.constantFrom(...KEYS)),
        (fields, given, shapes, wrong, missing) => {
          const record = failure(fields.code, {
            ...(missing === 'status' ? {} : { status: fields.status }),
            ...(missing === 'upstreamCode' ? {} : { upstreamCode: fields.upstreamCode }),
            ...(missing === 'networkCode' ? {} : { cause: { name: 'E', message: '', code: fields.networkCode } }),
          });
          const when = Object.fromEntries(
            given.map((key) => {
              const value = key === wrong ? WRONG[key] : fields[key];
              switch (shapes[KEYS.indexOf(key)]) {
                case 'one':
                  return [key, value];
                case 'range':
                  if (typeof value === 'number') return [key, { from: value, to: value === 99 ? 99 : value + 5 }];
                  return [key, [value]];
                default:
                  return [key, [WRONG[key], value]];
              }
            }),
          );
          const fails = (key: Key | null) => key !== null && key !== 'code' && given.includes(key);
          const isWrong = wrong !== null && given.includes(wrong);
          assert.equal(isFor(when as ErrorMatch, record), !isWrong && !fails(missing));
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it('takes both ends of a range', () => {
    const isIn = (status: number) => isFor({ status: { from: 500, to: 503 } }, failure('HTTP_STATUS', { status }));
    assert.deepEqual([499, 500, 502, 503, 504].map(isIn), [false, true, true, true, false]);
    assert.ok(!isFor({ status: { from: 100, to: 999 } }, failure('NETWORK')), 'no status is in no range');
  });

  it('finds the same rule with rules that were cloned to a thread', () => {
    const rules = [ruleFor({ code: ['TIMEOUT'], status: { from: 1, to: 2 } }), ruleFor({ upstreamCode: 'X' })];
    const cloned = new RecoveryTable(structuredClone(rules));
    assert.deepEqual(cloned.find(failure('HANDLER', { upstreamCode: 'X' })), { rule: rules[1], isUsers: true });
    assert.deepEqual(cloned.find(failure('TIMEOUT', { status: 2 })), { rule: rules[0], isUsers: true });
  });

  it('has a rule for whatever a handler throws, and tells people nothing of it', () => {
    const known = new Set(DEFAULT_RULES.flatMap(({ message }) => [message.ko, message.en]));
    fc.assert(
      fc.property(anything, fc.boolean(), (make, possiblyExecuted) => {
        const described = table.describe(toFailureRecord(make(), possiblyExecuted), 'ko');
        assert.ok(known.has(described.userMessage));
        assert.deepEqual(structuredClone(described), described);
      }),
      { numRuns: 500 },
    );
  });
});

describe('describe and countsForCircuit', () => {
  const rule = ruleFor(
    { code: 'HTTP_STATUS', status: 404 },
    { type: 'Missing', severity: 'critical', actions: ['fail-fast', 'trip-circuit'] },
  );
  const own = new RecoveryTable([rule]);
  const record = failure('HTTP_STATUS', { status: 404 });

  it('go by the rule that was found', () => {
    const { type, severity, actions } = rule;
    assert.deepEqual(own.describe(record, 'en'), { type, severity, actions, userMessage: 'Mine.' });
    assert.deepEqual(own.describe(record, 'ko'), { type, severity, actions, userMessage: '내 것.' });
    assert.ok(own.countsForCircuit(record));
    assert.ok(!table.countsForCircuit(record));
  });

  it('do not count refusals for the circuit breaker, unless that is wanted', () => {
    const refusal = failure('RATE_LIMITED');
    const counts = [table.countsForCircuit(refusal), table.countsForCircuit(refusal, true)];
    assert.deepEqual(counts, [false, true]);
    assert.equal(table.countsForCircuit(failure('HANDLER'), true), table.countsForCircuit(failure('HANDLER')));
    assert.equal(table.countsForCircuit(record, true), false);
  });
});
