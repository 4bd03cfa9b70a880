import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as v from 'valibot';
import type { ErrorCode } from '../../lib/errors.ts';
import { KIS_CODES } from '../../lib/kis/codes.ts';
import { KIS_RULES } from '../../lib/kis/rules.ts';
import { RecoveryTable } from '../../lib/recover/recovery-table.ts';
import { recoveryRulesSchema } from '../../lib/recover/rule-schema.ts';
import { assertReadable } from '../recover/rule-messages.ts';

const table = new RecoveryTable(KIS_RULES);

interface Row {
  readonly type: string;
  readonly severity: string;
  readonly actions: string;
  readonly maxAttempts?: number;
}

const RATE_LIMIT: Row = { type: 'RateLimitError', severity: 'medium', actions: 'wait retry', maxAttempts: 5 };
const EXPIRED: Row = {
  type: 'TokenExpiredError',
  severity: 'low',
  actions: 'refresh-credentials retry',
  maxAttempts: 2,
};
const ISSUE_LIMIT: Row = { type: 'TokenIssueLimitError', severity: 'medium', actions: 'wait retry', maxAttempts: 2 };
const TIMEOUT: Row = { type: 'Timeout', severity: 'low', actions: 'wait retry trip-circuit', maxAttempts: 3 };
const SERVER: Row = { type: 'ServerError', severity: 'medium', actions: 'wait retry trip-circuit', maxAttempts: 4 };
const CONNECTION: Row = { ...SERVER, type: 'ConnectionError', severity: 'low' };
const final = (type: string, severity: string): Row => ({ type, severity, actions: 'notify fail-fast' });

/** What becomes of each code, whatever HTTP status it came with. */
const BY_CODE: Readonly<Record<string, Row>> = {
  EGW00201: RATE_LIMIT,
  EGW00215: RATE_LIMIT,
  EGW00121: EXPIRED,
  EGW00123: EXPIRED,
  EGW00133: ISSUE_LIMIT,
  EGW00103: final('AuthenticationError', 'high'),
  EGW00105: final('AuthenticationError', 'high'),
  EGW00304: final('AuthenticationError', 'high'),
  EGW00300: SERVER,
  EGW00316: SERVER,
  EGW00001: SERVER,
  EGW00002: SERVER,
  EGW00202: SERVER,
  EGW00203: SERVER,
  EGW00301: TIMEOUT,
  EGW00302: TIMEOUT,
  KIOK0560: final('NoDataError', 'low'),
  NO_DATA: final('NoDataError', 'low'),
  UNKNOWN_SYMBOL: final('UnknownSymbolError', 'low'),
  EGW02006: final('NotOfferedError', 'high'),
  OPSQ0002: final('NotOfferedError', 'high'),
  OPSQ2001: final('InvalidParameterError', 'high'),
  INVALID_ITEM: final('InvalidParameterError', 'high'),
};

function found(code: ErrorCode, fields: { status?: number; upstreamCode?: string }) {
  const { rule, isUsers } = table.find({ code, name: '', message: '', possiblyExecuted: false, ...fields });
  const { type, severity, actions, maxAttempts } = rule;
  const row: Row = {
    type,
    severity,
    actions: actions.join(' '),
    ...(maxAttempts === undefined ? {} : { maxAttempts }),
  };
  return { row, isUsers };
}

describe('KIS_RULES', () => {
  it('have a row for every code of KIS, with HTTP 500 and 200', () => {
    for (const [upstreamCode, row] of Object.entries(BY_CODE)) {
      assert.deepEqual(found('HTTP_STATUS', { status: 500, upstreamCode }), { row, isUsers: true }, upstreamCode);
      assert.deepEqual(found('INVALID_RESPONSE', { status: 200, upstreamCode }), { row, isUsers: true }, upstreamCode);
    }
  });

  it('agree with the classifier, but on what a new token or a minute of patience mends', () => {
    const overruled = new Set(['EGW00121', 'EGW00123', 'EGW00133']);
    for (const [upstreamCode, { verdict, code = 'HTTP_STATUS' }] of KIS_CODES) {
      const { row, isUsers } = found(code, { status: 500, upstreamCode });
      assert.ok(isUsers, `${upstreamCode} has no row`);
      const isAgain = verdict !== 'fatal' || overruled.has(upstreamCode);
      assert.equal(/retry/.test(row.actions), isAgain, upstreamCode);
      assert.equal(/fail-fast/.test(row.actions), !isAgain, upstreamCode);
    }
  });

  it('have rows for what comes without a code', () => {
    assert.deepEqual(found('RATE_LIMITED', { status: 500 }).row, RATE_LIMIT);
    assert.deepEqual(found('TIMEOUT', {}).row, TIMEOUT);
    assert.deepEqual(found('NETWORK', {}).row, CONNECTION);
    assert.deepEqual(found('HTTP_STATUS', { status: 502 }).row, SERVER);
  });

  it('say of a request in doubt that it is in doubt, whatever KIS said of it', () => {
    for (const upstreamCode of ['EGW00301', 'EGW00300', 'EGW00123']) {
      assert.deepEqual(found('IN_DOUBT', { status: 500, upstreamCode }).row, final('InDoubtError', 'high'));
    }
  });

  it('leave the rest to the rules of the engine', () => {
    for (const code of ['ABORTED', 'HANDLER', 'CREDENTIALS', 'WORKER_LOST'] as const) {
      assert.equal(found(code, {}).isUsers, false, code);
    }
    assert.equal(found('HTTP_STATUS', { status: 404 }).isUsers, false);
  });

  it('pass the check that the rules of users go through', () => {
    assert.deepEqual(v.parse(recoveryRulesSchema, KIS_RULES), KIS_RULES);
  });

  it('can be read by people', () => {
    assertReadable(KIS_RULES);
  });
});
