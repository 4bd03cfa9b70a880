import type { TraceRecord, TraceVerdict } from '../audit/trace-line.ts';
import type { Tracer } from '../audit/tracer.ts';
import { END, NOT_IDEMPOTENT, type Reply } from '../protocol.ts';
import { WORK } from '../shared/layout.ts';
import type { TracedRequest } from '../shared/trace-cells.ts';
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

/** Write what a trace says of the items of a reply: a line for each attempt, and one for each further request. */
export function traceReply(chunk: Chunk, reply: Reply, tracer: Tracer): void {
  const { cells = [] } = reply;
  const reader = chunk.thread.trace;
  let next = 0;
  const nextRequest = (): TracedRequest | undefined => {
    const cell = cells[next];
    return cell === undefined ? undefined : reader?.read(cell);
  };
  let traced = nextRequest();
  for (let i = 0; i < reply.values.length; i++) {
    const position = reply.from + i;
    const verdict = VERDICTS[(reply.ends?.[i] ?? END.ok) & ~NOT_IDEMPOTENT] ?? 'fatal';
    // An attempt has its line also if nothing was sent.
    if (traced?.position !== position || traced.request !== 0)
      tracer.add(recordOf(chunk, position, verdict, undefined));
    while (traced?.position === position) {
      tracer.add(recordOf(chunk, position, verdict, traced));
      reader?.free(cells[next++] ?? 0);
      traced = nextRequest();
    }
  }
}

/**
 * What a trace says of the items that were lost with their thread. Requests that were under way have no end; that is
 * when the thread is gone.
 */
export function lostRecords(chunk: Chunk): TraceRecord[] {
  const { started, work } = chunk.slot;
  const requests = chunk.thread.trace?.requestsOf(chunk.slotNumber) ?? [];
  const records = requests.map((traced) => recordOf(chunk, traced.position, 'lost', traced));
  const traced = new Set(requests.filter(({ request }) => request === 0).map(({ position }) => position));
  for (let position = chunk.settled; position < started; position++) {
    if (traced.has(position)) continue;
    // Those before the one in work had come to an end that was not reported yet.
    const isCalled = position < started - 1 || (work & (WORK.called | WORK.ended)) !== 0;
    records.push(recordOf(chunk, position, isCalled ? 'lost' : 'not-started', undefined));
  }
  return records;
}

function recordOf(
  { batch, work, thread }: Chunk,
  position: number,
  verdict: TraceVerdict,
  traced: TracedRequest | undefined,
): TraceRecord {
  const entry = work.entries?.[position];
  return {
    batch: batch.id,
    item: entry?.index ?? work.first + position,
    attempt: (entry?.attempts ?? 0) + 1,
    thread: thread.threadId,
    verdict,
    traced,
  };
}
