import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import type { KisItem, KisResult } from '../../lib/kis/index.ts';
import { KIS_MARKETS, overseasDetailQuote, priceQuote, productQuote, stockQuote } from '../../lib/kis/requests.ts';
import type { Simulator } from '../../lib/simulator/index.ts';
import { ends, startKis } from './support.ts';

type Fetch = (items: readonly KisItem[]) => Promise<KisResult>;

/** What the server was asked, without the order in which it came. */
async function askedOf(sim: Simulator): Promise<string[]> {
  return (await sim.arrivals()).map(({ path }) => path.replace(/^\/uapi\//, '')).sort();
}

function bodies({ outcomes }: KisResult): Record<string, string>[] {
  return outcomes.map((outcome) => {
    assert.ok(outcome.ok, JSON.stringify(outcome));
    assert.equal(outcome.value.rt_cd, '0');
    return outcome.value.output;
  });
}

describe('a list of prices', () => {
  it('comes from home and overseas, in the order of the items', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    const result = await client.fetchPriceList([
      ['005930', 'KR'],
      ['TSLA', 'NAS'],
      ['000660', 'KRX'],
      ['7203', 'TSE'],
    ]);
    const [samsung, tesla, hynix, toyota] = bodies(result);
    assert.deepEqual(
      [samsung?.stck_shrn_iscd, tesla?.rsym, hynix?.stck_shrn_iscd, toyota?.rsym],
      ['005930', 'DNASTSLA', '000660', 'DTSE7203'],
    );
    assert.deepEqual(await askedOf(sim), [
      'domestic-stock/v1/quotations/inquire-price?FID_COND_MRKT_DIV_CODE=J&FID_INPUT_ISCD=000660',
      'domestic-stock/v1/quotations/inquire-price?FID_COND_MRKT_DIV_CODE=J&FID_INPUT_ISCD=005930',
      'overseas-price/v1/quotations/price?AUTH=&EXCD=NAS&SYMB=TSLA',
      'overseas-price/v1/quotations/price?AUTH=&EXCD=TSE&SYMB=7203',
    ]);
    assert.deepEqual(result.items[3], ['7203', 'TSE']);
    assert.equal(result.summary.succeeded, 4);
  });

  it('is long, and every price is that of its own symbol', async (t) => {
    const { client } = await startKis(t as TestContext, { rate: { limit: 2000, windowMs: 1000 }, threads: 3 });
    const items = Array.from({ length: 300 }, (_, at): KisItem => [String(at * 3).padStart(6, '0'), 'KR']);
    const known = items.filter(([symbol]) => symbol !== '000000');
    const rows = bodies(await client.fetchPriceList(known));
    assert.deepEqual(
      rows.map(({ stck_shrn_iscd }) => stck_shrn_iscd),
      known.map(([symbol]) => symbol),
    );
  });
});

describe('the market US', () => {
  it('is one exchange after the other, until nobody is left', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    const result = await client.fetchPriceList([['UNKNOWN', 'US']]);
    assert.deepEqual(ends(result.outcomes), ['INVALID_RESPONSE UNKNOWN_SYMBOL']);
    const exchanges = (await sim.arrivals()).map(({ path }) => /EXCD=(\w+)/.exec(path)?.[1]);
    assert.deepEqual(exchanges, ['NAS', 'NYS', 'AMS']);
    // Each for a token of its own, which the summary counts.
    assert.equal(result.summary.requestsSent, 3);
    const attempts = result.outcomes.map(({ attempts }) => attempts);
    assert.deepEqual(attempts, [1]);
  });

  it('ends with the first exchange that knows the symbol', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    // The first answer is that of a server that knows nothing; the others are right.
    const blank = { rt_cd: '0', msg_cd: 'MCA00000', msg1: '', output: { rsym: '', last: '' } };
    await sim.setFaults([{ kind: 'status', status: 200, body: blank, at: 1 }]);
    const [row] = bodies(await client.fetchPriceDetailOverseaList([['IBM', 'US']]));
    assert.equal(row?.rsym, 'DNYSIBM');
    assert.equal((await sim.stats()).total, 2);
  });

  it('goes through types of products in the same way', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    const { outcomes } = await client.fetchStockInfoList([['UNKNOWN', 'US']]);
    assert.deepEqual(ends(outcomes), ['INVALID_RESPONSE KIOK0560']);
    const types = (await sim.arrivals()).map(({ path }) => /PRDT_TYPE_CD=(\d+)/.exec(path)?.[1]);
    assert.deepEqual(types, ['512', '513', '529']);
  });

  it('keeps the rate limit with every request', async (t) => {
    const rate = { limit: 10, windowMs: 200 };
    const { sim, client } = await startKis(
      t as TestContext,
      { rate, concurrency: 10 },
      {},
      { ...rate, algorithm: 'sliding-log' },
    );
    const items = Array.from({ length: 12 }, (): KisItem => ['UNKNOWN', 'US']);
    const { summary } = await client.fetchPriceList(items);
    const { refused, total, maxInWindow } = await sim.stats();
    assert.deepEqual([summary.failed, refused, total], [12, 0, 36]);
    assert.ok(maxInWindow <= 10, `${maxInWindow}`);
  });

  it('stops at an error that is not about the symbol, and begins again', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    await sim.setFaults([
      { kind: 'status', status: 200, body: { rt_cd: '0', output: { rsym: '' } }, at: 1 },
      { kind: 'kis', code: 'EGW00201', at: 2 },
    ]);
    const [row] = bodies(await client.fetchPriceList([['TSLA', 'US']]));
    assert.equal(row?.rsym, 'DNASTSLA');
    assert.equal((await sim.stats()).total, 3);
  });
});

describe('other lists', () => {
  it('are of products, stocks and overseas details', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    const [domestic, apple] = bodies(
      await client.fetchStockInfoList([
        ['005930', 'KR'],
        ['AAPL', 'NAS'],
      ]),
    );
    assert.deepEqual([domestic?.shtn_pdno, apple?.shtn_pdno], ['005930', 'AAPL']);
    const [stock] = bodies(await client.fetchSearchStockInfoList([['005930', 'KRX']]));
    assert.equal(stock?.pdno, '00000A005930');
    const [detail] = bodies(await client.fetchPriceDetailOverseaList([['TSLA', 'US']]));
    assert.equal(detail?.rsym, 'DNASTSLA');
    assert.deepEqual(await askedOf(sim), [
      'domestic-stock/v1/quotations/search-info?PRDT_TYPE_CD=300&PDNO=005930',
      'domestic-stock/v1/quotations/search-info?PRDT_TYPE_CD=512&PDNO=AAPL',
      'domestic-stock/v1/quotations/search-stock-info?PRDT_TYPE_CD=300&PDNO=005930',
      'overseas-price/v1/quotations/price-detail?AUTH=&EXCD=NAS&SYMB=TSLA',
    ]);
  });

  it('do not go where there is nothing of the kind', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    const results = [
      await client.fetchSearchStockInfoList([['AAPL', 'US']]),
      await client.fetchPriceDetailOverseaList([['005930', 'KR']]),
    ];
    for (const { outcomes } of results) {
      assert.deepEqual(ends(outcomes), ['HANDLER INVALID_ITEM']);
      assert.equal(outcomes[0]?.ok === false && outcomes[0].error.type, 'InvalidParameterError');
    }
    assert.equal((await sim.stats()).total, 0);
  });
});

describe('an unknown symbol', () => {
  it('is a clear error, at home and overseas', async (t) => {
    const { client } = await startKis(t as TestContext, { locale: 'ko' });
    const { outcomes } = await client.fetchPriceList([
      ['000000', 'KR'],
      ['UNKNOWN', 'NAS'],
    ]);
    const errors = outcomes.map((outcome) => {
      assert.ok(!outcome.ok);
      return [outcome.error.type, outcome.error.message, outcome.error.userMessage];
    });
    assert.deepEqual(errors, [
      ['NoDataError', 'KIS answered KIOK0560: there is no data.', '조회할 데이터가 없습니다.'],
      [
        'UnknownSymbolError',
        'KIS knows no such symbol in this market: the quote came back empty.',
        '존재하지 않는 종목입니다. 종목 코드와 시장을 확인해주세요.',
      ],
    ]);
  });
});

describe('hostile input', () => {
  const throwing = new Proxy([], {
    get() {
      throw new Error('no');
    },
  });
  const ODD: readonly unknown[] = [
    undefined,
    null,
    5,
    'KR',
    {},
    [],
    ['005930'],
    ['005930', 'KR', 'x'],
    ['005930', 'kr'],
    ['005930', '__proto__'],
    ['', 'KR'],
    ['a b', 'KR'],
    ['a\r\nb', 'KR'],
    ['삼성전자', 'KR'],
    ['x'.repeat(33), 'KR'],
    [5930, 'KR'],
    [Symbol('x'), 'KR'],
    ['005930', () => 'KR'],
    throwing,
  ];

  it('fails alone, and sends nothing', async (t) => {
    const { sim, client } = await startKis(t as TestContext);
    const result = await client.fetchPriceList([...(ODD as KisItem[]), ['005930', 'KR']]);
    const words = ends(result.outcomes);
    assert.deepEqual(words, [...ODD.map(() => 'HANDLER INVALID_ITEM'), 'ok']);
    assert.equal((await sim.stats()).total, 1);
    for (const outcome of result.outcomes) {
      if (!outcome.ok) assert.match(outcome.error.message, /^(An item|A symbol|A market) .{5,}$/);
    }
  });

  it('is an array, or an error at once', async (t) => {
    const { client } = await startKis(t as TestContext);
    const methods: Fetch[] = [
      (items) => client.fetchPriceList(items),
      (items) => client.fetchPriceDetailOverseaList(items),
      (items) => client.fetchStockInfoList(items),
      (items) => client.fetchSearchStockInfoList(items),
      (items) => client.fetchPrices(items as never),
    ];
    for (const fetch of methods) {
      for (const odd of [undefined, null, 'x', 5, {}, new Map(), new Set()]) {
        await assert.rejects(fetch(odd as never), { name: 'InvalidOptionError' });
      }
      await assert.rejects(client.fetchPriceList([], { nonsense: 1 } as never), { option: 'nonsense' });
      const empty = await fetch([]);
      assert.deepEqual([empty.outcomes, empty.summary.total, empty.aborted], [[], 0, false]);
    }
  });

  it('never makes a request that is no request for a quote', () => {
    const market = fc.constantFrom(...KIS_MARKETS);
    const anything = fc.oneof(fc.anything(), fc.tuple(fc.string(), market), fc.tuple(fc.string(), fc.string()));
    fc.assert(
      fc.property(
        anything,
        fc.constantFrom(priceQuote, overseasDetailQuote, productQuote, stockQuote),
        (item, quote) => {
          const request = quote(item);
          if (request.problem !== undefined) return;
          const [symbol, where] = item as KisItem;
          assert.match(symbol, /^[\x21-\x7e]{1,32}$/);
          assert.ok(KIS_MARKETS.includes(where));
          assert.match(request.url, /^uapi\/(domestic-stock|overseas-price)\/v1\/quotations\/[a-z-]+$/);
          assert.ok(Object.values(request.query ?? {}).includes(symbol));
        },
      ),
    );
  });
});
