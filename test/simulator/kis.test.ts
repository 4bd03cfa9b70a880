import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { KisOptions, SimulatorOptions } from '../../lib/simulator/index.ts';
import { type Bench, type Reply, startBench } from './support.ts';

const KEYS = { appkey: 'the-app-key', appsecret: 'the-app-secret' };
const QUOTES = '/uapi/domestic-stock/v1/quotations';
const PRICE = `${QUOTES}/inquire-price?FID_COND_MRKT_DIV_CODE=J&FID_INPUT_ISCD=`;
const ORDER = '/uapi/domestic-stock/v1/trading/order-cash';
const ORDER_BODY = {
  CANO: '81000000',
  ACNT_PRDT_CD: '01',
  PDNO: '005930',
  ORD_DVSN: '00',
  ORD_QTY: '1',
  ORD_UNPR: '100',
};

type Json = Record<string, unknown>;

function json(reply: Reply): Json {
  return JSON.parse(reply.text) as Json;
}

function askToken({ call }: Bench, body: object = KEYS): Promise<Reply> {
  return call('/oauth2/tokenP', {
    method: 'POST',
    body: JSON.stringify({ grant_type: 'client_credentials', ...body }),
  });
}

async function headersFor(bench: Bench, trId: string): Promise<Record<string, string>> {
  const { access_token } = json(await askToken(bench));
  return { ...KEYS, authorization: `Bearer ${access_token}`, tr_id: trId, custtype: 'P' };
}

function startKis(t: TestContext, kis: KisOptions = {}, options: SimulatorOptions = {}): Promise<Bench> {
  return startBench(t, { kis: { tokenIntervalMs: 0, ...kis }, ...options });
}

function assertStrings(output: unknown): void {
  assert.ok(typeof output === 'object' && output !== null && Object.keys(output).length > 5);
  for (const [name, value] of Object.entries(output)) assert.equal(typeof value, 'string', name);
}

test('a token comes as KIS sends it', async (t) => {
  const reply = await askToken(await startKis(t));
  assert.equal(reply.status, 200);
  const token = json(reply);
  assert.deepEqual(Object.keys(token), ['access_token', 'access_token_token_expired', 'token_type', 'expires_in']);
  assert.match(String(token.access_token), /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/);
  assert.equal(token.token_type, 'Bearer');
  assert.equal(token.expires_in, 86_400);
  assert.match(String(token.access_token_token_expired), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
  const expiresMs = Date.parse(`${String(token.access_token_token_expired).replace(' ', 'T')}+09:00`);
  const hours = (expiresMs - Date.parse(String(reply.headers.date))) / 3_600_000;
  assert.ok(Math.abs(hours - 24) < 0.01, `${hours} hours`);
});

test('a token is handed out once a minute per app key: EGW00133', async (t) => {
  const bench = await startBench(t);
  assert.equal((await askToken(bench)).status, 200);
  const again = await askToken(bench);
  assert.equal(again.status, 403);
  assert.deepEqual(json(again), {
    error_description: '접근토큰 발급 잠시 후 다시 시도하세요(1분당 1회)',
    error_code: 'EGW00133',
  });
  assert.equal((await askToken(bench, { appkey: 'another', appsecret: 's' })).status, 200);
  assert.equal((await bench.sim.stats()).tokensIssued, 2);
});

test('asking again gives the same token, until it is old, expired or revoked', async (t) => {
  const bench = await startKis(t);
  const tokenOf = async (body?: object) => String(json(await askToken(bench, body)).access_token);
  const first = await tokenOf();
  assert.equal(await tokenOf(), first);
  assert.notEqual(await tokenOf({ appkey: 'another', appsecret: 's' }), first);
  await bench.sim.expireToken();
  const second = await tokenOf();
  assert.notEqual(second, first);
  const revoke = (token: string) =>
    bench.call('/oauth2/revokeP', { method: 'POST', body: JSON.stringify({ ...KEYS, token }) });
  assert.equal((await revoke(second)).status, 200);
  assert.equal(json(await revoke(second)).error_code, 'EGW00121');
  assert.notEqual(await tokenOf(), second);

  const forgetful = await startKis(t, { tokenReuseMs: 0 });
  assert.notEqual(json(await askToken(forgetful)).access_token, json(await askToken(forgetful)).access_token);
});

test('wrong credentials and bodies are refused', async (t) => {
  const bench = await startKis(t, { appKey: KEYS.appkey, appSecret: KEYS.appsecret });
  const codes: unknown[] = [];
  for (const body of [
    { ...KEYS, appkey: 'x' },
    { ...KEYS, appsecret: 'x' },
    { appsecret: 'x' },
    { appkey: KEYS.appkey },
    { ...KEYS, grant_type: 'password' },
  ]) {
    const reply = await askToken(bench, body);
    assert.equal(reply.status, 403);
    codes.push(json(reply).error_code);
  }
  assert.deepEqual(codes, ['EGW00103', 'EGW00105', 'EGW00102', 'EGW00104', 'EGW00116']);
  for (const body of ['', 'no json', 'null', '7']) {
    assert.equal(json(await bench.call('/oauth2/tokenP', { method: 'POST', body })).error_code, 'EGW00101', body);
  }
  assert.equal((await askToken(bench)).status, 200);
});

test('token requests do not count against the limit, unless asked for', async (t) => {
  const limit = { algorithm: 'fixed', limit: 1, windowMs: 3_600_000 } as const;
  const free = await startKis(t, {}, limit);
  for (let index = 0; index < 3; index++) assert.equal((await askToken(free)).status, 200);
  const stats = await free.sim.stats();
  assert.deepEqual([stats.total, stats.tokenRequests, (await free.sim.arrivals()).length], [0, 3, 0]);

  const counted = await startKis(t, { countTokenRequests: true }, limit);
  assert.equal((await askToken(counted)).status, 200);
  assert.equal(json(await askToken(counted)).msg_cd, 'EGW00201');
  assert.equal((await counted.sim.stats()).total, 2);
});

test('a fault meets a token request only if it names the path', async (t) => {
  const faults = [{ kind: 'html-500' }, { kind: '503', path: '/oauth2/tokenP', times: 1 }] as const;
  const bench = await startKis(t, {}, { faults });
  assert.equal((await askToken(bench)).status, 503);
  assert.equal((await askToken(bench)).status, 200);
  assert.equal((await bench.call('/')).status, 500);
});

test('a quote needs the right token, keys and tr_id', async (t) => {
  const bench = await startKis(t);
  const right = await headersFor(bench, 'FHKST01010100');
  const codeWith = async (headers: Record<string, string>) => {
    const reply = await bench.call(`${PRICE}005930`, { headers });
    assert.equal(reply.status, 500);
    return json(reply).msg_cd;
  };
  const { authorization, ...withoutToken } = right;
  const { appkey, ...withoutKey } = right;
  const { appsecret, ...withoutSecret } = right;
  assert.equal(await codeWith(withoutToken), 'EGW00121');
  assert.equal(await codeWith({ ...right, authorization: 'Bearer x' }), 'EGW00121');
  assert.equal(
    await codeWith({ ...right, authorization: String(authorization).replace('Bearer', 'Basic') }),
    'EGW00121',
  );
  assert.equal(await codeWith({ ...right, appkey: 'another' }), 'EGW00121');
  assert.equal(await codeWith(withoutKey), 'EGW00304');
  assert.equal(await codeWith(withoutSecret), 'EGW00304');
  assert.equal(await codeWith({ ...right, tr_id: 'FHPST02400000' }), 'OPSQ0002');
  assert.equal((await bench.call(`${PRICE}005930`, { headers: right })).status, 200);

  await bench.sim.expireToken();
  assert.equal(await codeWith(right), 'EGW00123');
  const renewed = await headersFor(bench, 'FHKST01010100');
  assert.equal((await bench.call(`${PRICE}005930`, { headers: renewed })).status, 200);
  assert.equal((await bench.sim.stats()).ok, 10);
});

test('a token expires by itself', async (t) => {
  const bench = await startKis(t, { tokenLifetimeMs: 0 });
  const headers = await headersFor(bench, 'FHKST01010100');
  assert.equal(json(await bench.call(`${PRICE}005930`, { headers })).msg_cd, 'EGW00123');
});

test('without header checks a quote needs nothing', async (t) => {
  const { call } = await startKis(t, { checkHeaders: false });
  assert.equal((await call(`${PRICE}005930`)).status, 200);
});

test('every quote answers with its fields, all strings, always the same for a symbol', async (t) => {
  const bench = await startKis(t);
  const stock = 'PDNO=005930&PRDT_TYPE_CD=300';
  const tesla = 'AUTH=&EXCD=NAS&SYMB=TSLA';
  const table = [
    [`${PRICE}005930`, 'FHKST01010100', 'stck_shrn_iscd', '005930'],
    [
      `/uapi/etfetn/v1/quotations/inquire-price?FID_COND_MRKT_DIV_CODE=J&FID_INPUT_ISCD=069500`,
      'FHPST02400000',
      'nav',
      undefined,
    ],
    [`${QUOTES}/search-stock-info?${stock}`, 'CTPF1002R', 'pdno', '00000A005930'],
    [`${QUOTES}/search-info?${stock}`, 'CTPF1604R', 'shtn_pdno', '005930'],
    [`${QUOTES}/search-info?PDNO=AAPL&PRDT_TYPE_CD=512`, 'CTPF1604R', 'shtn_pdno', 'AAPL'],
    [`/uapi/overseas-price/v1/quotations/price?${tesla}`, 'HHDFS00000300', 'rsym', 'DNASTSLA'],
    [`/uapi/overseas-price/v1/quotations/price-detail?${tesla}`, 'HHDFS76200200', 'rsym', 'DNASTSLA'],
  ] as const;
  for (const [path, trId, field, value] of table) {
    const headers = await headersFor(bench, trId);
    const [first, again] = [await bench.call(path, { headers }), await bench.call(path, { headers })];
    assert.equal(first.status, 200, path);
    assert.equal(first.text, again.text);
    const { output, rt_cd, msg_cd } = json(first);
    assert.deepEqual([rt_cd, msg_cd], ['0', 'MCA00000']);
    assertStrings(output);
    const got = (output as Json)[field];
    assert.ok(value === undefined ? typeof got === 'string' && got !== '' : got === value, `${field}: ${got}`);
  }
});

test('the figures of a price fit together', async (t) => {
  const { call } = await startKis(t, { checkHeaders: false });
  const prices = new Set<string>();
  for (let code = 1; code <= 50; code++) {
    const { output } = json(await call(PRICE + String(code * 7).padStart(6, '0')));
    const { stck_prpr, prdy_vrss, prdy_vrss_sign, prdy_ctrt, stck_sdpr, stck_hgpr, stck_lwpr, stck_mxpr, stck_llam } =
      output as Record<string, string>;
    const change = Number(stck_prpr) - Number(stck_sdpr);
    assert.equal(Number(prdy_vrss), change);
    assert.equal(prdy_vrss_sign, change > 0 ? '2' : change < 0 ? '5' : '3');
    assert.equal(prdy_ctrt, ((change / Number(stck_sdpr)) * 100).toFixed(2));
    const inOrder = [stck_llam, stck_lwpr, stck_prpr, stck_hgpr, stck_mxpr].map(Number);
    assert.deepEqual(
      inOrder,
      inOrder.toSorted((a, b) => a - b),
    );
    prices.add(String(stck_prpr));
  }
  assert.ok(prices.size > 40, 'symbols have prices of their own');
});

test('unknown symbols: no data at home, empty fields overseas', async (t) => {
  const { call } = await startKis(t, { checkHeaders: false });
  for (const symbol of ['000000', '5930', 'ABCDEF', '']) {
    const reply = await call(PRICE + symbol);
    assert.deepEqual([reply.status, json(reply).rt_cd], [200, '7'], symbol);
  }
  for (const query of ['EXCD=NAS&SYMB=UNKNOWN', 'EXCD=XXX&SYMB=TSLA', 'EXCD=NAS&SYMB=']) {
    for (const what of ['price', 'price-detail']) {
      const { rt_cd, output } = json(await call(`/uapi/overseas-price/v1/quotations/${what}?AUTH=&${query}`));
      assert.deepEqual([rt_cd, (output as Json).rsym], ['0', '']);
    }
  }
  const missing = json(await call(`${QUOTES}/inquire-price?FID_COND_MRKT_DIV_CODE=J`));
  assert.deepEqual([missing.rt_cd, missing.msg_cd], ['2', 'OPSQ2001']);
  assert.match(String(missing.msg1), /FID_INPUT_ISCD/);
  assert.equal((await call('/uapi/domestic-stock/v1/quotations/no-such')).status, 404);
  assert.equal((await call(`${PRICE}005930`, { method: 'POST', body: '{}' })).status, 404);
});

test('many prices at once: up to 30, unknown ones left out, or not there at all', async (t) => {
  const { call } = await startKis(t, { checkHeaders: false });
  const pathFor = (symbols: readonly string[]) =>
    `${QUOTES}/intstock-multprice?${symbols
      .map((symbol, index) => `FID_COND_MRKT_DIV_CODE_${index + 1}=J&FID_INPUT_ISCD_${index + 1}=${symbol}`)
      .join('&')}`;
  const symbols = Array.from({ length: 32 }, (_, index) => String(100 + index).padStart(6, '0'));
  const rows = json(await call(pathFor(symbols))).output as Json[];
  assert.deepEqual(
    rows.map((row) => row.inter_shrn_iscd),
    symbols.slice(0, 30),
  );
  rows.forEach(assertStrings);
  const single = json(await call(PRICE + symbols[3])).output as Json;
  assert.equal(rows[3]?.inter2_prpr, single.stck_prpr);
  const some = json(await call(pathFor(['005930', '000000', '000660']))).output as Json[];
  assert.deepEqual(
    some.map((row) => row.inter_shrn_iscd),
    ['005930', '000660'],
  );

  const paper = await startKis(t, { checkHeaders: false, multiPrice: false });
  const refusal = await paper.call(pathFor(['005930']));
  assert.deepEqual([refusal.status, json(refusal).msg_cd], [500, 'EGW02006']);
});

test('orders are executed once each, and remembered', async (t) => {
  const bench = await startKis(
    t,
    {},
    {
      faults: [
        { at: 3, kind: 'refuse' },
        { at: 4, kind: 'reset' },
      ],
    },
  );
  const headers = await headersFor(bench, 'TTTC0012U');
  const order = (key: string, trId = 'TTTC0012U') =>
    bench.call(ORDER, {
      method: 'POST',
      headers: { ...headers, tr_id: trId, 'x-item': key },
      body: JSON.stringify(ORDER_BODY),
    });
  const first = json(await order('a'));
  assert.equal(first.rt_cd, '0');
  assertOrderNumber(first, '0000000001');
  assertOrderNumber(json(await order('b', 'VTTC0801U')), '0000000002');
  assert.equal(json(await order('refused')).msg_cd, 'EGW00201');
  await assert.rejects(order('lost'));
  assert.deepEqual(await bench.sim.orders(), [
    { orderNumber: '0000000001', n: 1, symbol: '005930', quantity: '1', side: 'buy', key: 'a' },
    { orderNumber: '0000000002', n: 2, symbol: '005930', quantity: '1', side: 'sell', key: 'b' },
    { orderNumber: '0000000003', n: 4, symbol: '005930', quantity: '1', side: 'buy', key: 'lost' },
  ]);
  assert.equal((await bench.sim.stats()).orders, 3);
  await bench.sim.reset();
  assert.deepEqual(await bench.sim.orders(), []);
});

test('an order that is wrong is not executed', async (t) => {
  const bench = await startKis(t);
  const headers = await headersFor(bench, 'TTTC0012U');
  const order = (body: string, trId = 'TTTC0012U') =>
    bench.call(ORDER, { method: 'POST', headers: { ...headers, tr_id: trId }, body });
  const { PDNO, ...withoutSymbol } = ORDER_BODY;
  assert.match(String(json(await order(JSON.stringify(withoutSymbol))).msg1), /PDNO/);
  assert.equal(json(await order('no json')).msg_cd, 'OPSQ2001');
  assert.equal(json(await order(JSON.stringify({ ...ORDER_BODY, PDNO: `${PDNO}0` }))).rt_cd, '7');
  assert.equal(json(await order(JSON.stringify(ORDER_BODY), 'FHKST01010100')).msg_cd, 'OPSQ0002');
  assert.equal((await bench.call(ORDER, { method: 'POST', body: JSON.stringify(ORDER_BODY) })).status, 500);
  assert.equal((await bench.sim.stats()).orders, 0);
});

test('a hash key belongs to its body', async (t) => {
  const { call } = await startKis(t);
  const hashOf = async (body: object) =>
    json(await call('/uapi/hashkey', { method: 'POST', headers: KEYS, body: JSON.stringify(body) }));
  const first = await hashOf(ORDER_BODY);
  assert.deepEqual(first.BODY, ORDER_BODY);
  assert.match(String(first.HASH), /^[0-9a-f]{64}$/);
  assert.equal((await hashOf(ORDER_BODY)).HASH, first.HASH);
  assert.notEqual((await hashOf({ ...ORDER_BODY, ORD_QTY: '2' })).HASH, first.HASH);
  assert.equal(json(await call('/uapi/hashkey', { method: 'POST', body: '{}' })).msg_cd, 'EGW00304');
});

test('kis: false leaves plain paths only', async (t) => {
  const { call } = await startBench(t, { kis: false });
  assert.equal(json(await call(`${PRICE}005930`)).path, `${PRICE}005930`);
  assert.equal(json(await call('/oauth2/tokenP', { method: 'POST', body: '{}' })).n, 2);
});

function assertOrderNumber(reply: Json, expected: string): void {
  const output = reply.output as Json;
  assert.equal(output.ODNO, expected);
  assert.match(String(output.ORD_TMD), /^\d{6}$/);
}
