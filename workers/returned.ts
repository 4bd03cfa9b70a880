import { read } from '../lib/recover/error-record.ts';

/** A gateway that got no answer proves nothing about what is behind it: the request may still be counted later. */
export function isGatewayWord(value: unknown): boolean {
  const status = read(value, 'status');
  return status === 502 || status === 504;
}

/** Must it be awaited? */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (typeof value === 'object' || typeof value === 'function') && value !== null && 'then' in value;
}
