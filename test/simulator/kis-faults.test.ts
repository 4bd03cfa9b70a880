import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KisErrorCode } from '../../lib/simulator/index.ts';
import { KIS_ERRORS } from '../../lib/simulator/kis/codes.ts';
import { type Reply, startBench } from './support.ts';

const PRICE = '/uapi/domestic-stock/v1/quotations/inquire-price?FID_COND_MRKT_DIV_CODE=J&FID_INPUT_ISCD=005930';
const TOKEN = '/oauth2/tokenP';
const ORDER = '/uapi/domestic-stock/v1/trading/order-cash';
const ORDER_BODY = {
  CANO: '81000000',
  ACNT_PRDT_CD: '01',
  PDNO: '005930',
  ORD_DVSN: '00',
  ORD_QTY: '1',
  ORD_UNPR: '100',
};
const CODES = Object.keys(KIS_ERRORS) as KisErrorCode[];

function json({ text }: Reply): Record<string, unknown> {
  return JSON.parse(text) as Record<string, unknown>;
}

test('every error of KIS comes with its own status, or with any other', async (t) => {
  const { sim, call } = await startBench(t, { kis: { checkHeaders: false } });
  for (const code of CODES) {
    for (const status of [undefined, 200, 500]) {
      await sim.setFaults([{ kind: 'kis', code, ...(status === undefined ? {} : { status }) }]);
      const reply = await call(PRICE);
      const expected: { status: number; text: string; result?: string } = KIS_ERRORS[code];
      assert.equal(reply.status, status ?? expected.status, code);
      assert.deepEqual(json(reply), { rt_cd: expected.result ?? '1', msg_cd: code, msg1: expected.text });
    }
  }
  assert.equal((await sim.stats()).injected, CODES.length * 3);
});

test('the token endpoint has a form of its own', async (t) => {
  const faults = [{ kind: 'kis', code: 'EGW00133', path: TOKEN, times: 1 }] as const;
  const { sim, call } = await startBench(t, { faults });
  const ask = () => call(TOKEN, { method: 'POST', body: '{}' });
  const first = await ask();
  assert.equal(first.status, 403);
  assert.deepEqual(json(first), {
    error_description: '접근토큰 발급 잠시 후 다시 시도하세요(1분당 1회)',
    error_code: 'EGW00133',
  });
  assert.equal(json(await ask()).error_code, 'EGW00116');
  assert.deepEqual((await sim.stats()).faults, { kis: 1 });
});

test('the gateway turns a request away before it is executed; other errors come after that', async (t) => {
  const { sim, call } = await startBench(t, { kis: { checkHeaders: false } });
  const order = () =>
    call(ORDER, { method: 'POST', headers: { tr_id: 'TTTC0012U' }, body: JSON.stringify(ORDER_BODY) });
  const ordersAfter = async (code: KisErrorCode) => {
    await sim.reset();
    await sim.setFaults([{ kind: 'kis', code }]);
    assert.equal(json(await order()).msg_cd, code);
    return (await sim.orders()).length;
  };
  assert.equal(await ordersAfter('EGW00123'), 0);
  assert.equal(await ordersAfter('EGW00201'), 0);
  assert.equal(await ordersAfter('EGW00301'), 1);
  assert.equal(await ordersAfter('EGW00300'), 1);
});

test('tokens expire when the request of the given number arrives', async (t) => {
  const keys = { appkey: 'key', appsecret: 'secret' };
  const { call } = await startBench(t, { kis: { tokenIntervalMs: 0, expireTokensAt: 2 } });
  const askToken = async () => {
    const body = JSON.stringify({ grant_type: 'client_credentials', ...keys });
    return String(json(await call(TOKEN, { method: 'POST', body })).access_token);
  };
  const codeWith = async (token: string) => {
    const headers = { ...keys, authorization: `Bearer ${token}`, tr_id: 'FHKST01010100' };
    return json(await call(PRICE, { headers })).msg_cd;
  };
  const first = await askToken();
  assert.equal(await codeWith(first), 'MCA00000');
  assert.equal(await codeWith(first), 'EGW00123');
  const second = await askToken();
  assert.notEqual(second, first);
  assert.equal(await codeWith(second), 'MCA00000');
});
