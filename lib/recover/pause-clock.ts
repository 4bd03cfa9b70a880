import { performance } from 'node:perf_hooks';

/** A timer that keeps the process alive, or does not. */
export interface PauseTimer {
  ref(): unknown;
  unref(): unknown;
}

/** Time and timers of a recovery, as an argument, so that tests can run in a time of their own. */
export interface PauseClock {
  /** For waits. */
  nowMs(): number;
  /** The clock of shared memory, on which hints of the upstream are. */
  nowNs(): bigint;
  setTimer(callback: () => void, ms: number): PauseTimer;
  clearTimer(timer: PauseTimer): void;
}

/** The clocks and the timers of this process. */
export const systemPauseClock: PauseClock = {
  nowMs: () => performance.now(),
  nowNs: () => process.hrtime.bigint(),
  setTimer: (callback, ms) => setTimeout(callback, ms),
  clearTimer: (timer) => clearTimeout(timer as NodeJS.Timeout),
};
