import type { WriteStream } from 'node:tty';
import type { Progress } from '../batch/progress.ts';
import { isInteractive, type Paint } from './paint.ts';
import { eventLine, seconds } from './text.ts';

/** Where a run shows how far it is. */
export interface ProgressView {
  update(progress: Progress): void;
  /** A line that stays, such as an event. */
  note(line: string): void;
  /** Take away what does not stay. */
  stop(): void;
}

const PLAIN_EVERY_MS = 1000;
/** Earlier, the burst that a full bucket lets through says nothing about the pace. */
const PACE_AFTER_MS = 1500;
const FRAMES_PER_SECOND = 20;
const MAX_BAR = 40;
const MIN_BAR = 8;

/**
 * A view of one run: a bar on a terminal, elsewhere plain lines.
 *
 * @param total items in all
 * @param pauseLeftMs how long the engine still waits before it goes on
 */
export function createProgressView(
  stream: WriteStream,
  paint: Paint,
  total: number,
  pauseLeftMs: () => number,
): Promise<ProgressView> | ProgressView {
  return isInteractive(stream) ? createBar(stream, paint, total, pauseLeftMs) : createLines(stream, paint);
}

/** At most one line per second. */
function createLines(stream: WriteStream, paint: Paint): ProgressView {
  let dueMs = PLAIN_EVERY_MS;
  return {
    update(progress) {
      const { elapsedMs, done, total, isPaused } = progress;
      if (elapsedMs < dueMs || done === total) return;
      dueMs = elapsedMs + PLAIN_EVERY_MS;
      const pace = isPaused ? ['paused'] : paceOf(progress);
      stream.write(
        `${eventLine(paint, elapsedMs, 'faint', 'progress', [`${done} of ${total}`, ...pace].join(', '))}\n`,
      );
    },
    note: (line) => void stream.write(`${line}\n`),
    stop: () => {},
  };
}

async function createBar(
  stream: WriteStream,
  paint: Paint,
  total: number,
  pauseLeftMs: () => number,
): Promise<ProgressView> {
  const { MultiBar } = (await import('cli-progress')).default;
  let progress: Progress | undefined;
  const format = (_options: unknown, { maxWidth }: { readonly maxWidth: number }) =>
    barLine(paint, maxWidth, total, progress, pauseLeftMs());
  const bars = new MultiBar({
    stream,
    format,
    fps: FRAMES_PER_SECOND,
    hideCursor: true,
    clearOnComplete: true,
    // A note clears the line of the bar, which otherwise is drawn again only when it changes.
    forceRedraw: true,
    // Signals are dealt with by the command, which stops this view.
    gracefulExit: false,
  });
  bars.create(total, 0);
  return {
    update(now) {
      progress = now;
    },
    note: (line) => bars.log(`${line}\n`),
    stop() {
      // Notes that came after the last frame are still to be written.
      bars.update();
      bars.stop();
    },
  };
}

/** `━━━━━────  49/100   12.0 per second   4.3 s left`, fitted to the terminal. */
function barLine(
  paint: Paint,
  columns: number,
  total: number,
  progress: Progress | undefined,
  pauseLeftMs: number,
): string {
  const done = progress?.done ?? 0;
  const isPaused = progress?.isPaused === true;
  const count = `${String(done).padStart(String(total).length)}/${total}`;
  const pause = pauseLeftMs > 0 ? `paused, goes on in ${seconds(pauseLeftMs)}` : 'paused';
  const pace = isPaused ? pause : progress === undefined ? '' : paceOf(progress).join('   ');
  const width = Math.max(MIN_BAR, Math.min(MAX_BAR, columns - `    ${count}   ${pace} `.length));
  const filled = Math.floor((width * done) / total);
  const color = isPaused ? paint.waiting : paint.good;
  const bar = `${color('━'.repeat(filled))}${paint.faint('─'.repeat(width - filled))}`;
  return `  ${bar}  ${paint.strong(count)}   ${isPaused ? paint.waiting(pace) : pace}`;
}

function paceOf({ elapsedMs, throughputPerSecond, timeLeftMs }: Progress): string[] {
  if (elapsedMs < PACE_AFTER_MS || timeLeftMs === undefined) return [];
  return [`${throughputPerSecond.toFixed(1)} per second`, `${seconds(timeLeftMs)} left`];
}
