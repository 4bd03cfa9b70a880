import type { Suite } from '../harness/suite.ts';
import { noOp, spinning } from './dispatch/parts.ts';

const suite: Suite = {
  title: 'what it costs to hand an item to a thread and to get its outcome back',
  parts: [noOp, spinning('10us', 10), spinning('100us', 100), spinning('1ms', 1000)],
};

export default suite;
