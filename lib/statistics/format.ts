import { stringify } from 'csv-stringify/sync';
import { ERROR_CODES } from '../errors.ts';
import type { Latency } from '../shared/latency.ts';
import type { Statistics } from './statistics.ts';

const LATENCY = ['min', 'mean', 'p50', 'p90', 'p99', 'max'] as const satisfies readonly (keyof Latency)[];
const SEVERITIES = ['low', 'medium', 'high', 'critical'] as const;

type Cell = string | number;

/**
 * The columns of CSV, in their order. A cell is a number, a time, or a JSON object: none can begin with what a
 * spreadsheet takes for a formula, whatever the names in it are.
 */
const COLUMNS: readonly (readonly [name: string, cell: (statistics: Statistics) => Cell])[] = [
  ['startedAt', (s) => s.startedAt],
  ['savedAt', (s) => s.savedAt],
  ['elapsedMs', (s) => s.elapsedMs],
  ['callsSent', (s) => s.callsSent],
  ['succeeded', (s) => s.succeeded],
  ['failed', (s) => s.failed],
  ['errorRate', (s) => s.errorRate],
  ['refused', (s) => s.refused],
  ['cancelled', (s) => s.cancelled],
  ['retried', (s) => s.retried],
  ['maxCallsPerSecond', (s) => s.maxCallsPerSecond],
  ...LATENCY.map((figure) => [`waitMs.${figure}`, (s: Statistics) => s.waitMs[figure]] as const),
  ...LATENCY.map((figure) => [`durationMs.${figure}`, (s: Statistics) => s.durationMs[figure]] as const),
  ['rateLimitEvents', (s) => s.rateLimitEvents.count],
  ['circuitTransitions', (s) => s.circuit.count],
  ['batches', (s) => s.batches.count],
  ...SEVERITIES.map(
    (severity) => [`errors.${severity}`, (s: Statistics) => s.errors.bySeverity[severity] ?? 0] as const,
  ),
  ...ERROR_CODES.map((code) => [`errors.${code}`, (s: Statistics) => s.errors.byCode[code] ?? 0] as const),
  ['errors.byType', (s) => JSON.stringify(s.errors.byType)],
];

/** The names of the columns of CSV. */
const CSV_COLUMNS: readonly string[] = COLUMNS.map(([name]) => name);

/** Statistics as text. Of `csv` the header is only for a file that has none yet. */
export const FORMATS = {
  json: { grows: false, textOf: (statistics: Statistics) => `${JSON.stringify(statistics, null, 2)}\n` },
  jsonl: { grows: true, textOf: (statistics: Statistics) => `${JSON.stringify(statistics)}\n` },
  csv: {
    grows: true,
    textOf: (statistics: Statistics, isFirst: boolean) =>
      stringify([COLUMNS.map(([, cell]) => cell(statistics))], { header: isFirst, columns: [...CSV_COLUMNS] }),
  },
} as const;
