import type { ErrorMatch, RecoveryRule } from '../../lib/types.ts';

/** The row of a rule in the table of docs/errors.md, cell by cell. */
export function rowOf({ type, when, severity, actions }: RecoveryRule): string[] {
  return [type, conditionsOf(when), severity, actions.join(', ')];
}

/** The row of a rule in the table of messages. */
export function messageRowOf({ type, message }: RecoveryRule): string[] {
  return [type, message.en, message.ko];
}

function conditionsOf({ code, status, networkCode, upstreamCode }: ErrorMatch): string {
  const parts = [
    listed(code),
    status !== undefined && typeof status === 'object' && 'from' in status
      ? `${status.from} to ${status.to}`
      : listed(status),
    listed(networkCode),
    listed(upstreamCode),
  ].filter((part) => part !== '');
  return parts.length === 0 ? 'any' : parts.join(': ');
}

function listed(value: string | number | readonly (string | number)[] | undefined): string {
  return value === undefined ? '' : [value].flat().join(', ');
}
