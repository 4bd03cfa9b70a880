import type { Suite } from '../harness/suite.ts';
import { httpProfile, noOpProfile } from './profile/part.ts';

const suite: Suite = {
  title: 'where the CPU time goes, by CPU profiles of all threads',
  parts: [noOpProfile, httpProfile],
};

export default suite;
