import type { WriteStream } from 'node:tty';
import { Auditor, type AuditVerdict, type WorstWindow } from '../audit/audit.ts';
import { readTrace, TraceError } from '../audit/read-trace.ts';
import type { AuditFlags } from './audit-flags.ts';
import { type Paint, paintFor } from './paint.ts';
import { countOf } from './text.ts';

/** Exit codes of `sluicegate audit`. */
const EXIT = { holds: 0, broken: 1, unreadable: 2 } as const;

const LABEL_WIDTH = 14;
const MAX_RANGES_SHOWN = 12;

/** Where the reports go. */
export interface Output {
  readonly stdout: WriteStream;
  readonly stderr: WriteStream;
}

/** What a trace says, and where it says it. */
interface Audited {
  readonly attempts: number;
  readonly verdict: AuditVerdict;
  /** Numbers of the lines with the requests of the worst window. */
  readonly lines: readonly number[];
  /** How the trace was cut short; undefined if it is whole. */
  readonly cut: string | undefined;
}

/**
 * Audit a trace and report it.
 * @returns the exit code: 0 if no server can have counted too many, 1 if one can, 2 if the trace cannot be read
 */
export async function runAudit(path: string, flags: AuditFlags, { stdout, stderr }: Output): Promise<number> {
  let audited: Audited;
  try {
    audited = await auditFile(path, flags);
  } catch (error) {
    if (!(error instanceof TraceError)) throw error;
    const hint = flags.tolerant || !error.isCut ? '' : ' With --tolerant what is there is audited.';
    stderr.write(`sluicegate audit: ${error.message}${hint}\n`);
    return EXIT.unreadable;
  }
  if (audited.cut !== undefined) stderr.write(`sluicegate audit: ${path} was cut short: ${audited.cut}.\n`);
  stdout.write(
    flags.json ? `${JSON.stringify(reportObject(audited, flags))}\n` : text(paintFor(stdout), path, audited, flags),
  );
  return audited.verdict.holds ? EXIT.holds : EXIT.broken;
}

async function auditFile(path: string, flags: AuditFlags): Promise<Audited> {
  const auditor = new Auditor({
    limit: flags.limit,
    windowMs: flags.window,
    arrivalWithinMs: flags.arrivalWithin,
    straggleMs: flags.straggle,
  });
  let cut: string | undefined;
  const onCut = (how: string) => {
    cut ??= how;
  };
  let attempts = 0;
  const lineOf: number[] = [];
  for await (const { number, entry } of readTrace(path, flags.tolerant ? { onCut } : {})) {
    if (entry.kind !== 'attempt') continue;
    if (entry.isFirst) attempts++;
    if (entry.times === undefined) continue;
    auditor.add(entry.times);
    lineOf.push(number);
  }
  const verdict = auditor.verdict();
  return { attempts, verdict, lines: verdict.worst?.places.map((place) => lineOf[place] ?? 0) ?? [], cut };
}

function reportObject({ attempts, verdict, lines, cut }: Audited, flags: AuditFlags): object {
  const { holds, sent, answered, abandoned, firstNs = 0n, worst } = verdict;
  return {
    holds,
    limit: flags.limit,
    windowMs: flags.window,
    arrivalWithinMs: flags.arrivalWithin ?? null,
    straggleMs: flags.straggle ?? flags.window,
    attempts,
    sent,
    answered,
    abandoned,
    worst:
      worst === undefined
        ? null
        : { startNs: String(worst.startNs), startMs: msBetween(firstNs, worst.startNs), count: worst.count, lines },
    cutShort: cut ?? null,
  };
}

function text(paint: Paint, path: string, { attempts, verdict, lines }: Audited, flags: AuditFlags): string {
  const { holds, sent, answered, abandoned, firstNs = 0n, worst } = verdict;
  const conclusion = holds
    ? paint.good('The limit holds: no server can have counted more.')
    : paint.bad('The limit does not hold: a server can have counted more.');
  return [
    paint.strong(path),
    label('attempts', String(attempts)),
    label('sent', `${countOf(sent, 'request')}: ${answered} answered, ${abandoned} without an answer`),
    label('limit', `${countOf(flags.limit, 'request')} in any window of ${flags.window} ms`),
    ...assumptions(flags).map((line, place) => label(place === 0 ? 'assumed' : '', line)),
    label('worst window', worst === undefined ? 'none, as nothing was sent' : worstText(worst, firstNs)),
    ...(worst === undefined ? [] : [label('', `lines ${rangesText(lines)}`)]),
    '',
    conclusion,
    '',
  ].join('\n');
}

function assumptions({ arrivalWithin, straggle, window }: AuditFlags): string[] {
  const given = [
    'a request is counted before its answer,',
    `or, without an answer, at most ${straggle ?? window} ms after it was given up on`,
  ];
  return arrivalWithin === undefined
    ? given
    : [...given, `and at most ${arrivalWithin} ms after it was sent, where the trace knows when`];
}

function worstText({ startNs, windowNs, count }: WorstWindow, firstNs: bigint): string {
  const startMs = msBetween(firstNs, startNs);
  const times = [startMs, startMs + msBetween(0n, windowNs)].map((ms) => `${ms.toFixed(3)} ms`);
  return `up to ${countOf(count, 'request')}, counted from ${times.join(' to ')} after the first was sent`;
}

/** `3-9, 12, 15`. */
function rangesText(lines: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const line of lines) {
    const last = ranges.at(-1);
    if (last !== undefined && line === last[1] + 1) last[1] = line;
    else ranges.push([line, line]);
  }
  const more = ranges.length - MAX_RANGES_SHOWN;
  const shown = ranges.slice(0, MAX_RANGES_SHOWN).map(([from, to]) => (from === to ? String(from) : `${from}-${to}`));
  return `${shown.join(', ')}${more > 0 ? ' and more' : ''}`;
}

function msBetween(fromNs: bigint, toNs: bigint): number {
  return Number(toNs - fromNs) / 1e6;
}

function label(name: string, value: string): string {
  return `  ${name.padEnd(LABEL_WIDTH)}${value}`;
}
