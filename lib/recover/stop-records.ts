import type { FailureRecord } from './error-record.ts';

/** The record of an attempt that took longer than its timeout. */
export function timeoutRecord(timeoutMs: number, isSent: boolean): FailureRecord {
  return {
    code: 'TIMEOUT',
    name: 'TimeoutError',
    message: `No answer within timeoutMs (${timeoutMs} ms); the request was ${isSent ? 'sent' : 'not sent'}.`,
    possiblyExecuted: isSent,
  };
}

/** The record of an attempt that waited in vain for a further token. */
export function starvedRecord(acquireTimeoutMs: number, isSent: boolean): FailureRecord {
  return {
    code: 'TIMEOUT',
    name: 'TimeoutError',
    message: `No further token within ${acquireTimeoutMs} ms: too many items hold one while they wait for the next.`,
    possiblyExecuted: isSent,
  };
}

/** The record of an item whose batch was aborted. */
export function abortedRecord(possiblyExecuted: boolean): FailureRecord {
  return { code: 'ABORTED', name: 'AbortError', message: 'The batch was aborted.', possiblyExecuted };
}
