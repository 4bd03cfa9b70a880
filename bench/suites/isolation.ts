import type { Suite } from '../harness/suite.ts';
import { isolation } from './isolation/part.ts';

const suite: Suite = { title: 'what work on answers does to the event loop of the main thread', parts: [isolation] };

export default suite;
