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

/** The record of an item whose batch was aborted. */
export function abortedRecord(possiblyExecuted: boolean): FailureRecord {
  return { code: 'ABORTED', name: 'AbortError', message: 'The batch was aborted.', possiblyExecuted };
}
