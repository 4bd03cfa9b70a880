import { type EngineOptions, presets } from '../../../lib/index.ts';
import type { SimulatorOptions } from '../../../lib/simulator/index.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import {
  inMode,
  type LimitedPlan,
  type LimitedResult,
  mean,
  runSideBySide,
  serviceTimesMs,
  sustainedPerSecond,
} from '../../harness/limited-run.ts';
import { atLeast, exactly, type Part, type Row, type Target } from '../../harness/suite.ts';

const ITEMS = 400;
const WINDOW_MS = 1000;
const SHARE_GOAL = 97;
const SLOW_ITEMS = 320;
const SLOW_TOKENS = 12;
const SLOW_ARRIVAL_WITHIN_MS = 50;
const SLOW_GOAL_PER_SECOND = 11.2;

interface Case {
  readonly plan: LimitedPlan;
  readonly tokens: number;
}

function exactCase(name: string, threads: number, server: SimulatorOptions, engine: EngineOptions, tokens = 20): Case {
  return {
    tokens,
    plan: {
      name,
      items: ITEMS,
      engine: { ...engine, threads },
      server: { limit: 20, serviceTimeMs: [0, 50], ...server },
    },
  };
}

const exact = presets.exact(20, WINDOW_MS);
const even = { ...exact, rate: { ...exact.rate, spacing: 'even' } } as const;
const exact19 = presets.exact(19, WINDOW_MS);
const even19 = { ...exact19, rate: { ...exact19.rate, spacing: 'even' } } as const;

const EXACT_CASES: readonly Case[] = [
  exactCase('fixed', 2, { algorithm: 'fixed' }, exact),
  exactCase('sliding-log', 2, { algorithm: 'sliding-log' }, exact),
  exactCase('sliding-log, 8 threads', 8, { algorithm: 'sliding-log' }, exact),
  exactCase('token-bucket', 2, { algorithm: 'token-bucket' }, exact),
  exactCase('gcra burst 1, even spacing', 2, { algorithm: 'gcra', burst: 1 }, even),
  exactCase('sliding-counter, 19 tokens, even spacing', 2, { algorithm: 'sliding-counter' }, even19, 19),
];

const SLOW: LimitedPlan = {
  name: 'slow upstream',
  items: SLOW_ITEMS,
  engine: {
    rate: { limit: SLOW_TOKENS, windowMs: WINDOW_MS, arrivalWithinMs: SLOW_ARRIVAL_WITHIN_MS },
    concurrency: 8,
    threads: 2,
  },
  server: { limit: SLOW_TOKENS, serviceTimeMs: [100, 400] },
};

/** Long runs at exactly the server's limit, side by side. */
export const sustained: Part = {
  name: 'sustained',
  title: 'sustained rate at exactly the limit of the server',
  isMostlyIdle: true,
  aboutS: 35,
  async run(mode) {
    const disturbance = watchMachine();
    const results = await runSideBySide(inMode([...EXACT_CASES.map(({ plan }) => plan), SLOW], mode));
    const note = describeDisturbance(disturbance());
    const slow = results.at(-1);
    if (slow === undefined) throw new Error('A run is missing.');
    const cases = EXACT_CASES.flatMap((one, place) => {
      const result = results[place];
      return result === undefined ? [] : [{ ...one, result }];
    });
    const slowPerSecond = sustainedPerSecond(slow.arrivals, SLOW_TOKENS);
    return {
      tables: [
        {
          title: `presets.exact(20, 1000) against exactly 20/s, 0-50 ms service time`,
          rows: cases.map(({ result, tokens }) => rowOf(result, tokens, tokens * possiblePerSecond(result))),
          notes: [
            'sustained: (n - N) / (start[n-1] - start[N-1]), as the server saw the starts',
            'possible: N / (window + mean response time), the response time as the client measured it',
            note,
          ],
        },
        {
          title: `service time 100-400 ms, ${SLOW_TOKENS} tokens, 8 in flight, arrivalWithinMs ${SLOW_ARRIVAL_WITHIN_MS}`,
          rows: [rowOf(slow, SLOW_TOKENS, (SLOW_TOKENS * 1e3) / (WINDOW_MS + SLOW_ARRIVAL_WITHIN_MS))],
          notes: ['possible: N / (window + arrivalWithinMs)', note],
        },
      ],
      targets: [
        ...cases.flatMap(({ result, tokens }) => exactTargets(result, tokens)),
        exactly('sustained, slow upstream: refused', slow.server.refused + slow.refusedEver, 0, 'requests'),
        atLeast('sustained, slow upstream: rate', slowPerSecond, SLOW_GOAL_PER_SECOND, '1/s'),
      ],
    };
  },
};

/** Per token. */
function possiblePerSecond({ responsesMs }: LimitedResult): number {
  return 1e3 / (WINDOW_MS + mean(responsesMs));
}

function exactTargets(result: LimitedResult, tokens: number): Target[] {
  const share = (sustainedPerSecond(result.arrivals, tokens) / (tokens * possiblePerSecond(result))) * 100;
  const { name } = result.plan;
  return [
    exactly(`sustained, ${name}: refused`, result.server.refused + result.refusedEver, 0, 'requests'),
    atLeast(`sustained, ${name}: share of the possible rate`, share, SHARE_GOAL, '%'),
  ];
}

function rowOf(result: LimitedResult, tokens: number, possible: number): Row {
  const { plan, server, summary, arrivals, responsesMs, elapsedMs } = result;
  const sustainedRate = sustainedPerSecond(arrivals, tokens);
  return {
    server: plan.name,
    requests: server.total,
    succeeded: summary.succeeded,
    refused: server.refused,
    'most in 1 s': server.maxInWindow,
    'mean service ms': mean(serviceTimesMs(arrivals)),
    'mean response ms': mean(responsesMs),
    'elapsed s': elapsedMs / 1e3,
    'sustained 1/s': sustainedRate,
    'possible 1/s': possible,
    'share %': (sustainedRate / possible) * 100,
  };
}
