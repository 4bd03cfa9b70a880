import { readdirSync, readFileSync } from 'node:fs';

/** Ticks per second in which the kernel counts, on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** CPU time of the whole machine since it started, in seconds of one core. */
export interface MachineTimes {
  readonly busy: number;
  /** What the hypervisor gave to somebody else while something here could have run. */
  readonly stolen: number;
}

/** One process, as `/proc/<pid>/stat` has it. */
export interface ProcessTimes {
  readonly pid: number;
  readonly parent: number;
  /** Seconds of CPU time, with those of its children that have ended and that it has waited for. */
  readonly busy: number;
}

/** @param text of `/proc/stat` */
export function parseMachineTimes(text: string): MachineTimes {
  const line = /^cpu +(.*)$/m.exec(text)?.[1];
  if (line === undefined) throw new Error('/proc/stat has no line for all cores.');
  // Time of guests is part of `user` and `nice` already.
  const [user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0, steal = 0] = line.split(' ').map(Number);
  return { busy: (user + nice + system + irq + softIrq) / TICKS_PER_SECOND, stolen: steal / TICKS_PER_SECOND };
}

/** @param text of `/proc/<pid>/stat` */
export function parseProcessTimes(text: string): ProcessTimes {
  // The name stands in parentheses and may hold some itself.
  const nameEnd = text.lastIndexOf(')');
  const fields = text
    .slice(nameEnd + 2)
    .split(' ')
    .map(Number);
  const [, parent = Number.NaN] = fields;
  const ticks = [11, 12, 13, 14].reduce((sum, place) => sum + (fields[place] ?? Number.NaN), 0);
  return { pid: Number.parseInt(text, 10), parent, busy: ticks / TICKS_PER_SECOND };
}

/** CPU seconds of a process and all that it has started, directly or not. */
export function busyOfTree(processes: readonly ProcessTimes[], root: number): number {
  const own = processes.find(({ pid }) => pid === root);
  if (own === undefined) return 0;
  const children = processes.filter(({ parent }) => parent === root);
  return children.reduce((sum, { pid }) => sum + busyOfTree(processes, pid), own.busy);
}

/** @throws Error where there is no `/proc` */
export function readMachineTimes(): MachineTimes {
  return parseMachineTimes(readFileSync('/proc/stat', 'utf8'));
}

/** All processes that can be seen. */
export function readProcesses(): ProcessTimes[] {
  const found: ProcessTimes[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      found.push(parseProcessTimes(readFileSync(`/proc/${name}/stat`, 'utf8')));
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}
