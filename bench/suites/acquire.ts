import type { Suite } from '../harness/suite.ts';
import { contended } from './acquire/contended.ts';
import { single } from './acquire/single.ts';
import { throttled } from './acquire/throttled.ts';

const suite: Suite = { title: 'what a token costs', parts: [single, contended, throttled] };

export default suite;
