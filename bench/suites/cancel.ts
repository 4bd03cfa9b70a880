import type { Suite } from '../harness/suite.ts';
import { type CancelCase, runCancelCases } from './cancel/cases.ts';

const CASES: readonly CancelCase[] = [
  { threads: 2, isBlocked: false, goalMs: 2 },
  { threads: 2, isBlocked: true, goalMs: 5 },
  { threads: 4, isBlocked: false, goalMs: 5 },
  { threads: 4, isBlocked: true, goalMs: 5 },
  { threads: 8, isBlocked: false },
  { threads: 8, isBlocked: true },
];

const suite: Suite = {
  title: 'from a refusal in one thread to the last abort in any',
  parts: [{ name: 'cancel', title: '2 to 8 threads', run: (mode) => runCancelCases(CASES, mode) }],
};

export default suite;
