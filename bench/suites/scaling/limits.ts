import { performance } from 'node:perf_hooks';
import { createEngine } from '../../../lib/index.ts';
import { planLimits } from '../../../lib/limit/plan.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import type { Part } from '../../harness/suite.ts';
import { workItems } from '../dispatch/spin.ts';

const LIMITS = [10, 100, 1_000, 10_000, 100_000];
const QUICK_LIMITS = [10, 1_000];
const WINDOW_MS = 1000;
/** How often all tokens are used. */
const BURSTS = 4;
const THREADS = 2;
const IN_WORK = 16;

interface Figures {
  readonly limit: number;
  readonly items: number;
  readonly elapsedMs: number;
  readonly idealMs: number;
  /** CPU time of all threads of the process. */
  readonly cpuMs: number;
}

/** Items that do nothing, under limits of all sizes: what is not waiting is cost. */
export const limits: Part = {
  name: 'limits',
  title: `limits of 10 to 100,000 per ${WINDOW_MS} ms, no-op items, ${THREADS} threads`,
  async run({ isQuick }) {
    const watch = watchMachine();
    const all: Figures[] = [];
    for (const limit of isQuick ? QUICK_LIMITS : LIMITS) all.push(await measure(limit, isQuick ? 2 : BURSTS));
    return {
      tables: [
        {
          title: 'cost by limit',
          rows: all.map(({ limit, items, elapsedMs, idealMs, cpuMs }) => ({
            limit,
            items,
            'elapsed s': elapsedMs / 1e3,
            'least possible s': idealMs / 1e3,
            'over the least %': (elapsedMs / idealMs - 1) * 100,
            'CPU us/item': (cpuMs / items) * 1e3,
            'CPU cores': cpuMs / elapsedMs,
          })),
          notes: [
            'least possible: all tokens at once, and again after each window',
            'a limit over 65,536 is planned as half of it in half of the window',
            describeDisturbance(watch()),
          ],
        },
      ],
      targets: [],
      charts: [
        {
          title: 'CPU time of an item by limit',
          kind: 'bars',
          xLabel: `per ${WINDOW_MS} ms`,
          yLabel: 'us per item',
          x: all.map(({ limit }) => limit.toLocaleString('en-US')),
          series: [{ name: 'CPU', values: all.map(({ cpuMs, items }) => (cpuMs / items) * 1e3) }],
        },
      ],
    };
  },
};

async function measure(limit: number, bursts: number): Promise<Figures> {
  const engine = createEngine<number, number>({
    handler: new URL('../dispatch/fixtures/work.js', import.meta.url),
    rate: { limit, windowMs: WINDOW_MS },
    threads: THREADS,
    concurrency: IN_WORK,
  });
  try {
    await engine.ready();
    const items = workItems(limit * bursts, 0);
    const cpuBefore = process.cpuUsage();
    const startedMs = performance.now();
    const { summary } = await engine.run(items);
    const elapsedMs = performance.now() - startedMs;
    const { user, system } = process.cpuUsage(cpuBefore);
    if (summary.succeeded !== items.length) throw new Error(`Only ${summary.succeeded} items succeeded.`);
    return {
      limit,
      items: items.length,
      elapsedMs,
      idealMs: leastMs(limit, items.length),
      cpuMs: (user + system) / 1e3,
    };
  } finally {
    await engine.close();
  }
}

/** All tokens are used at once, and again after each window. */
function leastMs(limit: number, items: number): number {
  const options = { tokens: limit, windowMs: WINDOW_MS, spacingMs: 0, straggleMs: WINDOW_MS, initial: 'full' } as const;
  const [planned] = planLimits([{ ...options, arrivalWithinMs: Number.POSITIVE_INFINITY }]);
  if (planned === undefined) throw new Error('No limit was planned.');
  return ((Math.ceil(items / planned.tokens) - 1) * Number(planned.windowNs)) / 1e6;
}
