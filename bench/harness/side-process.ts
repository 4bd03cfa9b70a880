import { monitorEventLoopDelay } from 'node:perf_hooks';
import { answerMessages, Child } from './child.ts';
import { type Opener, type SideLimits, type SideResult, type SideRun, SideRuns } from './side-by-side.ts';

/** Of one run in the process. Shorter than the next ones, so that only it is lost. */
const RUN_LIMITS: SideLimits = { openMs: 30_000, measureMs: 80_000 };
/** Of the whole process. */
const OPEN_LIMIT_MS = 80_000;
const MEASURE_LIMIT_MS = 100_000;

/** What the runs of one process came to. */
export interface ProcessResult<Result> {
  readonly runs: readonly SideResult<Result>[];
  /** 99th percentile of the delay of its event loop meanwhile: whether they were in each other's way. */
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
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const runs = await opened.measure();
    delay.disable();
    return { runs, loopDelayMs: delay.percentile(99) / 1e6 } satisfies ProcessResult<Result>;
  });
}
