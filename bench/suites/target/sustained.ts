import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import {
  arrivalsPerSecond,
  type LimitedResult,
  mean,
  runSideBySide,
  serviceTimesMs,
  sustainedPerSecond,
} from '../../harness/limited-run.ts';
import { percentile } from '../../harness/spread.ts';
import { atLeast, atMost, type Chart, exactly, type Part, type Row, type Target } from '../../harness/suite.ts';
import { percentOverIdeal, planFor, possiblePerSecond, SETTINGS, type Setting } from './settings.ts';

const SECONDS = 30;
const QUICK_SECONDS = 5;
const SAMPLE_EVERY_MS = 50;
const SHARE_GOAL_PERCENT = 98;
const IDEAL_GOAL_PERCENT = 2;

interface Case {
  readonly setting: Setting;
  readonly result: LimitedResult;
  /** As the server counted them. */
  readonly perSecond: readonly number[];
}

/** Each second of a long run, as the server counts it. */
export const sustained: Part = {
  name: 'sustained',
  title: `${SECONDS} s at the conservative preset, 18/s and 20/s`,
  isMostlyIdle: true,
  aboutS: 35,
  async run({ isQuick }) {
    const seconds = isQuick ? QUICK_SECONDS : SECONDS;
    const watch = watchMachine();
    const results = await runSideBySide(
      // A burst first, then the rate; one more second, so that the last full one is whole.
      SETTINGS.map((setting) => ({
        ...planFor(setting, Math.ceil(setting.ideal.tokens * (seconds + 1))),
        sampleEveryMs: SAMPLE_EVERY_MS,
      })),
    );
    const note = describeDisturbance(watch());
    const cases = SETTINGS.flatMap((setting, place): Case[] => {
      const result = results[place];
      return result === undefined ? [] : [{ setting, result, perSecond: arrivalsPerSecond(result.arrivals) }];
    });
    return {
      tables: [
        {
          title: '5-30 ms service time; requests counted by the server in each full second',
          rows: cases.map(rowOf),
          notes: [
            'most in any 1 s: in the window of one second, wherever it begins, that has most of them',
            'sustained: without the first burst; possible: N / (W + min(RTT, arrivalWithin)), with the response times of the client',
            'over ideal: against the same settings and service times in virtual time, without overhead',
            note,
          ],
        },
      ],
      targets: cases.flatMap(targetsOf),
      charts: [throughputChart(cases), latencyChart(cases), latencyOverTimeChart(cases), tokensChart(cases)],
    };
  },
};

function rowOf({ setting, result, perSecond }: Case): Row {
  const rate = sustainedPerSecond(result.arrivals, setting.ideal.tokens);
  const possible = possiblePerSecond(setting, result);
  return {
    run: setting.name,
    requests: result.server.total,
    refused: result.server.refused,
    seconds: perSecond.length,
    'least in 1 s': Math.min(...perSecond),
    'most in 1 s': Math.max(...perSecond),
    'most in any 1 s': result.server.maxInWindow,
    'mean response ms': mean(result.responsesMs),
    'sustained 1/s': rate,
    'possible 1/s': possible,
    'share %': (rate / possible) * 100,
    'elapsed s': result.elapsedMs / 1e3,
    'over ideal %': percentOverIdeal(setting, result),
  };
}

function targetsOf({ setting, result, perSecond }: Case): Target[] {
  const { name, band, serverLimit } = setting;
  const share = (sustainedPerSecond(result.arrivals, setting.ideal.tokens) / possiblePerSecond(setting, result)) * 100;
  const targets = [
    exactly(`target, ${name}: refused`, result.server.refused + result.refusedEver, 0, 'requests'),
    atMost(`target, ${name}: most in any second`, result.server.maxInWindow, band?.to ?? serverLimit, 'requests'),
    atLeast(`target, ${name}: share of the possible rate`, share, SHARE_GOAL_PERCENT, '%'),
    atMost(`target, ${name}: over the ideal`, percentOverIdeal(setting, result), IDEAL_GOAL_PERCENT, '%'),
  ];
  if (band === undefined) return targets;
  const outside = perSecond.filter((count) => count < band.from || count > band.to).length;
  const about = `target, ${name}: seconds outside ${band.from}-${band.to} of ${perSecond.length}`;
  return [exactly(about, outside, 0, 'seconds'), ...targets];
}

function throughputChart(cases: readonly Case[]): Chart {
  const band = SETTINGS.find((setting) => setting.band !== undefined)?.band;
  const seconds = Math.max(...cases.map(({ perSecond }) => perSecond.length));
  return {
    title: 'Throughput: requests that the server counted in each second',
    kind: 'lines',
    xLabel: 'second',
    yLabel: 'requests',
    x: Array.from({ length: seconds }, (_, second) => second + 1),
    series: cases.map(({ setting, perSecond }) => ({
      name: setting.name,
      values: Array.from({ length: seconds }, (_, second) => perSecond[second]),
    })),
    ...(band === undefined ? {} : { band: { ...band, label: 'conservative' } }),
  };
}

const PERCENTILES = [1, 10, 25, 50, 75, 90, 95, 99, 100];

/** What the client waits for an answer, beside what the server takes for it: the network, and us. */
function latencyChart(cases: readonly Case[]): Chart {
  const line = (name: string, ms: readonly number[]) => ({
    name,
    values: PERCENTILES.map((percent) => percentile(ms, percent)),
  });
  return {
    title: 'Request latency by percentile',
    kind: 'lines',
    isLogarithmic: true,
    xLabel: 'percentile',
    yLabel: 'ms',
    x: PERCENTILES,
    series: cases.flatMap(({ setting, result }) => [
      line(`${setting.name}: client`, result.responsesMs),
      line(`${setting.name}: server`, serviceTimesMs(result.arrivals)),
    ]),
  };
}

/** Whether it grows while a run goes on. The slowest of each second: a mean would hide it. */
function latencyOverTimeChart(cases: readonly Case[]): Chart {
  const slowest = cases.map(({ setting, result }) =>
    // Requests are begun at a steady rate, so the n-th answer belongs to about this second.
    inChunks(result.responsesMs, setting.ideal.tokens).map((ms) => Math.max(...ms)),
  );
  const seconds = Math.max(...slowest.map(({ length }) => length));
  return {
    title: 'Request latency in the course of the run: the slowest of each second',
    kind: 'lines',
    xLabel: 'second',
    yLabel: 'ms',
    x: Array.from({ length: seconds }, (_, second) => second + 1),
    series: cases.map(({ setting }, place) => ({
      name: setting.name,
      values: Array.from({ length: seconds }, (_, second) => slowest[place]?.[second]),
    })),
  };
}

function inChunks(values: readonly number[], size: number): number[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, chunk) =>
    values.slice(chunk * size, (chunk + 1) * size),
  );
}

/** The runs were looked at at slightly different times: each value stands at the nearest look of the first one. */
function tokensChart(cases: readonly Case[]): Chart {
  const shownMs = 5_000;
  const length = Math.ceil(shownMs / SAMPLE_EVERY_MS);
  return {
    title: 'Tokens free, the first five seconds',
    kind: 'lines',
    xLabel: 's',
    yLabel: 'tokens',
    x: Array.from({ length }, (_, place) => ((place + 1) * SAMPLE_EVERY_MS) / 1e3),
    series: cases.map(({ setting, result }) => ({
      name: setting.name,
      values: Array.from({ length }, (_, place) => {
        const atMs = (place + 1) * SAMPLE_EVERY_MS;
        return result.samples.findLast((sample) => sample.atMs <= atMs + SAMPLE_EVERY_MS / 2)?.free;
      }),
    })),
  };
}
