import { presets } from '../../../lib/index.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { type IdealSettings, idealElapsedMs } from '../../harness/ideal.ts';
import {
  inMode,
  type LimitedPlan,
  type LimitedResult,
  mean,
  runSideBySide,
  serviceTimesMs,
} from '../../harness/limited-run.ts';
import { atMost, exactly, type Part, type Row, type Target } from '../../harness/suite.ts';
import { CONSERVATIVE } from './conservative.ts';

const SYMBOLS = 100;
const EXACT_RUNS = 3;
const EXACT_GOAL_S = 4.25;

const KIS_LIKE = { api: 'kis', items: SYMBOLS, server: { limit: 20, serviceTimeMs: [5, 30] } } as const;
const EXACT = { tokens: 20, windowMs: 1000, concurrency: 20 };

/** 100 symbols against the demo's server: 20 requests per second in any window, 5 to 30 ms each. */
export const demo: Part = {
  name: 'demo',
  title: '100 symbols from a server that allows 20/s, 5-30 ms service time',
  isMostlyIdle: true,
  async run(mode) {
    const conservative: LimitedPlan = { ...KIS_LIKE, name: 'conservative, warm', engine: presets.conservative };
    const exactRuns = Array.from({ length: EXACT_RUNS }, (_, run): LimitedPlan => {
      const server = { ...KIS_LIKE.server, seed: run + 1 };
      return { ...KIS_LIKE, name: 'exact, warm', engine: presets.exact(20, 1000), server };
    });
    const cold: LimitedPlan = { ...KIS_LIKE, name: 'exact, cold', engine: presets.exact(20, 1000), isCold: true };

    const disturbance = watchMachine();
    const [first, ...warm] = await runSideBySide(inMode([conservative, ...exactRuns], mode));
    // Alone: its start would be in the way of the others, and theirs in its way.
    const [coldResult] = await runSideBySide(inMode([cold], mode));
    if (first === undefined || coldResult === undefined) throw new Error('A run is missing.');

    return {
      tables: [
        {
          title: 'elapsed, and what the server counted',
          rows: [rowOf(first, CONSERVATIVE), ...warm.map((result) => rowOf(result, EXACT)), rowOf(coldResult, EXACT)],
          notes: [
            'ideal s: the same settings and the service times of the very run, request by request, in virtual time, without any overhead',
            'cold: from createEngine on, with the start of threads, handler and connections',
            describeDisturbance(disturbance()),
          ],
        },
      ],
      targets: [...conservativeTargets(first), ...exactTargets(warm)],
    };
  },
};

function conservativeTargets(result: LimitedResult): Target[] {
  const idealMs = idealElapsedMs(CONSERVATIVE, serviceTimesMs(result.arrivals));
  return [
    exactly('demo conservative: succeeded', result.summary.succeeded, result.plan.items, 'items'),
    exactly('demo conservative: refused', result.server.refused + result.refusedEver, 0, 'requests'),
    atMost('demo conservative: most in any second', result.server.maxInWindow, 12, 'requests'),
    atMost('demo conservative: over the ideal', (result.elapsedMs / idealMs - 1) * 100, 3, '%'),
  ];
}

function exactTargets(results: readonly LimitedResult[]): Target[] {
  const refused = results.reduce((sum, { server, refusedEver }) => sum + server.refused + refusedEver, 0);
  const slowestS = Math.max(...results.map(({ elapsedMs }) => elapsedMs / 1e3));
  return [
    atMost(`demo exact: slowest of ${results.length} warm runs`, slowestS, EXACT_GOAL_S, 's'),
    exactly('demo exact: refused', refused, 0, 'requests'),
  ];
}

function rowOf(result: LimitedResult, settings: IdealSettings): Row {
  const { plan, elapsedMs, server, summary, arrivals } = result;
  const services = serviceTimesMs(arrivals);
  const idealMs = idealElapsedMs(settings, services);
  return {
    run: plan.name,
    succeeded: summary.succeeded,
    refused: server.refused,
    'most in 1 s': server.maxInWindow,
    'mean service ms': mean(services),
    'elapsed s': elapsedMs / 1e3,
    'ideal s': idealMs / 1e3,
    'over ideal %': (elapsedMs / idealMs - 1) * 100,
  };
}
