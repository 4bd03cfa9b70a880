import type { Recovery } from '../../../../lib/recover/recovery.ts';

/** A recovery that never looks if there is anything to recover from. */
class BareRecovery implements Pick<Recovery, keyof Recovery> {
  readonly events = 0;
  readonly pauseLeftMs = 0;

  notice(): void {}

  close(): void {}

  refuseIfTooLong(): void {}

  enforceBarrier(): void {}
}

export { BareRecovery as Recovery };
