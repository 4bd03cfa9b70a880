import type { Suite } from '../harness/suite.ts';
import { sustained } from './target/sustained.ts';
import { symbols } from './target/symbols.ts';

const suite: Suite = {
  title: 'the rate that the server allows, second by second',
  parts: [sustained, symbols],
};

export default suite;
