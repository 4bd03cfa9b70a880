import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isTokenText, parseKst, readTokenAnswer } from '../../lib/kis/access-token.ts';

const NOW_MS = Date.UTC(2023, 11, 21, 0, 0, 0);
const GOOD = {
  access_token: 'eyJ0b2tlbg.x.y',
  access_token_token_expired: '2023-12-22 08:16:59',
  token_type: 'Bearer',
  expires_in: 86_400,
};

function read(status: number, body: unknown) {
  return readTokenAnswer(status, typeof body === 'string' ? body : JSON.stringify(body), NOW_MS);
}

describe('the answer of the token endpoint', () => {
  it('has a token, and its end in the time of Korea', () => {
    assert.deepEqual(read(200, GOOD), {
      kind: 'token',
      token: { text: GOOD.access_token, issuedAtMs: NOW_MS, expiresAtMs: Date.UTC(2023, 11, 21, 23, 16, 59) },
    });
  });

  it('tells the end by the seconds, and without them by what KIS promises', () => {
    const { access_token_token_expired: _, ...rest } = GOOD;
    const endOf = (body: object) => {
      const answer = read(200, body);
      return answer.kind === 'token' ? answer.token.expiresAtMs - NOW_MS : answer.kind;
    };
    assert.equal(endOf({ ...rest, expires_in: 60 }), 60_000);
    for (const odd of [undefined, 0, -1, '60', 1e300, null]) {
      assert.equal(
        endOf({ ...rest, expires_in: odd, access_token_token_expired: 'soon' }),
        24 * 3_600_000,
        String(odd),
      );
    }
  });

  it('is an error by its body, whatever the status', () => {
    for (const status of [403, 200, 500]) {
      for (const form of ['error_code', 'msg_cd']) {
        assert.deepEqual(read(status, { [form]: 'EGW00133' }), { kind: 'too-soon', code: 'EGW00133', status });
        for (const code of ['EGW00101', 'EGW00102', 'EGW00103', 'EGW00104', 'EGW00105', 'EGW00116']) {
          assert.deepEqual(read(status, { [form]: code }), { kind: 'refused', code, status });
        }
        for (const code of ['EGW00201', 'EGW00300', 'EGW99999']) {
          assert.deepEqual(read(status, { ...GOOD, [form]: code }), { kind: 'trouble', code, status });
        }
      }
    }
  });

  it('is final without a code if the client is to blame, and trouble otherwise', () => {
    assert.equal(read(400, {}).kind, 'refused');
    assert.equal(read(404, '<html>').kind, 'refused');
    for (const status of [200, 302, 429, 500, 503])
      assert.equal(read(status, '<html>').kind, 'trouble', String(status));
    assert.equal(read(500, GOOD).kind, 'trouble');
  });

  it('never gives a token that no header can hold', () => {
    for (const odd of ['', 'a b', 'a\r\nx: y', 'é', 'x'.repeat(4097), 5, null, {}, ['x']]) {
      assert.equal(read(200, { ...GOOD, access_token: odd }).kind, 'trouble');
    }
  });

  it('whatever it is, is read without an error', () => {
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 599 }), fc.oneof(fc.string(), fc.json()), (status, text) => {
        const answer = readTokenAnswer(status, text, NOW_MS);
        if (answer.kind === 'token') assert.ok(isTokenText(answer.token.text));
      }),
    );
  });
});

describe('a time of Korea', () => {
  it('is nine hours ahead of UTC', () => {
    assert.equal(parseKst('2024-01-01 09:00:00'), Date.UTC(2024, 0, 1));
    assert.equal(parseKst('2024-03-01 00:00:00'), Date.UTC(2024, 1, 29, 15));
  });

  it('comes back as it was written', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_000_000_000 }), (second) => {
        const text = new Date(second * 1e3 + 9 * 3_600_000).toISOString().slice(0, 19).replace('T', ' ');
        assert.equal(parseKst(text), second * 1e3);
      }),
    );
  });

  it('must exist', () => {
    for (const odd of [
      '2023-02-30 00:00:00',
      '2023-13-01 00:00:00',
      '2023-01-01 24:00:00',
      '2023-01-01',
      '',
      5,
      null,
    ]) {
      assert.equal(parseKst(odd), undefined, String(odd));
    }
  });
});
