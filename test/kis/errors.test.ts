import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { ErrorCode } from '../../lib/errors.ts';
import type { KisClient } from '../../lib/kis/index.ts';
import type { KisErrorCode, Refusal, Simulator } from '../../lib/simulator/index.ts';
import type { ErrorRecord, HttpItem } from '../../lib/types.ts';
import { startKis } from './support.ts';

/** What is to become of an item that gets this error again and again, and nothing else. */
interface Row {
  readonly type: string;
  readonly actions: string;
  /** Requests that the server sees. */
  readonly requests: number;
  /** With HTTP 500 and with 200. */
  readonly codes: readonly [ErrorCode, ErrorCode];
  readonly meaning: string;
  readonly people: string;
}

const STATUS_CODES = ['HTTP_STATUS', 'INVALID_RESPONSE'] as const;

const passing = (meaning: string): Row => ({
  type: 'ServerError',
  actions: 'wait retry trip-circuit',
  requests: 4,
  codes: STATUS_CODES,
  meaning,
  people: '한국투자증권 서버에 오류가 발생했습니다. 잠시 후 다시 시도해주세요.',
});
const timeout: Row = {
  type: 'Timeout',
  actions: 'wait retry trip-circuit',
  requests: 3,
  codes: ['TIMEOUT', 'TIMEOUT'],
  meaning: 'the gateway got no answer in time',
  people: '요청 시간 초과. 다시 시도 중...',
};
const token = (meaning: string): Row => ({
  type: 'TokenExpiredError',
  actions: 'refresh-credentials retry',
  requests: 2,
  codes: STATUS_CODES,
  meaning,
  people: '인증 토큰이 만료되었습니다. 자동으로 갱신 중...',
});
const final = (type: string, meaning: string, people: string): Row => ({
  type,
  actions: 'notify fail-fast',
  requests: 1,
  codes: STATUS_CODES,
  meaning,
  people,
});
const keys = (meaning: string) => final('AuthenticationError', meaning, '인증 실패. API 키를 확인해주세요.');

const ROWS: Readonly<Partial<Record<KisErrorCode, Row>>> = {
  EGW00121: token('the access token is not valid'),
  EGW00123: token('the access token has expired'),
  EGW00103: keys('the app key is not valid'),
  EGW00105: keys('the app secret is not valid'),
  EGW00304: keys('the customer key is not valid'),
  EGW00133: {
    type: 'TokenIssueLimitError',
    actions: 'wait retry',
    requests: 2,
    codes: STATUS_CODES,
    meaning: 'an access token is issued once a minute',
    people: '접근토큰은 1분에 한 번만 발급됩니다. 1분 이상 기다려주세요.',
  },
  EGW00300: passing('the gateway could not route the request'),
  EGW00316: passing('the query failed while it was processed'),
  EGW00001: passing('passing trouble'),
  EGW00002: passing('the server has an error'),
  EGW00202: passing('the gateway could not route the request'),
  EGW00203: passing('the gateway could not route the request'),
  EGW00301: timeout,
  EGW00302: timeout,
  KIOK0560: final('NoDataError', 'there is no data', '조회할 데이터가 없습니다.'),
  EGW02006: final(
    'NotOfferedError',
    'paper trading does not offer this',
    '현재 투자 환경에서는 제공되지 않는 서비스입니다.',
  ),
};
const STATUSES = [500, 200] as const;
const QUOTES = '/uapi/*';

const ORDER: HttpItem = {
  url: 'uapi/domestic-stock/v1/trading/order-cash',
  method: 'POST',
  headers: { tr_id: 'TTTC0012U' },
  body: { CANO: '81000000', ACNT_PRDT_CD: '01', PDNO: '005930', ORD_DVSN: '00', ORD_QTY: '1', ORD_UNPR: '100' },
};

/** One client for all errors, with its token, so that nothing but the requests for quotes is counted. */
async function start(t: TestContext) {
  const { sim, client } = await startKis(t, { locale: 'ko', threads: 1, circuit: false, tokenIntervalMs: 0 });
  const fetchOne = async () => {
    const { outcomes } = await client.fetchPriceList([['005930', 'KR']]);
    const [outcome] = outcomes;
    assert.ok(outcome !== undefined && outcomes.length === 1);
    return outcome;
  };
  assert.equal((await fetchOne()).ok, true);
  return { sim, client, fetchOne };
}

/** From now on quotes get this error. Returns how many tokens there were before. */
async function failWith(sim: Simulator, code: KisErrorCode, status: number, times?: number): Promise<number> {
  await sim.reset();
  await sim.setFaults([{ kind: 'kis', code, status, path: QUOTES, ...(times === undefined ? {} : { times }) }]);
  return (await sim.stats()).tokensIssued;
}

describe('every error of KIS', () => {
  it('has the right action, attempts and message, with HTTP 500 and 200', async (t) => {
    const { sim, fetchOne } = await start(t as TestContext);
    for (const [code, row] of Object.entries(ROWS) as [KisErrorCode, Row][]) {
      for (const [place, status] of STATUSES.entries()) {
        const where = `${code} with ${status}`;
        await failWith(sim, code, status);
        const outcome = await fetchOne();
        assert.ok(!outcome.ok, where);
        const { error } = outcome;
        const { type, actions, requests, meaning, people } = row;
        assert.deepEqual(
          {
            code: error.code,
            upstreamCode: error.upstreamCode,
            status: error.status,
            type: error.type,
            actions: error.actions.join(' '),
            attempts: error.attempts,
            message: error.message,
            people: error.userMessage,
          },
          {
            code: row.codes[place],
            upstreamCode: code,
            status,
            type,
            actions,
            attempts: requests,
            message: `KIS answered ${code}: ${meaning}.`,
            people,
          },
          where,
        );
        assert.equal((await sim.stats()).total, requests, where);
      }
    }
  });

  it('that passes by itself is no error in the end; any other is, at once', async (t) => {
    const { sim, fetchOne } = await start(t as TestContext);
    for (const [code, { actions, requests }] of Object.entries(ROWS) as [KisErrorCode, Row][]) {
      for (const status of STATUSES) {
        const tokens = await failWith(sim, code, status, 1);
        const outcome = await fetchOne();
        const isAgain = requests > 1;
        assert.equal(outcome.ok, isAgain, `${code} with ${status}`);
        const { total, tokensIssued } = await sim.stats();
        assert.equal(total, isAgain ? 2 : 1, `${code} with ${status}`);
        assert.equal(tokensIssued - tokens, actions.startsWith('refresh') ? 1 : 0, `${code} with ${status}`);
      }
    }
  });

  it('of the rate limit stops everybody, and is an error after the last refusal only', async (t) => {
    const { sim, client, fetchOne } = await start(t as TestContext);
    let events = 0;
    client.engine.on('rateLimited', () => events++);
    const refuse = async (times: number | undefined, how: { code: KisErrorCode; status: number } | Refusal) => {
      await sim.reset();
      const fault =
        typeof how === 'string' ? ({ kind: 'refuse', variant: how } as const) : ({ kind: 'kis', ...how } as const);
      await sim.setFaults([{ ...fault, path: QUOTES, ...(times === undefined ? {} : { times }) }]);
      events = 0;
      return fetchOne();
    };
    const ways = [
      ...(['EGW00201', 'EGW00215'] as const).flatMap((code) => STATUSES.map((status) => ({ code, status }))),
      ...(['egw-500', 'egw-200', 'egw-message', 'egw-message-only', 'egw-text'] as const),
    ];
    for (const way of ways) {
      const where = JSON.stringify(way);
      const refused = await refuse(undefined, way);
      assert.ok(!refused.ok, where);
      const { code, type, actions, userMessage, possiblyExecuted } = refused.error;
      assert.deepEqual(
        [code, type, actions, userMessage, possiblyExecuted],
        ['RATE_LIMITED', 'RateLimitError', ['wait', 'retry'], 'API 호출 한도 초과. 잠시 후 다시 시도해주세요.', false],
        where,
      );
      assert.deepEqual([(await sim.stats()).total, events], [5, 5], where);
      assert.equal((await refuse(2, way)).ok, true, where);
      assert.deepEqual([(await sim.stats()).total, events], [3, 2], where);
    }
  });
});

describe('an order, which must not be sent twice', () => {
  async function orderWith(sim: Simulator, client: KisClient, code: KisErrorCode, status: number) {
    await failWith(sim, code, status, 1);
    const [outcome] = (await client.engine.run([ORDER])).outcomes;
    assert.ok(outcome !== undefined);
    return { outcome, executed: (await sim.orders()).length, requests: (await sim.stats()).total };
  }
  const failed = (outcome: { ok: boolean; error?: ErrorRecord }): ErrorRecord => {
    assert.ok(!outcome.ok && outcome.error !== undefined);
    return outcome.error;
  };

  it('is in doubt after a timeout of the gateway, whatever the HTTP status', async (t) => {
    const { sim, client } = await start(t as TestContext);
    for (const code of ['EGW00301', 'EGW00302'] as const) {
      for (const status of STATUSES) {
        const { outcome, executed, requests } = await orderWith(sim, client, code, status);
        const { code: end, possiblyExecuted, type } = failed(outcome);
        assert.deepEqual([end, possiblyExecuted, type], ['IN_DOUBT', true, 'InDoubtError'], `${code} ${status}`);
        assert.deepEqual([executed, requests], [1, 1]);
      }
    }
  });

  it('is not sent again after trouble of the gateway', async (t) => {
    const { sim, client } = await start(t as TestContext);
    for (const code of ['EGW00300', 'EGW00001', 'EGW00203'] as const) {
      for (const status of STATUSES) {
        const { outcome, executed, requests } = await orderWith(sim, client, code, status);
        const { upstreamCode, possiblyExecuted } = failed(outcome);
        assert.deepEqual([upstreamCode, possiblyExecuted], [code, true], `${code} ${status}`);
        assert.deepEqual([executed, requests], [1, 1]);
      }
    }
  });

  it('is sent again if the gateway turned it away before', async (t) => {
    const { sim, client } = await start(t as TestContext);
    for (const code of ['EGW00123', 'EGW00121', 'EGW00201', 'EGW00215'] as const) {
      for (const status of STATUSES) {
        const { outcome, executed, requests } = await orderWith(sim, client, code, status);
        assert.equal(outcome.ok, true, `${code} ${status}`);
        assert.deepEqual([executed, requests], [1, 2]);
      }
    }
  });
});

describe('an error of the token endpoint', () => {
  const TOKEN_PATH = '/oauth2/tokenP';

  it('about the keys ends what needs the token, at once and clearly', async (t) => {
    for (const code of ['EGW00103', 'EGW00105'] as const) {
      for (const status of [403, 200]) {
        const { sim, client } = await startKis(t as TestContext, { locale: 'ko' });
        await sim.setFaults([{ kind: 'kis', code, status, path: TOKEN_PATH }]);
        const { outcomes } = await client.fetchPriceList([
          ['005930', 'KR'],
          ['TSLA', 'US'],
        ]);
        assert.equal(outcomes.length, 2);
        for (const outcome of outcomes) {
          assert.ok(!outcome.ok);
          const { code: end, upstreamCode, type, userMessage, cause } = outcome.error;
          assert.deepEqual(
            [end, upstreamCode, type, userMessage],
            ['CREDENTIALS', code, 'AuthenticationError', '인증 실패. API 키를 확인해주세요.'],
          );
          assert.match(cause?.message ?? '', new RegExp(`^KIS gave no access token: it answered ${code}, `));
        }
        const stats = await sim.stats();
        assert.deepEqual([stats.total, stats.tokenRequests], [0, 1]);
        await client.close();
      }
    }
  });

  it('about asking too soon is waited for', async (t) => {
    for (const status of [403, 200]) {
      const { sim, client } = await startKis(t as TestContext, { tokenIntervalMs: 1 });
      await sim.setFaults([{ kind: 'kis', code: 'EGW00133', status, path: TOKEN_PATH, times: 1 }]);
      const { outcomes, summary } = await client.fetchPriceList([['005930', 'KR']]);
      assert.equal(outcomes[0]?.ok, true);
      assert.ok(summary.elapsedMs >= 1000, `${summary.elapsedMs} ms`);
      assert.equal((await sim.stats()).tokenRequests, 2);
      await client.close();
    }
  });

  it('that passes is tried again', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    await sim.setFaults([
      { kind: 'reset', path: TOKEN_PATH, times: 1 },
      { kind: 'html-500', path: TOKEN_PATH, times: 1 },
    ]);
    assert.equal((await client.fetchPriceList([['005930', 'KR']])).summary.succeeded, 1);
    assert.equal((await sim.stats()).tokenRequests, 3);
  });
});
