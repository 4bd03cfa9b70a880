import type { Suite } from '../harness/suite.ts';
import { refusals } from './recover/refusals.ts';

const suite: Suite = {
  title: 'the server refuses although it should not, or for a while',
  parts: [refusals],
};

export default suite;
