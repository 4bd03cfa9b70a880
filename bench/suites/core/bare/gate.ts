import type { Gate } from '../../../../lib/shared/gate.ts';

/** A gate that nobody looks at: always open, never closed. */
class BareGate implements Pick<Gate, keyof Gate> {
  readonly generation = 0;
  readonly pausedUntilNs = 0n;

  isOpenFor(): boolean {
    return true;
  }

  close(): boolean {
    return false;
  }

  pauseUntil(): void {}

  clearPause(): void {}
}

export { BareGate as Gate };
