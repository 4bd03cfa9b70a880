import type { Suite } from '../harness/suite.ts';
import { httpPart } from './http/part.ts';

const suite: Suite = {
  title: 'requests without a limit, against a server in a process of its own',
  parts: [
    httpPart({ name: 'small-get', title: 'GET, small body', method: 'GET', path: '/small', items: 4_000, rounds: 10 }),
    httpPart({ name: 'large-get', title: 'GET, 64 KiB body', method: 'GET', path: '/large', items: 1_200, rounds: 4 }),
    httpPart({
      name: 'small-post',
      title: 'POST, small body',
      method: 'POST',
      path: '/small',
      bodyBytes: 100,
      items: 3_000,
      rounds: 5,
    }),
    httpPart({
      name: 'large-post',
      title: 'POST, 64 KiB body',
      method: 'POST',
      path: '/small',
      bodyBytes: 65_536,
      items: 1_200,
      rounds: 4,
    }),
  ],
};

export default suite;
