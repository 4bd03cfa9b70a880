import type { Suite } from '../harness/suite.ts';
import { memory } from './memory/part.ts';

const suite: Suite = { title: 'what a batch keeps on the heap of the main thread', parts: [memory] };

export default suite;
