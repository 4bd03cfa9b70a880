import { performance } from 'node:perf_hooks';
import { busyOfTree, readMachineTimes, readProcesses } from './proc.ts';

/** More than this, in cores, and figures are worth repeating. */
const DISTURBED = 0.2;
/** Where a part's process learns which process the whole run belongs to. */
const RUN_PID = 'SLUICEGATE_BENCH_RUN_PID';

/** How busy the machine was while something was measured, in cores. */
export interface Disturbance {
  /** This process and all that it started: threads, servers, clients. */
  readonly own: number;
  /** Other parts of the same run, which wait most of the time. */
  readonly beside: number;
  /** Everybody else; undefined where the system does not say. */
  readonly others: number | undefined;
  /** What the hypervisor gave to other machines; undefined where the system does not say. */
  readonly stolen: number | undefined;
}

/** For the processes that this one starts: they belong to its run. */
export function runEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, [RUN_PID]: String(process.pid) };
}

/** Start to watch the machine; the returned function tells what happened since. */
export function watchMachine(): () => Disturbance {
  const startedMs = performance.now();
  const before = look();
  return () => {
    const after = look();
    const seconds = (performance.now() - startedMs) / 1e3;
    if (before.machine === undefined || after.machine === undefined) {
      return { own: (after.own - before.own) / seconds, beside: 0, others: undefined, stolen: undefined };
    }
    const { busy, stolen } = after.machine;
    return disturbanceOf(
      {
        own: after.own - before.own,
        run: after.run - before.run,
        machine: busy - before.machine.busy,
        stolen: stolen - before.machine.stolen,
      },
      seconds,
    );
  };
}

/** @param busy CPU seconds of the part, of the whole run with it, and of the machine with both */
export function disturbanceOf(
  busy: { readonly own: number; readonly run: number; readonly machine: number; readonly stolen: number },
  seconds: number,
): Disturbance {
  // The kernel counts in ticks of 10 ms, so a quiet machine may come out a little below zero.
  const atLeastZero = (cores: number) => Math.max(0, cores / seconds);
  return {
    own: atLeastZero(busy.own),
    beside: atLeastZero(busy.run - busy.own),
    others: atLeastZero(busy.machine - busy.run),
    stolen: atLeastZero(busy.stolen),
  };
}

/** In words, for the notes of a table. */
export function describeDisturbance({ own, beside, others, stolen }: Disturbance): string {
  const cores = (value: number | undefined) => (value === undefined ? 'unknown' : value.toFixed(2));
  const isDisturbed = (others ?? 0) + (stolen ?? 0) > DISTURBED;
  return [
    `cores used: ${cores(own)} by this part with its servers and clients`,
    ...(beside >= 0.005 ? [`${cores(beside)} by parts beside it`] : []),
    `${cores(others)} by others`,
    `${cores(stolen)} stolen by the hypervisor${isDisturbed ? ': disturbed, repeat it on a quiet machine' : ''}`,
  ].join(', ');
}

interface Look {
  /** CPU seconds. */
  readonly own: number;
  readonly run: number;
  readonly machine: { readonly busy: number; readonly stolen: number } | undefined;
}

function look(): Look {
  try {
    const machine = readMachineTimes();
    const processes = readProcesses();
    const own = busyOfTree(processes, process.pid);
    const run = Number(process.env[RUN_PID]);
    return { own, run: Number.isInteger(run) ? Math.max(own, busyOfTree(processes, run)) : own, machine };
  } catch {
    const { user, system } = process.cpuUsage();
    return { own: (user + system) / 1e6, run: 0, machine: undefined };
  }
}
