import type { TraceLine } from '../../lib/audit/trace-line.ts';
import type { Failure, Outcome } from '../../lib/index.ts';
import { BY_TEST, type ChaosCells, type ChaosItem } from './fixtures/chaos-http.ts';
import type { ChaosPlan, Trouble } from './plan.ts';

/** What a run has left behind. */
export interface Evidence {
  readonly plan: ChaosPlan;
  readonly cells: ChaosCells;
  /** Threads that ended, and why. */
  readonly exits: ReadonlyMap<number, string>;
  readonly trace: readonly TraceLine[];
  readonly timeoutMs: number;
}

/** The code with which a request ends that must not be sent again, or was sent often enough. */
const CODE_OF_TROUBLE: Readonly<Partial<Record<Trouble['kind'], string>>> = {
  reset: 'NETWORK',
  truncated: 'NETWORK',
  hang: 'TIMEOUT',
  'malformed-json': 'INVALID_RESPONSE',
  'truncated-gzip': 'INVALID_RESPONSE',
  'wrong-length': 'INVALID_RESPONSE',
  'huge-body': 'INVALID_RESPONSE',
  'html-500': 'HTTP_STATUS',
};
/** These end an item at the first time, and in doubt if it must not run twice. */
const LOST_ANSWERS: ReadonlySet<string> = new Set(['NETWORK', 'TIMEOUT', 'WORKER_LOST']);

export function mayRunTwice({ method }: ChaosItem): boolean {
  return method !== 'POST';
}

/** Says what is wrong with the end of an item, given what was done to it; undefined if nothing is. */
export function complaintOf(outcome: Outcome, evidence: Evidence): string | undefined {
  const { plan } = evidence;
  const item = plan.items[outcome.index];
  if (item === undefined) return 'there is no such item';
  const trouble = plan.troubles.get(outcome.index);
  if (outcome.ok) {
    if (item.death?.isOnce === false) return 'it ends its thread whenever it runs, and yet it succeeded';
    const isSpoilt = trouble !== undefined && CODE_OF_TROUBLE[trouble.kind] !== undefined;
    if (isSpoilt && (!trouble.isOnce || !mayRunTwice(item))) return `it met ${trouble.kind}, and yet it succeeded`;
    return undefined;
  }
  const { code, cause } = outcome.error;
  if (code !== 'IN_DOUBT') return unexplained(code, outcome, item, evidence);
  if (mayRunTwice(item)) return 'it is in doubt, but it may run twice';
  const hidden = cause?.code ?? '';
  return LOST_ANSWERS.has(hidden)
    ? unexplained(hidden, outcome, item, evidence)
    : `it is in doubt because of ${hidden}`;
}

function unexplained(code: string, outcome: Failure, item: ChaosItem, evidence: Evidence): string | undefined {
  const trouble = evidence.plan.troubles.get(outcome.index);
  if (code === 'WORKER_LOST') return unexplainedLoss(outcome, item, evidence);
  if (code === 'TIMEOUT' && isReallyLate(outcome, evidence)) return undefined;
  if (trouble === undefined || CODE_OF_TROUBLE[trouble.kind] !== code)
    return `nothing was done to it that is a ${code}`;
  const isFinal = trouble.kind === 'huge-body' || !trouble.isOnce || !mayRunTwice(item);
  return isFinal ? undefined : `it met ${trouble.kind} only once`;
}

/** It is lost for good only if it was alone when its thread died, or if it must not run twice. */
function unexplainedLoss(outcome: Failure, item: ChaosItem, { cells, exits, trace }: Evidence): string | undefined {
  const { index, threadId } = outcome;
  if (!exits.has(threadId)) return `it is lost with thread ${threadId}, which did not end`;
  if (outcome.error.code === 'IN_DOUBT') return undefined;
  const lost = trace.filter(({ thread, verdict }) => thread === threadId && verdict === 'lost');
  if (lost.length !== 1 || lost[0]?.item !== index) return `it was one of ${lost.length} in its thread, and is blamed`;
  const killer = Atomics.load(cells.killers, threadId);
  if (killer === BY_TEST) return undefined;
  return killer === index + 1 && item.death !== undefined ? undefined : `it is blamed for what item ${killer - 1} did`;
}

/** On a busy machine a request may time out to which nothing was done; but then it had its time. */
function isReallyLate({ durationMs, threadId }: Failure, { exits, timeoutMs }: Evidence): boolean {
  return durationMs >= timeoutMs || /ignored its timeout/.test(exits.get(threadId) ?? '');
}
