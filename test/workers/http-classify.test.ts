import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ItemError, RateLimitError, StopError } from '../../lib/errors.ts';
import type { HttpValue } from '../../lib/types.ts';
import * as httpModule from '../../workers/http.ts';
import http, { classify } from '../../workers/http.ts';
import { FinalResponseError } from '../../workers/http-errors.ts';
import { traitsOf } from '../../workers/traits.ts';
import { call, serve, useHttp } from './http-fixtures.ts';

const item = { url: 'https://example.com/' };

function judge(status: number, headers: HttpValue['headers'] = {}) {
  return classify({ ok: true, value: { status, headers, body: null }, item, attempt: 1 });
}

function onAnswer(status: number, headers: HttpValue['headers'] = {}) {
  const said = judge(status, headers);
  return typeof said === 'object' ? [said.verdict, said.retryAfterMs] : [said, undefined];
}

const onError = (error: unknown) => classify({ ok: false, error, item, attempt: 1 });

describe('the HTTP classifier', () => {
  it('takes everything below 400 for an answer', () => {
    for (const status of [200, 201, 204, 206, 301, 302, 304, 308])
      assert.deepEqual(onAnswer(status), ['ok', undefined]);
  });

  it('takes 4xx for final, but for 429', () => {
    for (const status of [400, 401, 403, 404, 408, 409, 422, 428, 430, 451, 499]) {
      assert.deepEqual(onAnswer(status, { 'retry-after': '3' }), ['fatal', undefined]);
    }
    assert.deepEqual(onAnswer(429), ['rate-limit', undefined]);
    assert.deepEqual(onAnswer(429, { 'retry-after': '3' }), ['rate-limit', 3000]);
    assert.deepEqual(onAnswer(429, { 'retry-after': 'soon' }), ['rate-limit', undefined]);
  });

  it('takes 503 for the rate limit only if it says when to come back', () => {
    assert.deepEqual(onAnswer(503), ['retry', undefined]);
    assert.deepEqual(onAnswer(503, { 'retry-after': '3' }), ['rate-limit', 3000]);
    for (const nonsense of ['0', 'soon', '-1']) {
      assert.deepEqual(onAnswer(503, { 'retry-after': nonsense }), ['retry', undefined]);
    }
  });

  it('tries other 5xx again, after their hint', () => {
    for (const status of [500, 501, 502, 504, 520, 599]) {
      assert.deepEqual(onAnswer(status), ['retry', undefined]);
      assert.deepEqual(onAnswer(status, { 'retry-after': '2' }), ['retry', 2000]);
    }
  });

  it('reads a date by the clock of the server', () => {
    const headers = { date: 'Sun, 06 Nov 1994 08:49:00 GMT', 'retry-after': 'Sun, 06 Nov 1994 08:49:05 GMT' };
    assert.deepEqual(judge(429, headers), { verdict: 'rate-limit', retryAfterMs: 5000 });
    const soon = new Date(Math.ceil(Date.now() / 1000) * 1000 + 60_000).toUTCString();
    const [, hint] = onAnswer(429, { date: 'nonsense', 'retry-after': soon });
    assert.ok(typeof hint === 'number' && hint > 0 && hint <= 61_000);
  });

  it('takes the reset of a quota for a hint of a 429, also of one that does not say what is left', () => {
    const reset = { 'x-ratelimit-reset': '30' };
    assert.deepEqual(judge(429, reset), { verdict: 'rate-limit', quotaResetMs: 30_000 });
    assert.deepEqual(judge(429, { ...reset, 'retry-after': '3' }), {
      verdict: 'rate-limit',
      retryAfterMs: 3000,
      quotaResetMs: 30_000,
    });
    assert.deepEqual(judge(429, { ratelimit: '"a";r=0;t=7' }), { verdict: 'rate-limit', quotaResetMs: 7000 });
    assert.deepEqual(judge(503, reset), { verdict: 'retry' });
  });

  it('passes on with any verdict that a quota is used up', () => {
    const headers = { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '30', 'retry-after': 'soon' };
    for (const [status, verdict] of [
      [200, 'ok'],
      [304, 'ok'],
      [403, 'fatal'],
      [500, 'retry'],
      [503, 'retry'],
    ] as const) {
      const { retryAfterMs, ...said } = Object(judge(status, headers));
      assert.deepEqual(said, { verdict, quotaResetMs: 30_000, ignoredHints: 1 }, String(status));
      assert.equal(retryAfterMs, undefined);
    }
  });

  it('hears what a server sends, on several lines too', async (t) => {
    useHttp(t);
    const server = await serve(t, (_request, response) => {
      response
        .writeHead(429, { RateLimit: ['"burst";r=0;t=2', '"daily";r=0;t=70'], 'X-RateLimit-Reset': 'soon' })
        .end();
    });
    const said = classify({ ok: true, value: await call({ url: server.origin }), item, attempt: 1 });
    assert.deepEqual(said, { verdict: 'rate-limit', quotaResetMs: 70_000, ignoredHints: 1 });
  });

  it('says no more than the verdict of an answer whose fields say nothing', () => {
    const left = { 'x-ratelimit-limit': '60', 'x-ratelimit-remaining': '59', 'x-ratelimit-reset': '30' };
    for (const headers of [{}, { 'content-type': 'text/plain' }, left, { 'retry-after': '0' }]) {
      assert.equal(judge(200, headers), 'ok');
      assert.equal(judge(404, headers), 'fatal');
    }
    // Of a handler of the user's, beside which this classifier was exported again.
    assert.equal(judge(200, undefined as unknown as HttpValue['headers']), 'ok');
    assert.equal(judge(200, null as unknown as HttpValue['headers']), 'ok');
  });

  it('judges errors by their code', () => {
    assert.equal(onError(new ItemError('NETWORK', 'x')), 'retry');
    assert.equal(onError(new ItemError('INVALID_RESPONSE', 'x')), 'retry');
    assert.equal(onError(new FinalResponseError('x', 200)), 'fatal');
    for (const other of [
      new ItemError('HANDLER', 'x'),
      new RateLimitError(),
      new StopError('CANCELLED', 'x'),
      new Error('x'),
      null,
      'x',
    ]) {
      assert.equal(onError(other), undefined);
    }
  });
});

describe('the traits of the HTTP handler', () => {
  it('are the methods that may be sent twice, and that it reports what it sends', () => {
    const traits = traitsOf(http);
    assert.equal(traits.reportsSent, true);
    assert.equal(traits.classify, classify);
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'get', 'delete']) {
      assert.equal(traits.isIdempotent({ url: 'x', method }), true, method);
    }
    for (const method of ['POST', 'PATCH', 'post', 'LOCK', 'toString', '']) {
      assert.equal(traits.isIdempotent({ url: 'x', method }), false, method);
    }
    for (const odd of [{ url: 'x' }, undefined, null, 5, 'x', { method: 5 }])
      assert.equal(traits.isIdempotent(odd), true);
  });

  it('belong to a module with an explicit list of exports', () => {
    assert.deepEqual(Object.keys(httpModule).sort(), ['classify', 'default', 'setup']);
  });
});
