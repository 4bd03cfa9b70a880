import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { ErrorCode } from '../../lib/errors.ts';
import { type KisItem, toErrorInfo, toLegacyList } from '../../lib/kis/index.ts';
import type { Failure } from '../../lib/types.ts';
import { startKis } from './support.ts';

function failureOf(code: ErrorCode, type: string, message: string): Failure {
  return {
    ok: false,
    index: 0,
    attempts: 1,
    waitMs: 0,
    durationMs: 0,
    threadId: 1,
    error: {
      code,
      type,
      message,
      severity: 'low',
      actions: [],
      name: 'ItemError',
      userMessage: '',
      attempts: 1,
      possiblyExecuted: false,
    },
  };
}

describe('the record of the Python model', () => {
  it('has its seven fields, and no other', () => {
    assert.deepEqual(toErrorInfo(failureOf('TIMEOUT', 'Timeout', 'too slow'), ['005930', 'KR']), {
      rt_cd: '9',
      msg1: 'Error: too slow',
      error: true,
      symbol: '005930',
      market: 'KR',
      error_type: 'Timeout',
      error_details: 'too slow',
    });
  });

  it('has the code of the rate limit if there were no attempts left, whatever a rule calls it', () => {
    const info = toErrorInfo(failureOf('RATE_LIMITED', 'MyOwnName', 'refused 5 times'), ['TSLA', 'US']);
    assert.deepEqual(info, {
      rt_cd: 'EGW00201',
      msg1: 'Error: refused 5 times',
      error: true,
      symbol: 'TSLA',
      market: 'US',
      error_type: 'RateLimitError',
      error_details: 'refused 5 times',
    });
  });

  it('is text, whatever the item is', () => {
    for (const [item, symbol, market] of [
      [undefined, 'undefined', 'undefined'],
      [[5, null], '5', 'null'],
      [{ a: 1 }, 'an object', 'undefined'],
    ] as const) {
      const info = toErrorInfo(failureOf('HANDLER', 'X', 'y'), item as unknown as KisItem);
      assert.deepEqual([info.symbol, info.market], [symbol, market]);
    }
  });

  it('is for failures only', () => {
    const success = { ok: true, value: 1, index: 0, attempts: 1, waitMs: 0, durationMs: 0, threadId: 1 } as const;
    assert.throws(() => toErrorInfo(success, ['005930', 'KR']), { name: 'InvalidOptionError' });
  });
});

describe('the list of the Python model', () => {
  it('has bodies and records, in the order of the items', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    const result = await client.fetchPriceList([
      ['000000', 'KR'],
      ['TSLA', 'NAS'],
      ['005930', 'KR'],
      ['UNKNOWN', 'US'],
    ]);
    const [unknown, tesla, samsung, nobody] = toLegacyList(result) as unknown as [
      Record<string, unknown>,
      { output: Record<string, string>; rt_cd: string },
      { output: Record<string, string>; rt_cd: string; msg1: string },
      Record<string, unknown>,
    ];
    const { message } = (result.outcomes[0] as Failure).error;
    assert.deepEqual(unknown, {
      rt_cd: '9',
      msg1: `Error: ${message}`,
      error: true,
      symbol: '000000',
      market: 'KR',
      error_type: 'NoDataError',
      error_details: message,
    });
    assert.deepEqual([tesla.rt_cd, tesla.output.rsym], ['0', 'DNASTSLA']);
    assert.deepEqual(
      [samsung.rt_cd, samsung.msg1, samsung.output.stck_shrn_iscd],
      ['0', '정상처리 되었습니다.', '005930'],
    );
    assert.deepEqual([nobody.symbol, nobody.market, nobody.error_type], ['UNKNOWN', 'US', 'UnknownSymbolError']);

    await sim.setFaults([{ kind: 'refuse', path: '/uapi/*' }]);
    const [refused] = toLegacyList(await client.fetchPrices(['005930']));
    assert.deepEqual(
      [refused?.rt_cd, (refused as { error_type?: string }).error_type, (refused as { symbol?: string }).symbol],
      ['EGW00201', 'RateLimitError', '005930'],
    );
  });
});
