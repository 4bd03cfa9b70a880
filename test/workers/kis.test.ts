import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';

import type { HttpValue } from '../../lib/types.ts';
import http from '../../workers/http.ts';
import kis, { classify } from '../../workers/kis.ts';
import { traitsOf } from '../../workers/traits.ts';
import { FakeContext, sendJson, serve, useHttp } from './http-fixtures.ts';

const ITEM = { url: 'https://example.com/' };

function verdictOn(status: number, body: unknown, headers: HttpValue['headers'] = {}) {
  return classify({ ok: true, value: { status, headers, body }, item: ITEM, attempt: 1 });
}

function nameOf(said: ReturnType<typeof classify>) {
  return typeof said === 'object' ? said.verdict : said;
}

const variants: Record<string, object> = {
  full: { rt_cd: '1', msg1: '초당 거래건수를 초과하였습니다.', msg_cd: 'EGW00201' },
  'with message': { rt_cd: '1', msg1: '초당 거래건수를 초과하였습니다.', msg_cd: 'EGW00201', message: 'EGW00201' },
  'msg_cd only': { msg_cd: 'EGW00201' },
  'message only': { message: 'EGW00201' },
  'msg1 only': { rt_cd: '1', msg1: '초당 거래건수를 초과하였습니다.' },
  'msg1 with rt_cd 0': { rt_cd: '0', msg1: '[오류] 초당 거래건수를 초과하였습니다. (재시도)' },
  'the limit of the ledger': { rt_cd: '1', msg1: '원장 유량제한', msg_cd: 'EGW00215' },
};

describe('the KIS classifier', () => {
  for (const [name, body] of Object.entries(variants)) {
    for (const status of [500, 200]) {
      it(`takes ${name} with status ${status} for the rate limit`, () => {
        assert.equal(nameOf(verdictOn(status, body)), 'rate-limit');
      });
    }
  }

  it('recognises it in JSON that came as text, and passes on a hint', () => {
    for (const text of ['{"msg_cd":"EGW00201"}', '\ufeff \n{"msg_cd":"EGW00201"}']) {
      assert.deepEqual(verdictOn(500, text, { 'retry-after': '2' }), {
        verdict: 'rate-limit',
        upstreamCode: 'EGW00201',
        message: 'KIS answered EGW00201: more transactions per second than are allowed.',
        retryAfterMs: 2000,
      });
    }
  });

  it('never lets an rt_cd other than "0" pass for a success', () => {
    for (const rtCd of ['1', '2', '7', '9', '', '00', 1, null]) {
      assert.equal(nameOf(verdictOn(200, { rt_cd: rtCd, msg_cd: 'MCA00999', msg1: 'x' })), 'fatal', String(rtCd));
    }
  });

  it('takes a code that it knows for an error, whatever stands beside it', () => {
    for (const code of ['EGW00121', 'EGW00304', 'EGW00300', 'EGW00201']) {
      for (const form of [{ msg_cd: code }, { error_code: code }, { message: code }]) {
        const said = verdictOn(200, { rt_cd: '0', ...form });
        assert.notEqual(said, undefined);
        assert.equal(typeof said === 'object' && said.upstreamCode, code);
      }
    }
  });

  it('lets the trouble of the gateway be tried again, and a timeout of it be one', () => {
    const trouble = verdictOn(500, { rt_cd: '1', msg_cd: 'EGW00300', msg1: 'Gateway 라우팅 오류' });
    assert.deepEqual(trouble, {
      verdict: 'retry',
      upstreamCode: 'EGW00300',
      message: 'KIS answered EGW00300: the gateway could not route the request.',
    });
    const timeout = verdictOn(200, { rt_cd: '1', msg_cd: 'EGW00301' });
    assert.ok(typeof timeout === 'object' && timeout.verdict === 'retry' && timeout.code === 'TIMEOUT');
    assert.equal(nameOf(verdictOn(500, { rt_cd: '1', msg_cd: 'EGW00304', msg1: 'x' })), 'fatal');
  });

  it('knows what was turned away before it was executed', () => {
    const said = verdictOn(500, { rt_cd: '1', msg_cd: 'EGW00121', msg1: 'token eyJsecret' });
    assert.deepEqual(said, {
      verdict: 'fatal',
      upstreamCode: 'EGW00121',
      possiblyExecuted: false,
      message: 'KIS answered EGW00121: the access token is not valid.',
    });
  });

  it('names codes in the message, and nothing else of the body', () => {
    assert.deepEqual(verdictOn(200, { rt_cd: '1', msg_cd: 'APBK0919', msg1: 'eyJsecret' }), {
      verdict: 'fatal',
      upstreamCode: 'APBK0919',
      message: 'KIS answered with rt_cd 1, msg_cd APBK0919.',
    });
    const odd = verdictOn(500, { rt_cd: { a: 'eyJsecret' }, msg_cd: 'eyJ.secret', message: ['EGW00201'] });
    assert.deepEqual(odd, { verdict: 'fatal', message: 'KIS answered with rt_cd unknown, msg_cd unknown.' });
    const token = verdictOn(403, { error_code: 'EGW99999', error_description: 'eyJsecret' });
    assert.deepEqual(token, {
      verdict: 'fatal',
      upstreamCode: 'EGW99999',
      message: 'KIS answered with rt_cd unknown, msg_cd EGW99999.',
    });
  });

  it('says that there is no data, whatever the code', () => {
    for (const msg_cd of ['MCA00999', undefined, 5]) {
      const said = verdictOn(200, { rt_cd: '7', msg_cd });
      assert.equal(typeof said === 'object' && said.upstreamCode, 'NO_DATA');
    }
  });

  it('leaves the rest to the rules of HTTP', () => {
    for (const body of [
      { rt_cd: '0', msg_cd: 'MCA00000', msg1: '정상처리 되었습니다.' },
      { rt_cd: 0 },
      { access_token: 'x' },
      { BODY: {}, HASH: 'x' },
      { message: 'EGW99999' },
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
});

describe('the answer to a quote', () => {
  const QUOTE = { url: '/uapi/domestic-stock/v1/quotations/inquire-price' };
  const ORDERS = { url: 'https://example.com/uapi/domestic-stock/v1/trading/inquire-psbl-order' };

  const onQuote = (body: unknown, status = 200, item: { url: string } = QUOTE) =>
    classify({ ok: true, value: { status, headers: {}, body }, item, attempt: 1 });
  const success = (output: unknown) => ({ rt_cd: '0', msg_cd: 'MCA00000', msg1: '', output });

  it('without content is that of an unknown symbol', () => {
    const blank = [
      { rsym: '', last: '', base: '' },
      { rsym: '', last: '5' },
      { stck_prpr: '0', prdy_ctrt: '0.00', rprs_mrkt_kor_name: '', acml_vol: ' ' },
      {},
    ];
    for (const output of blank) {
      assert.deepEqual(onQuote(success(output)), {
        verdict: 'fatal',
        code: 'INVALID_RESPONSE',
        upstreamCode: 'UNKNOWN_SYMBOL',
        possiblyExecuted: false,
        message: 'KIS knows no such symbol in this market: the quote came back empty.',
      });
    }
    const fine = [{ rsym: 'DNASTSLA', last: '' }, { stck_prpr: '0', name: 'x' }, { n: 0 }, [], [{ a: '' }], null, 'x'];
    for (const output of [...fine, undefined]) assert.equal(onQuote(success(output)), undefined);
    // A balance of nothing is a balance.
    assert.equal(onQuote(success({ ord_psbl_cash: '0' }), 200, ORDERS), undefined);
  });

  it('that is no answer of KIS is tried again, and never a success', () => {
    for (const item of [QUOTE, ORDERS]) {
      for (const body of ['<html>', '', null, [], { hello: 'world' }, 'rt_cd 0', new Uint8Array(3)]) {
        const said = onQuote(body, 200, item);
        assert.deepEqual([nameOf(said), typeof said === 'object' && said.code], ['retry', 'INVALID_RESPONSE']);
      }
    }
    assert.equal(nameOf(onQuote('', 302)), 'fatal');
    assert.equal(onQuote('<html>', 502), undefined);
    assert.equal(onQuote({ HASH: 'x' }, 200, { url: '/uapi/hashkey' }), undefined);
  });

  it('is judged without an error, whatever it is', () => {
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.json()), fc.integer({ min: 200, max: 599 }), (body, status) => {
        onQuote(body, status);
      }),
    );
  });
});

describe('the KIS handler', () => {
  it('is the built-in one, with its traits', async (t) => {
    assert.deepEqual(traitsOf(kis), traitsOf(http));
    useHttp(t);
    const server = await serve(t, (_request, response) => sendJson(response, variants.full, 500));
    const value = await kis({ url: server.origin }, new FakeContext());
    assert.equal(nameOf(classify({ ok: true, value, item: ITEM, attempt: 1 })), 'rate-limit');
  });

  it('takes a token for every exchange that it asks', async (t) => {
    useHttp(t);
    const asked: string[] = [];
    const server = await serve(t, (request, response) => {
      const exchange = new URL(request.url ?? '', 'http://x').searchParams.get('EXCD') ?? '';
      asked.push(exchange);
      sendJson(response, { rt_cd: '0', output: { rsym: exchange === 'NYS' ? 'DNYSIBM' : '' } });
    });
    const context = new FakeContext();
    const query = { EXCD: 'NAS', SYMB: 'IBM' };
    const elsewhere = [{ EXCD: 'NYS' }, { EXCD: 'AMS' }];
    const value = await kis({ url: server.origin, query, elsewhere }, context);
    assert.deepEqual(value.body, { rt_cd: '0', output: { rsym: 'DNYSIBM' } });
    assert.deepEqual(asked, ['NAS', 'NYS']);
    assert.deepEqual(context.log, ['sent', 'answered', 'acquire', 'sent2', 'answered2']);
  });

  it('stops between two exchanges when it is told to', async (t) => {
    useHttp(t);
    const context = new FakeContext();
    const reason = new Error('stop');
    const server = await serve(t, (_request, response) => {
      context.stopError = reason;
      context.controller.abort(reason);
      sendJson(response, { rt_cd: '0', output: { rsym: '' } });
    });
    await assert.rejects(kis({ url: server.origin, elsewhere: [{ EXCD: 'NYS' }] }, context), reason);
    assert.ok(!context.log.includes('sent2'));
  });

  it('refuses an item that is none, and one with a problem, before anything is sent', async (t) => {
    useHttp(t);
    for (const item of [undefined, null, 5, {}]) {
      await assert.rejects(kis(item as never, new FakeContext()), { code: 'HANDLER', notSent: true });
    }
    const problem = { url: '', problem: 'It is wrong.' };
    await assert.rejects(kis(problem, new FakeContext()), { message: 'It is wrong.', notSent: true });
    const said = classify({ ok: false, error: new Error('It is wrong.'), item: problem, attempt: 1 });
    assert.deepEqual(said, { verdict: 'fatal', upstreamCode: 'INVALID_ITEM', possiblyExecuted: false });
  });
});
