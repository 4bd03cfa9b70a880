import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import type { HttpValue } from '../../lib/types.ts';
import http from '../../workers/http.ts';
import kis, { classify } from '../../workers/kis.ts';
import { traitsOf } from '../../workers/traits.ts';
import { call, sendJson, serve, useHttp } from './http-fixtures.ts';

const ITEM = { url: 'https://example.com/' };

function verdictOn(status: number, body: unknown, headers: HttpValue['headers'] = {}) {
  return classify({ ok: true, value: { status, headers, body }, item: ITEM, attempt: 1 });
}

function nameOf(said: ReturnType<typeof classify>) {
  return typeof said === 'object' ? said.verdict : said;
}

describe('the KIS classifier', () => {
  const variants: Record<string, object> = {
    full: { rt_cd: '1', msg1: '초당 거래건수를 초과하였습니다.', msg_cd: 'EGW00201' },
    'with message': { rt_cd: '1', msg1: '초당 거래건수를 초과하였습니다.', msg_cd: 'EGW00201', message: 'EGW00201' },
    'msg_cd only': { msg_cd: 'EGW00201' },
    'message only': { message: 'EGW00201' },
    'msg1 only': { rt_cd: '1', msg1: '초당 거래건수를 초과하였습니다.' },
    'msg1 with rt_cd 0': { rt_cd: '0', msg1: '[오류] 초당 거래건수를 초과하였습니다. (재시도)' },
    'the limit of the ledger': { rt_cd: '1', msg1: '원장 유량제한', msg_cd: 'EGW00215' },
  };
  for (const [name, body] of Object.entries(variants)) {
    for (const status of [500, 200]) {
      it(`takes ${name} with status ${status} for the rate limit`, () => {
        assert.equal(nameOf(verdictOn(status, body)), 'rate-limit');
      });
    }
  }

  it('recognises it in JSON that came as text, and passes on a hint', () => {
    const said = verdictOn(500, '{"msg_cd":"EGW00201"}', { 'retry-after': '2' });
    assert.deepEqual(said, { verdict: 'rate-limit', retryAfterMs: 2000 });
  });

  it('never lets an rt_cd other than "0" pass for a success', () => {
    for (const rtCd of ['1', '2', '7', '9', '', '00', 1, null]) {
      assert.equal(nameOf(verdictOn(200, { rt_cd: rtCd, msg_cd: 'MCA00999', msg1: 'x' })), 'fatal', String(rtCd));
    }
  });

  it('lets the trouble of the gateway be tried again', () => {
    assert.equal(nameOf(verdictOn(500, { rt_cd: '1', msg_cd: 'EGW00300', msg1: 'Gateway 라우팅 오류' })), 'retry');
    assert.equal(nameOf(verdictOn(500, { rt_cd: '1', msg_cd: 'EGW00304', msg1: 'x' })), 'fatal');
  });

  it('names the codes in the message, and nothing else of the body', () => {
    const said = verdictOn(500, { rt_cd: '1', msg_cd: 'EGW00121', msg1: 'token eyJsecret' });
    assert.deepEqual(said, { verdict: 'fatal', message: 'KIS answered with rt_cd 1, msg_cd EGW00121.' });
    const odd = verdictOn(500, { rt_cd: { a: 'eyJsecret' }, msg_cd: 'eyJ.secret' });
    assert.deepEqual(odd, { verdict: 'fatal', message: 'KIS answered with rt_cd unknown, msg_cd unknown.' });
  });

  it('leaves the rest to the rules of HTTP', () => {
    for (const body of [
      { rt_cd: '0', msg_cd: 'MCA00000', msg1: '정상처리 되었습니다.' },
      { access_token: 'x' },
      { error_code: 'EGW00133' },
      [],
      null,
      undefined,
      '',
      '<html>',
      '{broken',
      5,
      new Uint8Array(3),
    ]) {
      assert.equal(verdictOn(200, body), undefined);
    }
    assert.equal(classify({ ok: false, error: new Error('x'), item: ITEM, attempt: 1 }), undefined);
  });

  it('sits beside the built-in handler and keeps its traits', async (t) => {
    assert.equal(kis, http);
    assert.equal(traitsOf(kis).reportsSent, true);
    useHttp(t);
    const server = await serve(t, (_request, response) => sendJson(response, variants.full, 500));
    const value = await call({ url: server.origin });
    assert.equal(nameOf(classify({ ok: true, value, item: ITEM, attempt: 1 })), 'rate-limit');
  });
});
