import { monitorEventLoopDelay } from 'node:perf_hooks';
import { answerMessages, Child } from './child.ts';
import { type Opener, type SideLimits, type SideResult, type SideRun, SideRuns } from './side-by-side.ts';

/** Of one run in the process. Shorter than the next ones, so that only it is lost. */
const RUN_LIMITS: SideLimits = { openMs: 30_000, measureMs: 80_000 };
/** Of the whole process. */
const OPEN_LIMIT_MS = 80_000;
const MEASURE_LIMIT_MS = 100_000;

/** To look more often would be work that is in the way of the runs. */
const RESOLUTION_MS = 5;

/** What the runs of one process came to. */
export interface ProcessResult<Result> {
  readonly runs: readonly SideResult<Result>[];
  /** 99th percentile of how late its event loop was meanwhile: whether they were in each other's way. */
  readonly loopDelayMs: number;
}

/** Runs in a process of their own, so that the main thread of nobody else is in their way. */
export async function openSideProcess<Result>(module: URL, task: object): Promise<SideRun<ProcessResult<Result>>> {
  const child = new Child<ProcessResult<Result>>(module);
  try {
    await child.ask(task, OPEN_LIMIT_MS);
  } catch (error) {
    child.kill();
    throw error;
  }
  return {
    measure: () => child.ask('go', MEASURE_LIMIT_MS),
    close: async () => child.kill(),
  };
}

/** In that process: the first message is the task, and the next one lets its runs start. */
export function serveSideRuns<Task, Result>(openersFor: (task: Task) => readonly Opener<Result>[]): void {
  let opened: SideRuns<Result> | undefined;
  answerMessages(async (message) => {
    if (opened === undefined) {
      opened = await SideRuns.open(openersFor(message as Task), RUN_LIMITS);
      return 'ready';
    }
    const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    delay.enable();
    const runs = await opened.measure();
    delay.disable();
    // What is recorded is the time between two looks.
    const loopDelayMs = Math.max(0, delay.percentile(99) / 1e6 - RESOLUTION_MS);
    return { runs, loopDelayMs } satisfies ProcessResult<Result>;
  });
}
