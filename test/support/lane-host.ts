import { Limiter } from '../../lib/limit/limiter.ts';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { Waiter } from '../../lib/limit/waiter.ts';
import type { ChunkTask } from '../../lib/protocol.ts';
import { RecoveryTable } from '../../lib/recover/recovery-table.ts';
import { CallCounter } from '../../lib/shared/call-ring.ts';
import type { ControlBlock } from '../../lib/shared/control-block.ts';
import { Gate } from '../../lib/shared/gate.ts';
import type { LaneHost } from '../../workers/lane-host.ts';
import type { LoadedHandler } from '../../workers/load-handler.ts';

/** What a lane sees of a thread, on the real parts in shared memory; what is neither of it nor asked for does nothing. */
export function laneHost(
  block: ControlBlock,
  limits: readonly PlannedLimit[],
  handler: LoadedHandler,
  threadId: number,
  own: Partial<LaneHost> = {},
): LaneHost {
  const gate = new Gate(block);
  return {
    threadId,
    block,
    gate,
    calls: new CallCounter(block, threadId - 1),
    waiter: new Waiter(new Limiter(block, limits, threadId)),
    handler,
    classifiers: [],
    table: new RecoveryTable([]),
    timeoutNs: 1_000n,
    acquireTimeoutNs: 1_000n,
    cancelsInFlight: true,
    trace: undefined,
    mayRefresh: () => false,
    closeGate: (generation, cause) => void gate.close(generation, cause),
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
    ...own,
  };
}

/** A chunk of these items. */
export function chunkTask(slot: number, items: readonly unknown[], own: Partial<ChunkTask> = {}): ChunkTask {
  const none = { indices: undefined, attempts: undefined, refreshes: undefined, idempotent: undefined };
  return {
    kind: 'chunk',
    id: slot,
    slot,
    generation: 0,
    batch: 0,
    first: 0,
    items,
    ...none,
    credentials: {},
    isProbe: false,
    ...own,
  };
}
