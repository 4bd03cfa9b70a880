import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ERROR_CODES, ItemError, RateLimitError } from '../../lib/errors.ts';
import {
  codeOf,
  type FailureRecord,
  read,
  readFlag,
  retryAfterOf,
  statusOf,
  toCauseRecord,
  toFailureRecord,
} from '../../lib/recover/error-record.ts';
import type { CauseRecord } from '../../lib/types.ts';
import { anything, hostile, nested, trapped, withGetters } from './hostile.ts';

function assertCause(cause: CauseRecord | undefined, mostDeep: number): void {
  if (cause === undefined) return;
  assert.ok(mostDeep > 0, 'the causes go on for ever');
  assert.equal(typeof cause.name, 'string');
  assert.equal(typeof cause.message, 'string');
  for (const text of [cause.name, cause.message, cause.code ?? '']) assert.ok(text.length <= 2_100);
  assertCause(cause.cause, mostDeep - 1);
}

/** Plain data that survives threads, JSON and logs, and is not large. */
function assertPlain(record: FailureRecord): void {
  assert.ok((ERROR_CODES as readonly string[]).includes(record.code));
  assert.deepEqual(structuredClone(record), record, 'it crosses threads');
  assert.deepEqual(JSON.parse(JSON.stringify(record)), record, 'it is JSON');
  assert.equal(typeof record.name, 'string');
  assert.notEqual(record.name, '');
  assert.notEqual(record.message, '');
  assert.ok(record.name.length <= 2_000 && record.message.length <= 2_100 && (record.stack ?? '').length <= 8_000);
  assert.ok(record.status === undefined || Number.isSafeInteger(record.status));
  assert.ok(record.retryAfterMs === undefined || record.retryAfterMs > 0);
  assertCause(record.cause, 4);
}

describe('toFailureRecord', () => {
  for (const [name, make] of Object.entries(hostile)) {
    it(`makes plain data of ${name}`, () => {
      for (const possiblyExecuted of [true, false]) {
        const record = toFailureRecord(make(), possiblyExecuted);
        assertPlain(record);
        assert.equal(record.possiblyExecuted, possiblyExecuted);
      }
    });
  }

  it('makes plain data of anything', () => {
    fc.assert(
      fc.property(anything, (make) => assertPlain(toFailureRecord(make(), true))),
      { numRuns: 1_000 },
    );
  });

  it('has what an error has', () => {
    const error = Object.assign(new RangeError('Too far.', { cause: new TypeError('Wrong.') }), { status: 418 });
    const record = toFailureRecord(error, false);
    assert.deepEqual(record, {
      code: 'HANDLER',
      name: 'RangeError',
      message: 'Too far.',
      status: 418,
      possiblyExecuted: false,
      stack: error.stack,
      cause: { name: 'TypeError', message: 'Wrong.' },
    });
  });

  it('has a stack only where the handler itself is at fault', () => {
    assert.equal(typeof toFailureRecord(new Error('A bug.'), false).stack, 'string');
    assert.equal(toFailureRecord(new ItemError('NETWORK', 'Gone.'), false).stack, undefined);
  });

  it('keeps what our own errors say', () => {
    const limited = toFailureRecord(new RateLimitError({ retryAfterMs: 2_500 }), false);
    assert.equal(limited.code, 'RATE_LIMITED');
    assert.equal(limited.name, 'RateLimitError');
    assert.equal(limited.retryAfterMs, 2_500);
    const item = toFailureRecord(new ItemError('HTTP_STATUS', 'Status 503.', { status: 503, retryAfterMs: 7 }), true);
    assert.deepEqual([item.code, item.status, item.retryAfterMs, item.possiblyExecuted], ['HTTP_STATUS', 503, 7, true]);
  });

  it('says in words what is not an error', () => {
    assert.equal(toFailureRecord(null, false).message, 'The handler threw null.');
    assert.equal(toFailureRecord(undefined, false).message, 'The handler threw undefined.');
    assert.equal(toFailureRecord(42, false).message, 'The handler threw 42.');
    assert.equal(toFailureRecord('boom', false).message, 'The handler threw boom.');
    assert.equal(toFailureRecord(Symbol('s'), false).message, 'The handler threw Symbol(s).');
    assert.equal(toFailureRecord({}, false).message, 'The handler threw something that is not an Error.');
  });

  it('takes the code for a message where there is none', () => {
    const error = Object.assign(new AggregateError([], 'To be removed.'), { message: '', code: 'ECONNREFUSED' });
    assert.equal(toFailureRecord(error, false).message, 'ECONNREFUSED');
  });

  it('follows causes four deep', () => {
    let depth = 0;
    for (let cause = toFailureRecord(nested(10), false).cause; cause !== undefined; cause = cause.cause) depth++;
    assert.equal(depth, 4);
    assert.equal(toCauseRecord(undefined), undefined);
    assert.equal(toCauseRecord(null), undefined);
    assert.deepEqual(toCauseRecord('a word'), { name: 'Error', message: 'The handler threw a word.' });
  });
});

describe('codeOf', () => {
  it('takes a stable code for what it is', () => {
    for (const code of ERROR_CODES) assert.equal(codeOf({ code }), code);
  });

  it('knows a failed connection, also as a cause', () => {
    const failed = Object.assign(new Error('Socket.'), { code: 'ECONNRESET' });
    assert.equal(codeOf(failed), 'NETWORK');
    assert.equal(codeOf(new TypeError('fetch failed', { cause: failed })), 'NETWORK');
    assert.equal(codeOf(new Error('1', { cause: new Error('2', { cause: failed }) })), 'NETWORK');
  });

  it('knows every code of the system and of undici for a connection that failed, four causes deep', () => {
    const system =
      'CONNREFUSED CONNRESET CONNABORTED PIPE TIMEDOUT NOTFOUND AI_AGAIN HOSTUNREACH HOSTDOWN NETUNREACH NETDOWN';
    const undici = 'SOCKET CONNECT_TIMEOUT HEADERS_TIMEOUT BODY_TIMEOUT RES_CONTENT_LENGTH_MISMATCH CLOSED DESTROYED';
    const codes = [
      ...system.split(' ').map((code) => `E${code}`),
      ...undici.split(' ').map((code) => `UND_ERR_${code}`),
    ];
    for (const code of codes) assert.equal(codeOf({ code }), 'NETWORK', code);
    assert.equal(codeOf({ code: '' }), 'HANDLER');
    const under = (depth: number): unknown => (depth === 0 ? { code: 'EPIPE' } : { cause: under(depth - 1) });
    assert.equal(codeOf(under(3)), 'NETWORK');
    assert.equal(codeOf(under(4)), 'HANDLER');
  });

  it('looks at a function like at an object', () => {
    assert.equal(codeOf(Object.assign(() => {}, { code: 'EPIPE' })), 'NETWORK');
  });

  it('does not take the stable code of a cause for that of the error', () => {
    assert.equal(codeOf(new Error('A bug.', { cause: new ItemError('RATE_LIMITED', 'Slow down.') })), 'HANDLER');
  });

  it('calls everything else the handler’s fault', () => {
    for (const thrown of [
      null,
      undefined,
      'TIMEOUT',
      7,
      {},
      { code: 7 },
      { code: 'EWHATEVER' },
      trapped(),
      nested(100),
    ]) {
      assert.equal(codeOf(thrown), 'HANDLER');
    }
  });
});

describe('retryAfterOf', () => {
  it('takes a number of milliseconds above 0 and nothing else', () => {
    assert.equal(retryAfterOf({ retryAfterMs: 0.5 }), 0.5);
    for (const retryAfterMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, '5', 5n, null, undefined, {}]) {
      assert.equal(retryAfterOf({ retryAfterMs }), undefined);
    }
    for (const thrown of [null, undefined, 5, 'x', trapped()]) assert.equal(retryAfterOf(thrown), undefined);
  });

  it('keeps a hint that is for ever a whole number of nanoseconds', () => {
    assert.equal(retryAfterOf({ retryAfterMs: Number.MAX_VALUE }), Number.MAX_SAFE_INTEGER);
  });
});

describe('read', () => {
  it('never throws', () => {
    for (const make of Object.values(hostile)) read(make(), 'message');
    assert.equal(read(trapped(), 'message'), undefined);
    assert.equal(read(withGetters({ x: () => 5 }), 'x'), 5);
    assert.equal(read('text', 'length'), undefined);
  });
});

describe('readFlag', () => {
  it('reads true and false, and takes nothing else for either', () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    for (const [value, flag] of [
      [{ flag: true }, true],
      [{ flag: false }, false],
      [{ flag: 1 }, undefined],
      [{ flag: 'true' }, undefined],
      [{}, undefined],
      [undefined, undefined],
      [null, undefined],
      [proxy, undefined],
    ] as const) {
      assert.equal(readFlag(value, 'flag'), flag);
    }
  });
});

describe('statusOf', () => {
  it('reads a whole number above 0 and nothing else', () => {
    for (const status of [1, 404, 999]) assert.equal(statusOf({ status }), status);
    for (const status of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '404', 404n, undefined]) {
      assert.equal(statusOf({ status }), undefined);
    }
  });
});
