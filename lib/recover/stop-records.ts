import type { CauseRecord } from '../types.ts';
import {
  type FailureRecord,
  MAX_UPSTREAM_CODE_CHARS,
  readString,
  toCauseRecord,
  toFailureRecord,
} from './error-record.ts';

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

/** The record of an item that the open circuit breaker does not let through. */
export function circuitOpenRecord(leftMs: number): FailureRecord {
  const retryAfterMs = Math.ceil(leftMs);
  return {
    code: 'CIRCUIT_OPEN',
    name: 'CircuitOpenError',
    message: `Too much has failed: the circuit breaker is open for another ${retryAfterMs} ms, and the request was not sent.`,
    ...(retryAfterMs > 0 ? { retryAfterMs } : {}),
    possiblyExecuted: false,
  };
}

/** The record of an item that cannot run without new credentials. */
export function credentialsRecord(error: unknown): FailureRecord {
  const cause = toCauseRecord(error);
  const upstreamCode = readString(error, 'upstreamCode', MAX_UPSTREAM_CODE_CHARS);
  return {
    code: 'CREDENTIALS',
    name: 'CredentialsError',
    message: 'There are no valid credentials, and new ones could not be obtained.',
    ...(upstreamCode === undefined ? {} : { upstreamCode }),
    possiblyExecuted: false,
    ...(cause === undefined ? {} : { cause }),
  };
}

/**
 * Why something could not be cloned. Node says it with the source text of a function or the description of a symbol,
 * which may be long and may be a secret; the class of an object says as much as anybody needs.
 */
export function cloneCause(error: unknown): CauseRecord {
  const { name, message } = toFailureRecord(error, true);
  const isText =
    / could not be cloned\.$/.test(message) && !/^(?:#<[\w$]+>|An? [\w ]+) could not be cloned\.$/.test(message);
  return { name, message: isText ? 'A function or a symbol could not be cloned.' : message };
}

/** The handler came back with a value, but the value cannot cross to the main thread. */
export function uncloneableRecord(cause: CauseRecord): FailureRecord {
  return {
    code: 'NOT_CLONEABLE',
    name: 'DataCloneError',
    message: 'The value that the handler returned cannot be sent to the main thread.',
    possiblyExecuted: true,
    cause,
  };
}
