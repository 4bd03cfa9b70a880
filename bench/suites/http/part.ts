import { Piscina } from 'piscina';
import type { Agent } from 'undici';
import { createEngine } from '../../../lib/index.ts';
import { alternate, type Contender, type Timing, timingRow } from '../../harness/alternate.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { atLeast, type Chart, type Part, type Target } from '../../harness/suite.ts';
import { makeAgent, type PlainAnswer, type PlainRequest, requestByPath, requestByUrl } from './request.ts';
import { LARGE_BYTES, SMALL_BODY, startHttpServer } from './server.ts';

const IN_FLIGHT = 16;
const THREADS = 2;
const WARM_UPS = 3;
const UNDICI_GOAL_TIMES = 1.4;
const PISCINA_GOAL_TIMES = 2.3;

const US = `sluicegate, ${THREADS} threads`;
const UNDICI = 'undici.request(url), main thread';
const PISCINA = `piscina.run per request, ${THREADS} threads`;

export interface HttpPlan {
  readonly name: string;
  readonly title: string;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** Of the request's body. */
  readonly bodyBytes?: number;
  readonly items: number;
  readonly rounds: number;
}

interface Client {
  readonly name: string;
  run(items: readonly PlainRequest[]): Promise<readonly (PlainAnswer | undefined)[]>;
  close(): Promise<unknown>;
}

/** One kind of request, by every client in turn. */
export function httpPart(plan: HttpPlan): Part {
  return {
    name: plan.name,
    title: `${plan.title}, ${IN_FLIGHT} in flight, keep-alive`,
    async run({ isQuick }) {
      const server = await startHttpServer();
      const url = server.url + plan.path;
      const item: PlainRequest = {
        url,
        method: plan.method,
        ...(plan.bodyBytes === undefined ? {} : { body: 'x'.repeat(plan.bodyBytes) }),
      };
      const items = new Array<PlainRequest>(plan.items).fill(item);
      const clients = [
        engineClient(US, THREADS),
        engineClient('sluicegate, 1 thread', 1),
        ...undiciClients(server.url, plan.path),
        piscinaClient(),
      ];
      try {
        const watch = watchMachine();
        const timings = await alternate(
          clients.map((client) => contender(client, items, plan.path)),
          isQuick ? { rounds: 2, warmUps: 1 } : { rounds: plan.rounds, warmUps: WARM_UPS },
        );
        return {
          tables: [
            {
              title: `${plan.title}, ${server.name}`,
              rows: timings
                .toSorted((a, b) => perSecond(b) - perSecond(a))
                .map((timing) => ({
                  ...timingRow(timing),
                  'times undici.request': perSecond(timing) / perSecond(find(timings, UNDICI)),
                })),
              notes: [
                'everybody brings back status, headers and body as text; each answer is checked inside the time',
                'the server shares the two cores with its clients; CPU: of this process only',
                describeDisturbance(watch()),
              ],
            },
          ],
          targets: plan.name === 'small-get' ? targetsOf(timings) : [],
          charts: [chartOf(plan.title, timings)],
        };
      } finally {
        await Promise.all(clients.map((client) => client.close()));
        await server.close();
      }
    },
  };
}

function engineClient(name: string, threads: number): Client {
  const engine = createEngine({ threads, concurrency: IN_FLIGHT, http: { headers: { 'content-type': 'text/plain' } } });
  return {
    name,
    run: async (items) => {
      const { outcomes } = await engine.run(items);
      return outcomes.map((outcome) => (outcome.ok ? (outcome.value as PlainAnswer) : undefined));
    },
    close: () => engine.close(),
  };
}

function undiciClients(origin: string, path: string): Client[] {
  const client = (name: string, send: (item: PlainRequest, agent: Agent) => Promise<PlainAnswer>): Client => {
    const agent = makeAgent(IN_FLIGHT);
    return { name, run: (items) => inTurn(items, (item) => send(item, agent)), close: () => agent.close() };
  };
  return [
    client(UNDICI, requestByUrl),
    client('agent.request({ origin, path }), main thread', (item, agent) => requestByPath(origin, path, item, agent)),
  ];
}

function piscinaClient(): Client {
  const pool = new Piscina({
    filename: new URL('./fixtures/piscina.js', import.meta.url).href,
    minThreads: THREADS,
    maxThreads: THREADS,
    concurrentTasksPerWorker: IN_FLIGHT / THREADS,
    idleTimeout: Number.POSITIVE_INFINITY,
    atomics: 'disabled',
    recordTiming: false,
  });
  return {
    name: PISCINA,
    run: (items) => inTurn(items, (item) => pool.run(item) as Promise<PlainAnswer>),
    close: () => pool.destroy(),
  };
}

async function inTurn(
  items: readonly PlainRequest[],
  send: (item: PlainRequest) => Promise<PlainAnswer>,
): Promise<PlainAnswer[]> {
  const answers = new Array<PlainAnswer>(items.length);
  let next = 0;
  const lane = async () => {
    for (let index = next++; index < items.length; index = next++) {
      const item = items[index];
      if (item !== undefined) answers[index] = await send(item);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  return answers;
}

function contender(client: Client, items: readonly PlainRequest[], path: string): Contender {
  const length = path === '/large' ? LARGE_BYTES : SMALL_BODY.length;
  return {
    name: client.name,
    items: items.length,
    run: async () => {
      const answers = await client.run(items);
      const right = answers.filter(
        (answer) =>
          answer?.status === 200 && answer.body.length === length && answer.headers['content-length'] !== undefined,
      ).length;
      if (right !== items.length) throw new Error(`${client.name}: ${right} of ${items.length} answers are right.`);
    },
  };
}

function find(timings: readonly Timing[], name: string): Timing {
  const found = timings.find((timing) => timing.name === name);
  if (found === undefined) throw new Error(`${name} was not timed.`);
  return found;
}

function perSecond({ items, ms }: Timing): number {
  return (items / ms.p50) * 1e3;
}

function targetsOf(timings: readonly Timing[]): Target[] {
  const ours = perSecond(find(timings, US));
  return [
    atLeast('http, small GET: times undici.request', ours / perSecond(find(timings, UNDICI)), UNDICI_GOAL_TIMES, 'x'),
    atLeast('http, small GET: times piscina.run', ours / perSecond(find(timings, PISCINA)), PISCINA_GOAL_TIMES, 'x'),
  ];
}

function chartOf(title: string, timings: readonly Timing[]): Chart {
  const sorted = timings.toSorted((a, b) => perSecond(b) - perSecond(a));
  return {
    title: `${title}: requests per second`,
    kind: 'bars',
    xLabel: '',
    yLabel: '1/s',
    x: sorted.map(({ name }) => name),
    series: [{ name: 'requests per second', values: sorted.map(perSecond) }],
  };
}
