import { formatSummary } from '../batch/summary.ts';
import type { BatchResult } from '../engine.ts';
import type { EngineStats } from '../engine-stats.ts';
import type { Preset } from '../presets.ts';
import type { SimulatorStats } from '../simulator/index.ts';
import type { HttpValue } from '../types.ts';
import type { PresetName } from './flags.ts';
import type { Paint } from './paint.ts';

const MAX_FAILURES_SHOWN = 5;
const SAMPLES = 3;
const LABEL_WIDTH = 18;

/** `4.1 s`. */
export function seconds(ms: number, digits = 1): string {
  return `${(ms / 1e3).toFixed(digits)} s`;
}

/** `1 price`, `2 prices`. */
export function countOf(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/** `request 50`, `requests 50 and 51`, `requests 50, 51 and 52`. */
export function requestsText(numbers: readonly number[]): string {
  const last = numbers.at(-1);
  if (numbers.length < 2) return `request ${last}`;
  return `requests ${numbers.slice(0, -1).join(', ')} and ${last}`;
}

/** One line of what happens in a run: when, what, and more about it. */
export function eventLine(paint: Paint, atMs: number, color: keyof Paint, what: string, about: string): string {
  return `  ${paint.faint(seconds(atMs, 2).padStart(8))}  ${paint[color](what.padEnd(9))} ${about}`;
}

/** What the introduction tells. */
export interface Introduction {
  readonly items: number;
  /** The server in words. */
  readonly server: string;
  readonly presetName: PresetName;
  readonly preset: Preset;
  readonly stats: EngineStats;
  readonly startupMs: number;
}

/** Who plays which part, before the first run. */
export function introText(paint: Paint, { items, server, presetName, preset, stats, startupMs }: Introduction): string {
  const { spacing, limit } = preset.rate;
  const apart = typeof spacing === 'number' ? `, ${spacing} ms apart` : '';
  return [
    paint.strong(`Sluicegate: ${countOf(items, 'price')} from a simulated KIS API`),
    '',
    label('server', server),
    label('preset', `${presetName}: ${stats.tokens[0]?.total ?? limit} requests in any second${apart}`),
    label('threads', `${stats.threads}, at most ${stats.concurrency} requests in flight`),
    label('start-up', `${startupMs.toFixed(0)} ms until all threads were ready, not counted below`),
    label('access token', 'fetched once, shared by all threads'),
  ].join('\n');
}

/** The line that closes the events of a run. */
export function verdictLine(paint: Paint, { summary, aborted }: BatchResult): string {
  const { succeeded, failed, total, elapsedMs, throughputPerSecond } = summary;
  const about = `${succeeded} of ${countOf(total, 'price')}`;
  if (aborted) return eventLine(paint, elapsedMs, 'waiting', 'aborted', about);
  if (failed > 0) return eventLine(paint, elapsedMs, 'bad', 'failed', about);
  return eventLine(paint, elapsedMs, 'good', 'done', `${about}, ${throughputPerSecond.toFixed(1)} per second`);
}

/**
 * The report of a run: some prices, the summary, what the server saw, failures.
 *
 * @param symbols the symbol of each item
 * @param limit what the server allows in any second
 */
export function reportText(
  paint: Paint,
  { summary, outcomes }: BatchResult<HttpValue>,
  server: SimulatorStats,
  symbols: readonly string[],
  limit: number,
): string {
  const prices = outcomes.flatMap((outcome) => {
    const price = outcome.ok ? priceOf(outcome.value) : undefined;
    return price === undefined ? [] : [`${symbols[outcome.index]} ${price.toLocaleString('en-US')} won`];
  });
  const lines = [
    `  ${paint.strong('Summary')}`,
    formatSummary(summary).replaceAll(/^/gm, '  '),
    ...(prices.length > 0 ? [label('prices', prices.slice(0, SAMPLES).join(', '))] : []),
    '',
    `  ${paint.strong('What the server saw')}`,
    label('requests', String(server.total)),
    label('refused', `${server.refused} for its limit, ${server.injected} on demand`),
    label('most in any 1 s', `${server.maxInWindow} (it allows ${limit})`),
  ];
  // That the rest of an aborted run is missing is no news.
  const failures = outcomes.flatMap((outcome) => (outcome.ok || outcome.error.code === 'ABORTED' ? [] : [outcome]));
  if (failures.length > 0) lines.push('', `  ${paint.strong('Failed')}`);
  for (const { index, error } of failures.slice(0, MAX_FAILURES_SHOWN)) {
    lines.push(label(symbols[index] ?? String(index), `${error.code}: ${error.message}`));
  }
  const more = failures.length - MAX_FAILURES_SHOWN;
  if (more > 0) lines.push(label('', `and ${more} more`));
  return lines.join('\n');
}

function label(name: string, text: string): string {
  return `  ${name.padEnd(LABEL_WIDTH)}${text}`;
}

function priceOf(value: HttpValue): number | undefined {
  const body = value.body as { readonly output?: { readonly stck_prpr?: unknown } } | null;
  const price = Number(body?.output?.stck_prpr);
  return Number.isFinite(price) ? price : undefined;
}
