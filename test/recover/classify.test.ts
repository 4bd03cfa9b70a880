import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ItemError, RateLimitError } from '../../lib/errors.ts';
import { classifyByDefault, type Judgement, judge as judgeBy } from '../../lib/recover/classify.ts';
import type { FailureRecord } from '../../lib/recover/error-record.ts';
import { RecoveryTable } from '../../lib/recover/recovery-table.ts';
import type { Classify, RecoveryRule, Settled, Verdict } from '../../lib/types.ts';
import { anything, hostile, trapped, withGetters } from './hostile.ts';

const VERDICTS: readonly string[] = ['ok', 'rate-limit', 'retry', 'fatal'] satisfies Verdict[];
const DEFAULT_TABLE = new RecoveryTable([]);

const answer = (value: unknown): Settled => ({ ok: true, value, item: 'item', attempt: 1 });
const rejection = (error: unknown): Settled => ({ ok: false, error, item: 'item', attempt: 1 });
/** A classifier that says this, whatever its type allows. */
const saying = (said: unknown): Classify => (() => said) as Classify;

const judge = (settled: Settled, classifiers: readonly Classify[], possiblyExecuted: boolean, table = DEFAULT_TABLE) =>
  judgeBy(settled, classifiers, possiblyExecuted, table);

function recordOf(judgement: Judgement): FailureRecord {
  assert.ok(judgement.verdict !== 'ok', 'it failed');
  return judgement.record;
}

function assertJudged(judgement: Judgement): void {
  assert.ok(VERDICTS.includes(judgement.verdict));
  if (judgement.verdict === 'ok') return;
  assert.deepEqual(structuredClone(judgement.record), judgement.record);
  assert.deepEqual(JSON.parse(JSON.stringify(judgement.record)), judgement.record);
  assert.ok(JSON.stringify(judgement.record).length < 300_000, 'it is not large');
}

describe('classifyByDefault', () => {
  it('takes an answer for a success', () => {
    assert.deepEqual(classifyByDefault(answer({ status: 500 })), { verdict: 'ok' });
  });

  it('goes by the code of what was thrown', () => {
    const verdictOf = (error: unknown) => classifyByDefault(rejection(error)).verdict;
    assert.equal(verdictOf(new RateLimitError()), 'rate-limit');
    assert.equal(verdictOf(new ItemError('NETWORK', '')), 'retry');
    assert.equal(verdictOf(new ItemError('TIMEOUT', '')), 'retry');
    assert.equal(verdictOf(new ItemError('INVALID_RESPONSE', '')), 'retry');
    assert.equal(verdictOf(Object.assign(new Error('Reset.'), { code: 'ECONNRESET' })), 'retry');
    assert.equal(verdictOf(new ItemError('HTTP_STATUS', '')), 'fatal');
    assert.equal(verdictOf(new Error('A bug.')), 'fatal');
    assert.equal(verdictOf(null), 'fatal');
  });

  it('passes a hint on', () => {
    assert.equal(classifyByDefault(rejection(new RateLimitError({ retryAfterMs: 50 }))).retryAfterMs, 50);
    assert.equal(classifyByDefault(rejection(new ItemError('NETWORK', '', { retryAfterMs: 60 }))).retryAfterMs, 60);
  });
});

describe('judge', () => {
  it('asks the classifiers in turn until one has a verdict, and then the default rules', () => {
    const asked: string[] = [];
    const classifier = (name: string, verdict: Verdict | undefined) => () => {
      asked.push(name);
      return verdict;
    };
    const judgement = judge(
      answer(1),
      [classifier('a', undefined), classifier('b', 'retry'), classifier('c', 'fatal')],
      true,
    );
    assert.equal(judgement.verdict, 'retry');
    assert.deepEqual(asked, ['a', 'b']);
    assert.deepEqual(judge(answer(1), [classifier('d', undefined)], true), { verdict: 'ok' });
  });

  it('shows a classifier how the call ended', () => {
    for (const settled of [answer({ status: 200 }), rejection(new Error('A bug.'))]) {
      judge(
        settled,
        [
          (seen) => {
            assert.deepEqual(seen, settled);
            return undefined;
          },
        ],
        true,
      );
    }
  });

  it('says of a refusal that nothing was executed, whoever says so', () => {
    for (const settled of [answer({ status: 500 }), rejection(new Error('Slow down.'))]) {
      const record = recordOf(judge(settled, [saying({ verdict: 'rate-limit', retryAfterMs: 70 })], true));
      assert.equal(record.code, 'RATE_LIMITED');
      assert.equal(record.possiblyExecuted, false);
      assert.equal(record.retryAfterMs, 70);
    }
    assert.equal(recordOf(judge(rejection(new RateLimitError({ retryAfterMs: 9 })), [], true)).retryAfterMs, 9);
    assert.equal(
      recordOf(judge(rejection(new RateLimitError({ retryAfterMs: 9 })), [saying('rate-limit')], true)).retryAfterMs,
      9,
    );
  });

  it('says of an answer that is no success whether it may have been executed', () => {
    const recordOfStatus = (status: unknown) => recordOf(judge(answer({ status }), [saying('fatal')], false));
    assert.deepEqual(recordOfStatus(404), {
      code: 'HTTP_STATUS',
      name: 'ItemError',
      message: 'The upstream answered with status 404.',
      status: 404,
      possiblyExecuted: false,
    });
    assert.equal(recordOfStatus(500).possiblyExecuted, true);
    assert.equal(recordOfStatus(200).code, 'INVALID_RESPONSE');
    assert.equal(recordOfStatus(200).possiblyExecuted, true);
    assert.equal(recordOfStatus('500').status, undefined);
    assert.equal(recordOfStatus(Number.NaN).status, undefined);
  });

  it('knows of a rejection what the lane knows', () => {
    for (const possiblyExecuted of [true, false]) {
      const record = recordOf(judge(rejection(new ItemError('NETWORK', 'Gone.')), [], possiblyExecuted));
      assert.equal(record.possiblyExecuted, possiblyExecuted);
    }
  });

  it('takes code, message and hint of a classifier before its own', () => {
    const said = { verdict: 'fatal', code: 'NETWORK', message: 'My words.', retryAfterMs: 12 };
    for (const settled of [answer({ status: 500 }), rejection(new Error('A bug.'))]) {
      const { code, message, retryAfterMs } = recordOf(judge(settled, [saying(said)], true));
      assert.deepEqual([code, message, retryAfterMs], ['NETWORK', 'My words.', 12]);
    }
  });

  it('does not take an unknown code or an impossible hint', () => {
    const said = { verdict: 'fatal', code: 'EWHATEVER', retryAfterMs: -5 };
    const { code, retryAfterMs } = recordOf(judge(answer({ status: 500 }), [saying(said)], true));
    assert.deepEqual([code, retryAfterMs], ['HTTP_STATUS', undefined]);
  });

  it('takes from a classifier what the upstream calls the error, and whether it did what it was asked', () => {
    const said = { upstreamCode: 'EGW00133', possiblyExecuted: false };
    const { upstreamCode, possiblyExecuted } = recordOf(
      judge(answer(1), [saying({ verdict: 'retry', ...said })], true),
    );
    assert.deepEqual({ upstreamCode, possiblyExecuted }, said);
    const cut = recordOf(judge(answer(1), [saying({ verdict: 'retry', upstreamCode: 'E'.repeat(65) })], true));
    assert.deepEqual([cut.upstreamCode, cut.possiblyExecuted], ['E'.repeat(64), true]);
    const refused = judge(answer(1), [saying({ verdict: 'rate-limit', possiblyExecuted: true })], true);
    assert.equal(recordOf(refused).possiblyExecuted, false, 'a refusal was not executed, whoever says what');
  });

  it('passes on what the upstream said of its quota, whatever the verdict', () => {
    const hints = [{ quotaResetMs: 5 }, { ignoredHints: 2 }, { quotaResetMs: 5, ignoredHints: 2 }];
    for (const verdict of VERDICTS) {
      for (const hint of hints) {
        const { quotaResetMs, ignoredHints } = judge(answer(1), [saying({ verdict, ...hint })], true);
        assert.deepEqual({ quotaResetMs, ignoredHints }, { quotaResetMs: undefined, ignoredHints: undefined, ...hint });
      }
    }
    assert.deepEqual(Object.keys(judge(answer(1), [saying({ verdict: 'ok' })], true)), ['verdict']);
  });

  it('lets a rule of the user have the last word, but for refusals', () => {
    const tableOf = (...actions: RecoveryRule['actions']) =>
      new RecoveryTable([
        {
          type: 'Mine',
          when: { code: ['HTTP_STATUS', 'RATE_LIMITED'] },
          severity: 'low',
          actions,
          message: { en: '', ko: '' },
        },
      ]);
    const verdictBy = (table: RecoveryTable, verdict: Verdict) =>
      judge(answer({ status: 500 }), [saying(verdict)], true, table).verdict;
    for (const [table, retry, fatal] of [
      [DEFAULT_TABLE, 'retry', 'fatal'],
      [tableOf('notify'), 'retry', 'fatal'],
      [tableOf('retry'), 'retry', 'retry'],
      [tableOf('fail-fast'), 'fatal', 'fatal'],
      [tableOf('retry', 'refresh-credentials'), 'stale', 'stale'],
    ] as const) {
      assert.deepEqual([verdictBy(table, 'retry'), verdictBy(table, 'fatal')], [retry, fatal]);
      assert.equal(verdictBy(table, 'rate-limit'), 'rate-limit');
    }
    assert.equal(judge(rejection(new ItemError('NETWORK', '')), [], true, tableOf('fail-fast')).verdict, 'retry');
  });

  it('never lets a rejection pass for a success', () => {
    const record = recordOf(judge(rejection(new Error('A bug.')), [saying('ok')], true));
    assert.equal(record.code, 'HANDLER');
    assert.match(record.message, /"ok"/);
  });

  it('fails the item when its classifier throws, whatever it throws', () => {
    for (const make of Object.values(hostile)) {
      const thrower: Classify = () => {
        throw make();
      };
      const judgement = judge(answer(1), [thrower], true);
      assertJudged(judgement);
      assert.equal(judgement.verdict, 'fatal');
      assert.equal(recordOf(judgement).code, 'HANDLER');
    }
  });

  it('fails the item when its classifier says something that is no verdict', () => {
    const fail = () => {
      throw new Error('A trap.');
    };
    const nonsense = [
      null,
      '',
      'OK',
      0,
      true,
      Symbol('ok'),
      () => 'ok',
      [],
      {},
      { verdict: 'OK' },
      { verdict: null },
      trapped(),
      withGetters({ verdict: fail }),
    ];
    for (const said of nonsense) {
      const judgement = judge(answer(1), [saying(said)], false);
      assertJudged(judgement);
      assert.equal(recordOf(judgement).code, 'HANDLER');
    }
  });

  it('fails the item when its classifier is async, and lets no rejection of it escape', async () => {
    const judgement = judge(answer(1), [saying(Promise.reject(new Error('Late.')))], false);
    assert.equal(recordOf(judgement).code, 'HANDLER');
    // The runner fails a test during which a rejection goes unhandled.
    await new Promise((resolve) => setImmediate(resolve));
  });

  it('survives a verdict with traps in it', () => {
    const fail = () => {
      throw new Error('A trap.');
    };
    for (const verdict of ['rate-limit', 'retry', 'fatal'] as const) {
      for (const key of ['code', 'message', 'retryAfterMs']) {
        const judgement = judge(
          answer({ status: 500 }),
          [saying(withGetters({ verdict: () => verdict, [key]: fail }))],
          true,
        );
        assertJudged(judgement);
        assert.equal(judgement.verdict, verdict);
      }
      const message = { toString: fail };
      assertJudged(judge(answer({ status: 500 }), [saying({ verdict, message })], true));
      const huge = judge(
        answer({ status: 500 }),
        [saying({ verdict, message: 'x'.repeat(1e6), retryAfterMs: 1e308 })],
        true,
      );
      assertJudged(huge);
      assert.ok(recordOf(huge).message.length <= 2_000);
      assert.ok((recordOf(huge).retryAfterMs ?? 0) <= Number.MAX_SAFE_INTEGER);
    }
  });

  it('reads a verdict once, so that it cannot change its mind', () => {
    let calls = 0;
    const said = withGetters({ verdict: () => (calls++ === 0 ? 'fatal' : 'ok') });
    assert.equal(judge(answer(1), [saying(said)], true).verdict, 'fatal');
  });

  it('judges anything, by anything', () => {
    const said = fc.oneof(
      anything,
      fc
        .record(
          { verdict: fc.constantFrom(...VERDICTS), code: anything, message: anything, retryAfterMs: anything },
          { requiredKeys: ['verdict'] },
        )
        .map(({ verdict, ...makers }) => () => ({
          verdict,
          ...Object.fromEntries(Object.entries(makers).map(([key, make]) => [key, make()])),
        })),
    );
    fc.assert(
      fc.property(fc.boolean(), anything, said, fc.boolean(), (ok, make, say, possiblyExecuted) => {
        const settled = ok ? answer(make()) : rejection(make());
        assertJudged(judge(settled, [saying(say())], possiblyExecuted));
      }),
      { numRuns: 1_000 },
    );
  });
});
