import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  abortedRecord,
  circuitOpenRecord,
  credentialsRecord,
  starvedRecord,
  timeoutRecord,
  uncloneableRecord,
} from '../../lib/recover/stop-records.ts';

/** All but the message, and a part of that. */
function assertRecord(record: { readonly message: string }, fields: object, part: RegExp): void {
  const { message, ...others } = record;
  assert.deepEqual(others, fields);
  assert.match(message, part);
}

describe('the record of an item that did not run to its end', () => {
  it('says that it took too long, and if it was sent', () => {
    const fields = { code: 'TIMEOUT', name: 'TimeoutError' };
    assertRecord(timeoutRecord(500, true), { ...fields, possiblyExecuted: true }, /\(500 ms\).* was sent\.$/);
    assertRecord(timeoutRecord(500, false), { ...fields, possiblyExecuted: false }, /\(500 ms\).* was not sent\.$/);
    assertRecord(starvedRecord(70, true), { ...fields, possiblyExecuted: true }, /within 70 ms/);
    assertRecord(starvedRecord(70, false), { ...fields, possiblyExecuted: false }, /within 70 ms/);
  });

  it('says that it was aborted', () => {
    for (const possiblyExecuted of [false, true]) {
      const fields = { code: 'ABORTED', name: 'AbortError', possiblyExecuted };
      assertRecord(abortedRecord(possiblyExecuted), fields, /aborted/);
    }
  });

  it('says that the circuit breaker is open, and for how long, if that is known', () => {
    const fields = { code: 'CIRCUIT_OPEN', name: 'CircuitOpenError', possiblyExecuted: false };
    assertRecord(circuitOpenRecord(99.2), { ...fields, retryAfterMs: 100 }, /another 100 ms/);
    assertRecord(circuitOpenRecord(0.1), { ...fields, retryAfterMs: 1 }, /another 1 ms/);
    assertRecord(circuitOpenRecord(0), fields, /another 0 ms/);
  });

  it('says why there are no credentials, and what the upstream called that', () => {
    const fields = { code: 'CREDENTIALS', name: 'CredentialsError', possiblyExecuted: false };
    assertRecord(credentialsRecord(undefined), fields, /could not be obtained/);
    assertRecord(
      credentialsRecord(new RangeError('No.')),
      { ...fields, cause: { name: 'RangeError', message: 'No.' } },
      /could not be obtained/,
    );
    const error = Object.assign(new Error('Refused.'), { upstreamCode: 'E'.repeat(65) });
    assertRecord(
      credentialsRecord(error),
      { ...fields, upstreamCode: 'E'.repeat(64), cause: { name: 'Error', message: 'Refused.' } },
      /could not be obtained/,
    );
  });

  it('says that its value cannot be sent', () => {
    const cause = { name: 'DataCloneError', message: 'A function.' };
    assertRecord(
      uncloneableRecord(cause),
      { code: 'NOT_CLONEABLE', name: 'DataCloneError', possiblyExecuted: true, cause },
      /cannot be sent/,
    );
  });
});
