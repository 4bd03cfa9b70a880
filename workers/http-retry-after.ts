import { parseHttpDate, parseRetryAfter } from '../lib/recover/retry-after.ts';
import type { HttpValue } from '../lib/types.ts';
import { firstHeader } from './http-body.ts';

/** The hint of an answer when to come back, in milliseconds. A date is read by the server's own clock if it sent it. */
export function retryAfterOf({ headers }: HttpValue): number | undefined {
  const nowMs = Date.now();
  const serverTime = firstHeader(headers, 'date');
  const hint = Object.hasOwn(headers, 'retry-after') ? headers['retry-after'] : undefined;
  return parseRetryAfter(hint, (serverTime === undefined ? undefined : parseHttpDate(serverTime, nowMs)) ?? nowMs);
}
