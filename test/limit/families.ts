import fc from 'fast-check';
import { limitOptions, type Scenario, type ScenarioLimit, scenarios } from './scenario.ts';

const one = (limit: fc.Arbitrary<ScenarioLimit>) => limit.map((only) => [only]);

const evenMs = limitOptions().map(({ tokens, ...limit }): ScenarioLimit => {
  const spacingMs = Math.max(1, Math.round(limit.windowMs / tokens));
  const windowMs = tokens * spacingMs;
  return { ...limit, tokens, windowMs, spacingMs, straggleMs: windowMs };
});

/** Scenarios of a kind: in each of them no server may refuse. */
export interface Family {
  /** Its share of all requests that are simulated. */
  readonly share: number;
  readonly scenarios: fc.Arbitrary<Scenario>;
}

export const FAMILIES: Readonly<Record<string, Family>> = {
  'of one exact limit': { share: 0.3, scenarios: scenarios(one(limitOptions())) },
  'of one exact limit of hundreds': {
    share: 0.1,
    scenarios: fc
      .tuple(
        scenarios(one(limitOptions())),
        fc.oneof(fc.constantFrom(256, 257, 512, 513), fc.integer({ min: 258, max: 1_000 })),
      )
      .map(([scenario, tokens]) => ({
        ...scenario,
        limits: scenario.limits.map((limit) => ({ ...limit, tokens, spacingMs: 0 })),
        // Quick, so that the tokens of a window are used up.
        lanes: 4 * scenario.lanes,
        ...{
          thinkMs: 0,
          leaveMs: scenario.leaveMs % 3,
          travelMs: scenario.travelMs % 5,
          answerMs: scenario.answerMs % 5,
        },
      })),
  },
  'of several limits': {
    share: 0.2,
    scenarios: scenarios(fc.array(limitOptions('any'), { minLength: 2, maxLength: 3 })),
  },
  'of even starts, if they tolerate the jitter': {
    share: 0.2,
    scenarios: scenarios(one(limitOptions('even'))).map((scenario) => ({ ...scenario, strays: false })),
  },
  'of even starts without any jitter, if they tolerate nothing': {
    share: 0.2,
    scenarios: scenarios(one(evenMs)).map((scenario) => ({
      ...scenario,
      grainMs: 1,
      leaveMs: 0,
      travelMs: 0,
      strays: false,
      timerErrorMs: 0,
      late: 0,
    })),
  },
};

/** Scenarios of a conventional limiter, which takes a request as counted when it is sent, in a network that has delays. */
export const CONVENTIONAL: fc.Arbitrary<Scenario> = scenarios(
  one(limitOptions().map((limit) => ({ ...limit, arrivalWithinMs: 0 }))),
).map((scenario) => ({ ...scenario, lies: true, reported: 1 }));
