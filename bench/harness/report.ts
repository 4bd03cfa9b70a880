import type { Environment } from './environment.ts';
import type { Cell, Row, Table, Target } from './suite.ts';

/** Where it ran, on two lines. */
export function formatEnvironment(environment: Environment): string {
  const { cpu, cores, memoryGiB, system, node, v8, packages, commit, loadAverage } = environment;
  const versions = Object.entries(packages).map(([name, version]) => `${name} ${version}`);
  return [
    `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}, load ${loadAverage}`,
    [`node ${node}`, `v8 ${v8}`, ...versions, `commit ${commit ?? 'unknown'}`].join(', '),
  ].join('\n');
}

/** A table with a title, aligned columns and its notes. */
export function formatTable({ title, rows, notes = [] }: Table): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = rows.map((row) => columns.map((column) => formatCell(row[column])));
  const isNumeric = columns.map((column) => rows.some((row) => typeof row[column] === 'number'));
  const lines = align([columns, ...cells], isNumeric);
  return [title, ...lines.map((line) => `  ${line}`), ...notes.map((note) => `  * ${note}`)].join('\n');
}

/** All targets, the missed ones first. */
export function formatTargets(targets: readonly Target[]): string {
  const rows = targets
    .toSorted((a, b) => Number(a.met) - Number(b.met))
    .map(
      ({ name, goal, measured, unit, met }): Row => ({
        '': met ? 'met' : 'MISSED',
        target: name,
        goal,
        measured,
        unit,
      }),
    );
  const missed = targets.filter(({ met }) => !met).length;
  return formatTable({ title: `Targets: ${targets.length - missed} met, ${missed} missed`, rows });
}

/** A figure with as many digits as say something. */
export function formatCell(cell: Cell): string {
  if (cell === undefined) return '';
  if (typeof cell !== 'number') return String(cell);
  if (Number.isNaN(cell)) return 'not measured';
  if (Number.isInteger(cell)) return cell.toLocaleString('en-US');
  const size = Math.abs(cell);
  const digits = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3;
  return cell.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function align(lines: readonly (readonly string[])[], isRight: readonly boolean[]): string[] {
  const widths = isRight.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines.map((line) =>
    line
      .map((text, column) => (isRight[column] ? text.padStart(widths[column] ?? 0) : text.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}
