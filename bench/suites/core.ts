import type { Suite } from '../harness/suite.ts';
import { armed } from './core/armed.ts';
import { cancel } from './core/cancel.ts';
import { demo } from './core/demo.ts';
import { dispatch } from './core/dispatch.ts';
import { refused } from './core/refused.ts';
import { stream } from './core/stream.ts';
import { sustained } from './core/sustained.ts';

const suite: Suite = {
  title: 'the figures of the engine core',
  parts: [demo, sustained, refused, cancel, armed, dispatch, stream],
};

export default suite;
