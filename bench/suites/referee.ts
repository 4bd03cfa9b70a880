import type { Suite } from '../harness/suite.ts';
import { refereePart } from './referee/part.ts';

const suite: Suite = {
  title: 'who keeps a limit of exactly 20/s, judged by the server',
  parts: [
    refereePart('quick-server', 'service time 0-50 ms', [0, 50]),
    refereePart('slow-server', 'service time 100-400 ms', [100, 400]),
  ],
};

export default suite;
