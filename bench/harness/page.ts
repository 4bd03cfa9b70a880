import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { PlainResults, PlainSuite } from './plain-results.ts';
import { formatCell, formatEnvironment } from './report.ts';
import type { Row, Target } from './suite.ts';

const require = createRequire(import.meta.url);

/** One HTML page with all figures and plots, complete in itself: the plot library and the data stand in it. */
export function renderPage(results: PlainResults): string {
  const library = readFileSync(require.resolve('uplot/dist/uPlot.iife.min.js'), 'utf8');
  const libraryStyle = readFileSync(require.resolve('uplot/dist/uPlot.min.css'), 'utf8');
  const code = readFileSync(new URL('./page-plots.js', import.meta.url), 'utf8');
  const charts = results.suites.flatMap((suite) => suite.charts);
  const { environment, elapsedMs, isQuick, isComplete } = results;
  let chart = 0;
  const sections = results.suites.map((suite) => {
    const plots = suite.charts.map(() => `<figure data-chart="${chart++}"></figure>`);
    return renderSuite(suite, plots.join('\n'));
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sluicegate: benchmarks</title>
<style>${libraryStyle}</style>
<style>${STYLE}</style>
</head>
<body>
<h1>Sluicegate: benchmarks</h1>
<p>${escapeHtml(environment.date)}, ${(elapsedMs / 1e3).toFixed(0)} s</p>
<pre>${escapeHtml(formatEnvironment(environment))}</pre>
${isQuick ? '<p class="missed">A quick run: its figures say nothing.</p>' : ''}
${isComplete ? '' : '<p class="missed">Not complete: not every part has run.</p>'}
${renderTargets(results.suites.flatMap((suite) => suite.targets))}
${sections.join('\n')}
<script>${inScript(library)}</script>
<script>const CHARTS = ${inScript(JSON.stringify(charts))};</script>
<script type="module">${inScript(code)}</script>
</body>
</html>
`;
}

function renderSuite(suite: PlainSuite, plots: string): string {
  return `<section id="${escapeHtml(suite.name)}">
<h2>${escapeHtml(suite.name)}: ${escapeHtml(suite.title)}</h2>
${plots}
${suite.parts.map((part) => renderPart(suite, part)).join('\n')}
</section>`;
}

function renderPart(suite: PlainSuite, { name, title, failures, error }: PlainSuite['parts'][number]): string {
  const rows = suite.rows.filter((row) => row.part === name);
  const tables = [...new Set(rows.map((row) => String(row.table)))];
  const rendered = tables.map((table) => {
    const own = rows.filter((row) => row.table === table).map(({ part: _, table: __, ...row }) => row);
    const notes = suite.notes.filter((note) => note.part === name && note.table === table);
    const list = notes.map(({ note }) => `<li>${escapeHtml(note)}</li>`).join('');
    return `<h4>${escapeHtml(table)}</h4>${renderTable(own)}${list === '' ? '' : `<ul>${list}</ul>`}`;
  });
  const failure = error === undefined ? '' : `<pre class="missed">${escapeHtml(error)}</pre>`;
  const failed = failures.map(({ who, error }) => `<li>Failed: ${escapeHtml(who)}: ${escapeHtml(error)}</li>`).join('');
  const list = failed === '' ? '' : `<ul class="missed">${failed}</ul>`;
  return `<h3>${escapeHtml(name)}: ${escapeHtml(title)}</h3>${failure}${list}${rendered.join('\n')}`;
}

function renderTable(rows: readonly Row[]): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const head = columns.map((column) => `<th>${escapeHtml(column)}</th>`).join('');
  const body = rows.map((row) => {
    const cells = columns.map((column) => {
      const cell = row[column];
      return `<td${typeof cell === 'number' ? ' class="number"' : ''}>${escapeHtml(formatCell(cell))}</td>`;
    });
    return `<tr>${cells.join('')}</tr>`;
  });
  return `<div class="wide"><table><thead><tr>${head}</tr></thead><tbody>${body.join('')}</tbody></table></div>`;
}

function renderTargets(targets: readonly Target[]): string {
  const missed = targets.filter(({ met }) => !met).length;
  const rows = targets
    .toSorted((a, b) => Number(a.met) - Number(b.met))
    .map(({ name, goal, measured, unit, met }) => {
      const cells = [met ? 'met' : 'MISSED', name, goal].map((text) => `<td>${escapeHtml(text)}</td>`).join('');
      return `<tr${met ? '' : ' class="missed"'}>${cells}<td class="number">${formatCell(measured)}</td><td>${escapeHtml(unit)}</td></tr>`;
    });
  return `<details${missed > 0 ? ' open' : ''}><summary>Targets: ${targets.length - missed} met, ${missed} missed</summary>
<div class="wide"><table><thead><tr><th></th><th>target</th><th>goal</th><th>measured</th><th>unit</th></tr></thead><tbody>${rows.join('')}</tbody></table></div></details>`;
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** Nothing in it may end the element. */
function inScript(text: string): string {
  return text.replaceAll('</', '<\\/').replaceAll('<!--', '<\\!--');
}

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1c2430; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 3rem; border-bottom: 1px solid #ccd3dc; } h3 { font-size: 1.05rem; }
h4 { margin: 1rem 0 .3rem; font-weight: 600; }
pre { background: #f4f6f9; padding: .6rem .8rem; white-space: pre-wrap; font-size: 12px; }
figure { margin: 1rem 0; } figcaption { font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 12.5px; } th { text-align: left; font-weight: 600; }
th, td { padding: .15rem .7rem .15rem 0; border-bottom: 1px solid #e6eaf0; white-space: nowrap; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.missed { color: #b3261e; }
ul { font-size: 12.5px; color: #55606e; }
summary { cursor: pointer; font-weight: 600; }
`;
