import type { Suite } from '../harness/suite.ts';
import { noOp, spinning } from './dispatch/parts.ts';

const suite: Suite = {
  title: 'what it costs to hand an item to a thread and to get its outcome back',
  parts: [
    noOp,
    spinning({ name: '10us', us: 10, items: 15_000, rounds: 4 }),
    spinning({ name: '100us', us: 100, items: 4_000, rounds: 4 }),
    spinning({ name: '1ms', us: 1000, items: 1_000, rounds: 5 }),
  ],
};

export default suite;
