import { cpus } from 'node:os';
import { performance } from 'node:perf_hooks';

/** How busy the machine was while something was measured, in cores. */
export interface Disturbance {
  /** This process, all its threads. */
  readonly own: number;
  /** Everybody else. */
  readonly others: number;
}

/** Start to watch the machine; the returned function tells what happened since. */
export function watchMachine(): () => Disturbance {
  const startedMs = performance.now();
  const before = process.cpuUsage();
  const busyBeforeMs = busyMs();
  return () => {
    const elapsedMs = performance.now() - startedMs;
    const { user, system } = process.cpuUsage(before);
    const own = (user + system) / 1e3 / elapsedMs;
    // Both clocks tick in steps of some milliseconds, so a quiet machine may come out a little below zero.
    return { own, others: Math.max(0, (busyMs() - busyBeforeMs) / elapsedMs - own) };
  };
}

/** In words, for the notes of a table. */
export function describeDisturbance({ own, others }: Disturbance): string {
  const judgement = others > 0.2 ? ': disturbed, repeat it on a quiet machine' : '';
  return `this process used ${own.toFixed(2)} cores, others ${others.toFixed(2)}${judgement}`;
}

function busyMs(): number {
  return cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
}
