import type { Chart } from './suite.ts';

/**
 * Draws the plots. This module stands in the page as it is compiled, behind the plot library and the data: it may import
 * types only.
 */

interface Axis {
  readonly label?: string;
  readonly scale?: string;
  readonly size?: number;
  splits?: (plot: unknown) => number[];
  values?: (plot: unknown, splits: readonly number[]) => (string | null)[];
}

/** As much of uPlot as is used here. */
interface Plot {
  readonly ctx: CanvasContext;
  readonly bbox: { readonly left: number; readonly width: number };
  valToPos(value: number, scale: 'x' | 'y', isCanvas: boolean): number;
}

interface CanvasContext {
  fillStyle: string;
  fillRect(x: number, y: number, width: number, height: number): void;
}

interface PlotLibrary {
  new (options: object, data: readonly (readonly (number | null | undefined)[])[], target: object): Plot;
  readonly paths: { bars(options: { size: [number]; align: -1 | 0 | 1 }): unknown };
}

interface Figure {
  readonly dataset: { readonly chart?: string };
  readonly clientWidth: number;
}

declare const uPlot: PlotLibrary;
declare const CHARTS: readonly Chart[];
declare const document: { querySelectorAll(selector: string): Iterable<Figure> };

const COLORS = ['#1f6feb', '#d1642a', '#2b8a3e', '#8e44ad', '#c2255c', '#5f6b7a', '#0b7285', '#a68a00'];
const HEIGHT = 300;
/** Names under bars are broken into lines of at most so many characters, and fewer where there is less room. */
const NAME_CHARACTERS = 16;
const CHARACTER_WIDTH = 7;
const NAME_LINE_HEIGHT = 18;
/** Bars of one name take this share of its place. */
const FILL = 0.8;
const BAND_COLOR = 'rgba(43, 138, 62, 0.12)';

for (const figure of document.querySelectorAll('figure[data-chart]')) {
  const chart = CHARTS[Number(figure.dataset.chart)];
  if (chart !== undefined) draw(chart, figure);
}

function draw(chart: Chart, figure: Figure): void {
  if (chart.kind === 'bars') drawBars(chart, figure);
  else drawLines(chart, figure);
}

function drawLines(chart: Chart, figure: Figure): void {
  const series = chart.series.map(({ name }, place) => ({
    label: name,
    stroke: COLORS[place % COLORS.length],
    width: 2,
    points: { show: chart.x.length <= 40 },
  }));
  const x = chart.x.map(Number);
  const values = chart.series.map((one) => x.map((_, place) => one.values[place] ?? null));
  new uPlot(
    options(chart, figure, [{ label: chart.xLabel }, { label: chart.yLabel }], [{ label: chart.xLabel }, ...series]),
    [x, ...values],
    figure,
  );
}

/** Each series is a set of bars of its own, a little beside those of the others. */
function drawBars(chart: Chart, figure: Figure): void {
  const width = FILL / chart.series.length;
  const names = chart.x.map(String);
  // Every bar of every series has an x of its own.
  const places = names.flatMap((_, name) =>
    chart.series.map((__, one) => name + width * (one - (chart.series.length - 1) / 2)),
  );
  const columns = chart.series.map(({ values }, one) =>
    places.map((_, place) =>
      place % chart.series.length === one ? (values[Math.floor(place / chart.series.length)] ?? null) : null,
    ),
  );
  const series = chart.series.map(({ name }, place) => ({
    label: name,
    stroke: COLORS[place % COLORS.length],
    fill: `${COLORS[place % COLORS.length]}cc`,
    width: 1,
    paths: uPlot.paths.bars({ size: [chart.series.length > 1 ? 0.9 : FILL], align: 0 }),
    points: { show: false },
  }));
  const room = Math.floor(widthOf(figure) / names.length / CHARACTER_WIDTH);
  const broken = names.map((name) => inLines(name, Math.min(NAME_CHARACTERS, room)));
  const namesHeight = NAME_LINE_HEIGHT * (1 + Math.max(...broken.map((name) => name.split('\n').length)));
  const axis: Axis = {
    label: chart.xLabel,
    splits: () => names.map((_, place) => place),
    values: (_, splits) => splits.map((split) => broken[split] ?? null),
    size: namesHeight,
  };
  const made = options(
    chart,
    figure,
    [axis, { label: chart.yLabel }],
    [{ label: chart.xLabel, value: nameAt(names) }, ...series],
  );
  new uPlot({ ...made, height: HEIGHT + namesHeight }, [places, ...columns], figure);
}

/** Between words, and behind hyphens. */
function inLines(name: string, characters: number): string {
  const lines: string[] = [];
  for (const piece of name.split(/(?<=[ -])/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + piece.trimEnd().length <= characters)
      lines[lines.length - 1] = last + piece;
    else lines.push(piece);
  }
  return lines.map((line) => line.trimEnd()).join('\n');
}

function widthOf(figure: Figure): number {
  return Math.max(figure.clientWidth, 400);
}

function nameAt(names: readonly string[]) {
  return (_: unknown, value: number | null) => (value === null ? '' : (names[Math.round(value)] ?? ''));
}

function options(chart: Chart, figure: Figure, axes: readonly Axis[], series: readonly object[]): object {
  const { band, isLogarithmic = false } = chart;
  const isBars = chart.kind === 'bars';
  const most = (_: unknown, __: number, max: number): [number, number] => [0, Math.max(max, band?.to ?? 0, 1e-9) * 1.1];
  return {
    title: band === undefined ? chart.title : `${chart.title} (band: ${band.label}, ${band.from} to ${band.to})`,
    width: widthOf(figure),
    height: HEIGHT,
    scales: {
      x: { time: false, ...(isBars ? { range: () => [-0.6, chart.x.length - 0.4] } : {}) },
      y: isLogarithmic ? { distr: 3 } : { range: most },
    },
    axes: axes.map((axis, place) => (place === 1 ? { size: 70, ...axis } : axis)),
    series,
    hooks: band === undefined ? {} : { drawClear: [(plot: Plot) => drawBand(plot, band)] },
  };
}

function drawBand(plot: Plot, { from, to }: NonNullable<Chart['band']>): void {
  const top = plot.valToPos(to, 'y', true);
  const bottom = plot.valToPos(from, 'y', true);
  plot.ctx.fillStyle = BAND_COLOR;
  plot.ctx.fillRect(plot.bbox.left, top, plot.bbox.width, bottom - top);
}
