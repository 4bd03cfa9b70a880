import type { Suite } from '../harness/suite.ts';
import { startup } from './startup/part.ts';

const suite: Suite = { title: 'from nothing to the first answer, and back', parts: [startup] };

export default suite;
