import type { Suite } from '../harness/suite.ts';
import { items } from './scaling/items.ts';
import { limits } from './scaling/limits.ts';
import { threads } from './scaling/threads.ts';

const suite: Suite = {
  title: 'how cost grows with items, threads and the limit',
  parts: [items, threads, limits],
};

export default suite;
