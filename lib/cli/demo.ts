import type { WriteStream } from 'node:tty';
import { type DemoRun, DemoSession, SERVER_LIMIT, SERVER_TEXT } from './demo-session.ts';
import type { DemoFlags } from './flags.ts';
import { Narrator } from './narrator.ts';
import { paintFor } from './paint.ts';
import { createProgressView } from './progress-view.ts';
import { countOf, introText, reportText, requestsText, seconds, verdictLine } from './text.ts';

/**
 * Run the demo: with `json` or `rejectAt` one run, otherwise one in which nothing goes wrong and one with a refusal.
 *
 * @param signal ends the run that is under way; its report is given all the same
 * @returns true if every item of every run succeeded
 */
export async function runDemo(flags: DemoFlags, stdout: WriteStream, signal: AbortSignal): Promise<boolean> {
  const session = await DemoSession.open(flags);
  try {
    return await (flags.json
      ? runForPrograms(session, flags, stdout, signal)
      : runForPeople(session, flags, stdout, signal));
  } finally {
    await session.close();
  }
}

async function runForPrograms(
  session: DemoSession,
  flags: DemoFlags,
  stdout: WriteStream,
  signal: AbortSignal,
): Promise<boolean> {
  const run = await session.run(flags.rejectAt ?? [], { signal });
  stdout.write(`${JSON.stringify(reportObject(run, session, flags))}\n`);
  return isComplete(run);
}

function reportObject({ result, server }: DemoRun, session: DemoSession, flags: DemoFlags): object {
  const { summary } = result;
  return {
    items: summary.total,
    succeeded: summary.succeeded,
    failed: summary.failed,
    errorRate: summary.errorRate,
    errors: summary.errors,
    elapsedMs: rounded(summary.elapsedMs),
    throughputPerSecond: rounded(summary.throughputPerSecond),
    rateLimitEvents: summary.rateLimitEvents,
    rounds: summary.rounds,
    cancelled: summary.cancelled,
    requestsSent: summary.requestsSent,
    server: {
      total: server.total,
      refused: server.refused,
      injected: server.injected,
      maxInWindow: server.maxInWindow,
    },
    preset: flags.preset,
    scope: flags.scope,
    startupMs: rounded(session.startupMs),
    aborted: result.aborted,
  };
}

async function runForPeople(
  session: DemoSession,
  flags: DemoFlags,
  stdout: WriteStream,
  signal: AbortSignal,
): Promise<boolean> {
  const paint = paintFor(stdout);
  const say = (text: string) => void stdout.write(`${text}\n`);
  const { items, rejectAt } = flags;
  say(
    introText(paint, {
      items,
      server: SERVER_TEXT,
      presetName: flags.preset,
      preset: session.preset,
      stats: session.engine.stats(),
      startupMs: session.startupMs,
    }),
  );
  const show = async (title: string, refused: readonly number[]): Promise<DemoRun> => {
    say(`\n${paint.strong(title)}\n`);
    const view = await createProgressView(stdout, paint, items, () => session.engine.stats().pauseLeftMs);
    const narrator = new Narrator(session.engine, view, paint);
    const run = await session
      .run(refused, { signal, onProgress: (progress) => narrator.update(progress) })
      .finally(() => narrator.stop());
    say(verdictLine(paint, run.result));
    say('');
    say(reportText(paint, run.result, run.server, session.symbols, SERVER_LIMIT));
    return run;
  };

  if (rejectAt !== undefined) {
    const run = await show(`The server refuses ${requestsText(rejectAt)}`, rejectAt);
    const missed = rejectAt.filter((number) => number > run.server.total);
    if (missed.length > 0 && !signal.aborted) {
      say(`\nThere were only ${countOf(run.server.total, 'request')}: ${requestsText(missed)} never came.`);
    }
    return isComplete(run);
  }

  const plain = await show('1/2  Nothing goes wrong', []);
  await session.rest(signal);
  if (signal.aborted) return false;
  const middle = [Math.ceil(items / 2)];
  const refused = await show(`2/2  The same again, but the server refuses ${requestsText(middle)}`, middle);
  if (!isComplete(plain) || !isComplete(refused)) return false;
  const moreMs = refused.result.summary.elapsedMs - plain.result.summary.elapsedMs;
  const moreRequests = refused.server.total - plain.server.total;
  say(`\nThe refusal cost ${seconds(moreMs)} and ${countOf(moreRequests, 'more request')}; no price is missing.`);
  return true;
}

function isComplete({ result }: DemoRun): boolean {
  return result.summary.failed === 0;
}

function rounded(value: number): number {
  return Math.round(value * 1e3) / 1e3;
}
