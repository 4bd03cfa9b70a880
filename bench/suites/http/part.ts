import { byItemsPerSecond, perSecond, type Timing, timingRow } from '../../harness/alternate.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { type Opener, timeInTurn } from '../../harness/in-turn.ts';
import { percentile, spreadColumns, spreadOf } from '../../harness/spread.ts';
import { atLeast, type Chart, type Part, type Table, type Target } from '../../harness/suite.ts';
import {
  bareClient,
  type Client,
  engineClient,
  IN_FLIGHT,
  piscinaClient,
  poolClient,
  requestClient,
  THREADS,
} from './clients.ts';
import type { PlainRequest } from './request.ts';
import { type HttpServer, LARGE_BYTES, SMALL_BODY, startHttpServer } from './server.ts';

const WARM_UPS = 3;
/** Everybody works so long before it counts. */
const WARM_UP_MS = 300;
const UNDICI_GOAL_TIMES = 1.4;
const PISCINA_GOAL_TIMES = 2.3;

const US = `sluicegate, ${THREADS} threads`;
const UNDICI = 'undici.request(url), main thread';
const PISCINA = `piscina.run per request, pool.request in ${THREADS} threads`;
const CEILING = `pool.dispatch in ${THREADS} bare threads`;

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

/** One kind of request, by every client in turn. */
export function httpPart(plan: HttpPlan): Part {
  return {
    name: plan.name,
    title: `${plan.title}, ${IN_FLIGHT} in flight, keep-alive`,
    async run({ isQuick }) {
      const server = await startHttpServer();
      const latencies: Latencies = new Map();
      try {
        const watch = watchMachine();
        const { timings, failures } = await timeInTurn(
          openersFor(plan, server, latencies),
          isQuick ? { rounds: 2, warmUps: 1 } : { rounds: plan.rounds, warmUps: WARM_UPS, warmUpMs: WARM_UP_MS },
        );
        return {
          tables: [ratesTable(plan, server, timings, describeDisturbance(watch())), latencyTable(plan, latencies)],
          failures,
          targets: plan.name === 'small-get' ? targetsOf(timings) : [],
          charts: [rateChart(plan.title, timings), latencyChart(plan.title, latencies)],
        };
      } finally {
        await server.close();
      }
    },
  };
}

/** Milliseconds of the requests of one run, by client. */
type Latencies = Map<string, readonly number[]>;

function openersFor(plan: HttpPlan, { url: origin }: HttpServer, latencies: Latencies): Opener[] {
  const item: PlainRequest = {
    url: origin + plan.path,
    path: plan.path,
    method: plan.method,
    ...(plan.bodyBytes === undefined ? {} : { body: 'x'.repeat(plan.bodyBytes) }),
  };
  const items = new Array<PlainRequest>(plan.items).fill(item);
  const bodyLength = plan.path === '/large' ? LARGE_BYTES : SMALL_BODY.length;
  const opener = (name: string, open: () => Promise<Client> | Client): Opener => ({
    name,
    items: items.length,
    open: async () => {
      const client = await open();
      return {
        run: () => runAndCheck(client, items, bodyLength),
        after: async () => latencies.set(name, await client.latenciesMs(items)),
        close: () => client.close(),
      };
    },
  });
  return [
    opener(US, () => engineClient(THREADS)),
    opener('sluicegate, 1 thread', () => engineClient(1)),
    opener(UNDICI, requestClient),
    opener('pool.request({ path }), main thread', () => poolClient(origin)),
    opener(PISCINA, () => piscinaClient(origin)),
    opener(CEILING, () => bareClient(origin)),
  ];
}

/** Each answer is looked at. */
async function runAndCheck(client: Client, items: readonly PlainRequest[], bodyLength: number): Promise<void> {
  const answers = await client.run(items);
  const right = answers.filter(
    (answer) =>
      answer?.status === 200 && answer.body.length === bodyLength && answer.headers['content-length'] !== undefined,
  ).length;
  if (right !== items.length) throw new Error(`${right} of ${items.length} answers are right.`);
}

function ratesTable({ title }: HttpPlan, server: HttpServer, timings: readonly Timing[], note: string): Table {
  const undici = perSecond(find(timings, UNDICI));
  const ceiling = perSecond(find(timings, CEILING));
  return {
    title: `${title}, ${server.name}`,
    rows: byItemsPerSecond(timings).map((timing) => ({
      ...timingRow(timing),
      'times undici.request': perSecond(timing) / undici,
      'share of the ceiling %': (perSecond(timing) / ceiling) * 100,
    })),
    notes: [
      'everybody brings back status, headers and body as text; each answer is checked inside the time',
      'ceiling: two bare threads with nothing but undici, by its quickest way and without timeouts; all items and all answers in one message',
      'the server shares the two cores with its clients; CPU us/item: of this process only',
      note,
    ],
  };
}

function latencyTable({ title }: HttpPlan, latencies: Latencies): Table {
  return {
    title: `${title}: time of a request`,
    rows: [...latencies].map(([contender, ms]) => ({
      contender,
      requests: ms.length,
      ...spreadColumns(spreadOf(ms), 'ms'),
    })),
    notes: [`one more run of each, ${IN_FLIGHT} in flight all the time; measured in the thread that makes the request`],
  };
}

function find(timings: readonly Timing[], name: string): Timing {
  const found = timings.find((timing) => timing.name === name);
  if (found === undefined) throw new Error(`${name} was not timed.`);
  return found;
}

function targetsOf(timings: readonly Timing[]): Target[] {
  const ours = perSecond(find(timings, US));
  return [
    atLeast('http, small GET: times undici.request', ours / perSecond(find(timings, UNDICI)), UNDICI_GOAL_TIMES, 'x'),
    atLeast('http, small GET: times piscina.run', ours / perSecond(find(timings, PISCINA)), PISCINA_GOAL_TIMES, 'x'),
  ];
}

function rateChart(title: string, timings: readonly Timing[]): Chart {
  const sorted = byItemsPerSecond(timings);
  return {
    title: `${title}: requests per second`,
    kind: 'bars',
    xLabel: '',
    yLabel: '1/s',
    x: sorted.map(({ name }) => name),
    series: [{ name: 'requests per second', values: sorted.map(perSecond) }],
  };
}

function latencyChart(title: string, latencies: Latencies): Chart {
  const all = [...latencies];
  return {
    title: `${title}: time of a request`,
    kind: 'bars',
    xLabel: '',
    yLabel: 'ms',
    isLogarithmic: true,
    x: all.map(([name]) => name),
    series: [50, 90, 99, 100].map((percent) => ({
      name: percent === 100 ? 'max' : `p${percent}`,
      values: all.map(([, ms]) => percentile(ms, percent)),
    })),
  };
}
