import type { TraceLine, TraceVerdict } from '../audit/trace-line.ts';
import { END, NOT_IDEMPOTENT, type Reply, type TracedRequest } from '../protocol.ts';
import { WORK } from '../shared/layout.ts';
import type { Chunk } from './chunk.ts';

const VERDICTS: Readonly<Record<number, TraceVerdict>> = {
  [END.ok]: 'ok',
  [END.fatal]: 'fatal',
  [END.retry]: 'retry',
  [END.refused]: 'refused',
  [END.cancelled]: 'cancelled',
  [END.aborted]: 'aborted',
  [END.notStarted]: 'not-started',
  // Runs again with new credentials.
  [END.stale]: 'retry',
};

/** What a trace says of the items of a reply: a line for each attempt, and one for each further request. */
export function* repliedLines(chunk: Chunk, reply: Reply): Generator<TraceLine> {
  for (let i = 0; i < reply.values.length; i++) {
    const verdict = VERDICTS[(reply.ends?.[i] ?? END.ok) & ~NOT_IDEMPOTENT] ?? 'fatal';
    const who = whoOf(chunk, reply.from + i);
    const requests = reply.requests?.[i] ?? [];
    // An attempt has its line also if nothing was sent.
    if (requests[0]?.request !== 0) yield { ...who, verdict };
    for (const traced of requests) {
      yield { ...who, ...(traced.request === 0 ? {} : { request: traced.request }), ...timesOf(traced), verdict };
    }
  }
}

/** What a trace says of the items that were lost with their thread, but for the time of their end. */
export function* lostLines(chunk: Chunk): Generator<TraceLine> {
  const { slot } = chunk;
  const { started, work, startNs } = slot;
  for (let position = chunk.settled; position < started; position++) {
    const who = whoOf(chunk, position);
    // While tracing every end is reported at once, so the one that is not is that of the item in work.
    const isCalled = position < started - 1 || (work & WORK.called) !== 0;
    const isSent = position === started - 1 && isCalled && (work & WORK.sent) !== 0;
    const ns = String(startNs < 0n ? -startNs : startNs);
    const times = !isSent || startNs === 0n ? {} : startNs < 0n ? { sentNs: ns } : { startedNs: ns };
    yield { ...who, ...times, verdict: isCalled ? 'lost' : 'not-started' };
  }
}

function whoOf({ batch, work, thread }: Chunk, position: number) {
  const entry = work.entries?.[position];
  return {
    batch: batch.id,
    item: entry?.index ?? work.first + position,
    attempt: (entry?.attempts ?? 0) + 1,
    thread: thread.threadId,
  };
}

function timesOf({ fromNs, isSent, endNs, isAnswered }: TracedRequest) {
  const [from, end] = [String(fromNs), String(endNs)];
  return {
    ...(isSent ? { sentNs: from } : { startedNs: from }),
    ...(isAnswered ? { answeredNs: end } : { abandonedNs: end }),
  };
}
