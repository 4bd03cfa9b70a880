import type { ChunkTask } from '../../lib/protocol.ts';
import { RecoveryTable } from '../../lib/recover/recovery-table.ts';
import { CallCounter } from '../../lib/shared/call-ring.ts';
import type { ControlBlock } from '../../lib/shared/control-block.ts';
import { Gate } from '../../lib/shared/gate.ts';
import type { HandlerContext } from '../../lib/types.ts';
import type { LaneHost } from '../../workers/lane-host.ts';

/** What a lane calls for an item. */
export type Handle = (item: unknown, context: HandlerContext) => unknown;

export interface HostFields extends Partial<Omit<LaneHost, 'handler'>> {
  readonly handle: Handle;
  /** Default true. */
  readonly reportsSent?: boolean;
  readonly isIdempotent?: (item: unknown) => boolean;
}

/** A thread as its lanes see it, without all that is neither shared memory nor the order of steps. */
export function hostOf(block: ControlBlock, fields: HostFields): LaneHost {
  const { handle, reportsSent = true, isIdempotent = () => true, ...others } = fields;
  const traits = { reportsSent, isIdempotent };
  return {
    threadId: 1,
    block,
    gate: new Gate(block),
    calls: new CallCounter(block, 0),
    waiter: undefined,
    handler: { handle, classify: undefined, traits, state: undefined },
    classifiers: [],
    table: new RecoveryTable([]),
    timeoutNs: 1_000n,
    acquireTimeoutNs: 1_000n,
    cancelsInFlight: true,
    trace: undefined,
    mayRefresh: () => false,
    closeGate: () => {},
    believeQuota: () => undefined,
    obeysQuota: false,
    countSuccess: () => {},
    countFailure: () => {},
    publishCounts: () => {},
    flushSoon: () => {},
    turn: () => undefined,
    watchDeadline: () => {},
    recordWait: () => {},
    recordService: () => {},
    ...others,
  };
}

/** The message that brings these items to a lane. */
export function taskOf(items: readonly unknown[], fields: Partial<ChunkTask> = {}): ChunkTask {
  return {
    ...{ kind: 'chunk', id: 0, slot: 0, generation: 0, batch: 0, first: 0, items, credentials: {}, isProbe: false },
    ...{ indices: undefined, attempts: undefined, refreshes: undefined, idempotent: undefined },
    ...fields,
  };
}
