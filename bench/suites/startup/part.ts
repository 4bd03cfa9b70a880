import { rotated } from '../../harness/alternate.ts';
import { runInChild } from '../../harness/child.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import { median, spreadOf } from '../../harness/spread.ts';
import { atMost, type Failure, type Part, type Row } from '../../harness/suite.ts';
import { describeError } from '../../harness/within.ts';
import type { StartupFigures } from './figures.ts';

const ROUNDS = 12;
const QUICK_ROUNDS = 3;
const IMPORT_GOAL_MS = 40;
const US = 'sluicegate, no-op handler';

const CONTENDERS: readonly { readonly name: string; readonly module: string; readonly args: readonly string[] }[] = [
  { name: US, module: 'sluicegate', args: ['noop'] },
  { name: 'sluicegate, HTTP handler', module: 'sluicegate', args: ['http'] },
  { name: 'piscina, no-op worker', module: 'piscina', args: [] },
];

/** Each in a process of its own, in turn. */
export const startup: Part = {
  name: 'startup',
  title: 'import, first answer, close; 2 threads',
  async run({ isQuick }) {
    const watch = watchMachine();
    const figures = new Map<string, StartupFigures[]>(CONTENDERS.map(({ name }) => [name, []]));
    const errors = new Map<string, string>();
    // One more for each before the first that counts: files come from the disk only once.
    for (let round = -1; round < (isQuick ? QUICK_ROUNDS : ROUNDS); round++) {
      for (const { name, module, args } of rotated(CONTENDERS, round + 1)) {
        if (errors.has(name)) continue;
        try {
          const one = await runInChild<StartupFigures>(new URL(`./fixtures/${module}.js`, import.meta.url), args);
          if (round >= 0) figures.get(name)?.push(one);
        } catch (error) {
          errors.set(name, describeError(error));
          figures.set(name, []);
        }
      }
    }
    const importMs = median((figures.get(US) ?? []).map((one) => one.importMs));
    return {
      tables: [
        {
          title: 'milliseconds in fresh processes, taken in turn',
          rows: [...figures].map(([name, all]) => rowOf(name, all, errors.get(name))),
          notes: [
            'import: of the package, with all that it loads; first answer: from the call that makes the pool; HTTP: against a server in the same process',
            describeDisturbance(watch()),
          ],
        },
      ],
      failures: [...errors].map(([who, error]): Failure => ({ who, error })),
      targets: [atMost('startup: import', importMs, IMPORT_GOAL_MS, 'ms')],
      charts: [
        {
          title: 'Start and end',
          kind: 'bars',
          xLabel: '',
          yLabel: 'ms',
          x: [...figures.keys()],
          series: STEPS.map(({ name, key }) => ({
            name,
            values: [...figures.values()].map((all) => median(all.map((one) => one[key]))),
          })),
        },
      ],
    };
  },
};

const STEPS: readonly { readonly name: string; readonly key: keyof StartupFigures }[] = [
  { name: 'import', key: 'importMs' },
  { name: 'first answer', key: 'firstAnswerMs' },
  { name: 'close', key: 'closeMs' },
];

function rowOf(contender: string, all: readonly StartupFigures[], error: string | undefined): Row {
  if (error !== undefined) return { contender, failed: error };
  return {
    contender,
    processes: all.length,
    ...Object.fromEntries(
      STEPS.flatMap(({ name, key }) => {
        const { min, median: middle, max, marginPercent } = spreadOf(all.map((one) => one[key]));
        return [
          [`${name} min`, min],
          [`${name} median`, middle],
          [`${name} max`, max],
          [`${name} +- %`, marginPercent],
        ];
      }),
    ),
  };
}
