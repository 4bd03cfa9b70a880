import { type EngineOptions, presets } from '../../../lib/index.ts';
import type { Fault } from '../../../lib/simulator/index.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { inMode, type LimitedPlan, type LimitedResult, runSideBySide } from '../../harness/limited-run.ts';
import { inFlightAtRefusals } from '../../harness/refusals.ts';
import { atMost, exactly, type Part, type Row } from '../../harness/suite.ts';
import { conservativeLeastMs } from './conservative.ts';

const ITEMS = 100;
const RANDOM_ITEMS = 1000;

const conservativePlan = (name: string, at: number[], engine: EngineOptions = {}): LimitedPlan => ({
  name,
  items: ITEMS,
  api: 'kis',
  engine: { ...presets.conservative, ...engine },
  server: { limit: 20, serviceTimeMs: [5, 30], faults: [{ kind: 'refuse', at }] },
});

const RANDOM_REFUSALS: Fault = { kind: 'refuse', probability: 0.03 };

/** 100/s, so that the batch is over soon; few in flight and evenly spaced, as for anybody who is refused without reason. */
const RANDOM: LimitedPlan = {
  name: '3% refused at random',
  items: RANDOM_ITEMS,
  api: 'kis',
  engine: { rate: { limit: 100, windowMs: 1000, spacing: 'even', arrivalWithinMs: 50 }, concurrency: 4, threads: 2 },
  server: { limit: 100, serviceTimeMs: [5, 30], faults: [RANDOM_REFUSALS] },
};

/** The server says "too fast" although it was not. */
export const refused: Part = {
  name: 'refused',
  title: 'the server refuses requests, side by side',
  isMostlyIdle: true,
  aboutS: 45,
  async run(mode) {
    const disturbance = watchMachine();
    const results = await runSideBySide([
      conservativePlan('request 50, unfinished', [50]),
      conservativePlan('request 50, batch', [50], { retry: { scope: 'batch' } }),
      conservativePlan('requests 50, 51, 52', [50, 51, 52]),
      ...inMode([RANDOM], mode),
    ]);
    const [unfinished, batch] = results;
    if (unfinished === undefined || batch === undefined) throw new Error('A run is missing.');
    const inFlight = inFlightAtRefusals(unfinished.arrivals);
    const possibleMs = leastMs(unfinished) + totalBackoffMs(unfinished);
    return {
      tables: [
        {
          title: 'what became of the batch',
          rows: results.map(rowOf),
          notes: [
            'conservative preset, 100 symbols; the last one: 1000 symbols, 100/s, 4 in flight, evenly spaced',
            'least s: of the same batch if nothing is refused; backoff s: the waits that the engine chose',
            `request 50, unfinished: ${inFlight} other requests were in flight when the refusal came`,
            describeDisturbance(disturbance()),
          ],
        },
      ],
      targets: [
        ...results.map(({ plan, summary }) =>
          exactly(`${plan.name}: succeeded`, summary.succeeded, plan.items, 'items'),
        ),
        atMost('request 50, unfinished: over least + backoff', (unfinished.elapsedMs / possibleMs - 1) * 100, 3, '%'),
        atMost('request 50, unfinished: requests', unfinished.server.total, ITEMS + 1 + inFlight, 'requests'),
        atMost('request 50, batch: rounds', batch.summary.rounds, 3, 'rounds'),
      ],
    };
  },
};

function leastMs(result: LimitedResult): number {
  return conservativeLeastMs(result.plan.items, result.arrivals);
}

function totalBackoffMs({ backoffsMs }: LimitedResult): number {
  return backoffsMs.reduce((sum, ms) => sum + ms, 0);
}

function rowOf(result: LimitedResult): Row {
  const { plan, summary, server, elapsedMs } = result;
  const isConservative = plan.name !== RANDOM.name;
  return {
    run: plan.name,
    succeeded: summary.succeeded,
    requests: server.total,
    refused: server.injected + server.refused,
    aborted: server.aborted,
    events: summary.rateLimitEvents,
    rounds: summary.rounds,
    'most in 1 s': server.maxInWindow,
    'elapsed s': elapsedMs / 1e3,
    'least s': isConservative ? leastMs(result) / 1e3 : undefined,
    'backoff s': totalBackoffMs(result) / 1e3,
    'elapsed - backoff s': (elapsedMs - totalBackoffMs(result)) / 1e3,
  };
}
