/** What is told when its time is up. */
interface Timed {
  /** 0 while there is nothing to wait for. */
  readonly deadlineNs: bigint;
  timeOut(): void;
}

/**
 * Tell all whose deadline has passed.
 * @returns the earliest deadline of the others; 0 if there is none
 */
export function timeOutOverdue(timed: readonly Timed[], nowNs: bigint): bigint {
  let earliestNs = 0n;
  for (const one of timed) {
    const { deadlineNs } = one;
    if (deadlineNs === 0n) continue;
    if (deadlineNs <= nowNs) one.timeOut();
    else if (earliestNs === 0n || deadlineNs < earliestNs) earliestNs = deadlineNs;
  }
  return earliestNs;
}
