import type { Suite } from '../harness/suite.ts';
import { armed } from './core/armed.ts';
import { demo } from './core/demo.ts';
import { refused } from './core/refused.ts';
import { stream } from './core/stream.ts';
import { sustained } from './core/sustained.ts';

const suite: Suite = {
  title: 'the figures of the engine core that no other suite has',
  parts: [demo, sustained, refused, armed, stream],
};

export default suite;
