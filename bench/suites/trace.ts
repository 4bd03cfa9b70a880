import type { Suite } from '../harness/suite.ts';
import { tracePart } from './trace/part.ts';
import { limitedHttp, noOps, smallGets } from './trace/work.ts';

const suite: Suite = {
  title: 'what the option trace costs: one engine with it and one without, in turn',
  parts: [
    tracePart({
      name: 'http',
      title: 'GET, small body, no limit',
      work: smallGets,
      rounds: 6,
      warmUps: 8,
      goalPercent: 5,
    }),
    tracePart({
      name: 'limited',
      title: 'GET, small body, under a limit',
      work: limitedHttp,
      rounds: 4,
      warmUps: 2,
      goalPercent: 5,
    }),
    // Nothing but the overhead of the engine is left to compare with: no target.
    tracePart({ name: 'no-op', title: 'no-op items', work: noOps, rounds: 4, warmUps: 2 }),
  ],
};

export default suite;
