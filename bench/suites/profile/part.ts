import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runInChild } from '../../harness/child.ts';
import { describeDisturbance, watchMachine } from '../../harness/disturbance.ts';
import type { Part, Row, Table } from '../../harness/suite.ts';
import { startHttpServer } from '../http/server.ts';
import type { WorkFigures } from './fixtures/work.ts';
import { type CpuProfile, costByStage } from './stages.ts';

const MODULE = new URL('./fixtures/work.js', import.meta.url);
const WORK_MS = 1_500;
const QUICK_WORK_MS = 300;
/** Short enough for some ten thousand samples. */
const INTERVAL_US = 200;

/** Items that do nothing: all that is left is the engine. */
export const noOpProfile: Part = {
  name: 'no-op',
  title: 'the CPU time of an item that does nothing, by stage',
  run: async ({ isQuick }) => ({ tables: [await profileTable('no-op items', isQuick, undefined)], targets: [] }),
};

/** Small GETs, without the time that the server and the kernel take elsewhere. */
export const httpProfile: Part = {
  name: 'http',
  title: 'the CPU time of a small GET, by stage',
  async run({ isQuick }) {
    const server = await startHttpServer();
    try {
      return { tables: [await profileTable(`GET, small body, ${server.name}`, isQuick, server.url)], targets: [] };
    } finally {
      await server.close();
    }
  },
};

async function profileTable(title: string, isQuick: boolean, origin: string | undefined): Promise<Table> {
  const args = [String(isQuick ? QUICK_WORK_MS : WORK_MS), ...(origin === undefined ? [] : [origin])];
  const watch = watchMachine();
  // A profiler is work, too. What an item costs is measured without it; the profile says how that is divided.
  const plain = await runInChild<WorkFigures>(MODULE, args);
  const folder = mkdtempSync(join(tmpdir(), 'sluicegate-bench-'));
  try {
    const flags = ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-interval=${INTERVAL_US}`];
    const profiled = await runInChild<WorkFigures>(MODULE, args, flags);
    const costs = readdirSync(folder).flatMap((name) => costsOf(join(folder, name), profiled));
    const cpuUs = plain.cpuUs / plain.items;
    return {
      title: `${title}, 2 threads: ${cpuUs.toFixed(cpuUs < 10 ? 3 : 1)} us of CPU per item`,
      rows: rowsOf(costs, cpuUs),
      notes: [
        `by ${INTERVAL_US} us samples of each thread while it does not wait; a function belongs to its module, one of Node.js to who calls it`,
        `us per item: the share of ${cpuUs.toFixed(3)} us, which were measured without the profiler; with it ${(profiled.cpuUs / profiled.items).toFixed(3)} us`,
        describeDisturbance(watch()),
      ],
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface Cost {
  readonly thread: 'main' | 'workers';
  readonly stage: string;
  readonly us: number;
}

function costsOf(file: string, { fromUs, toUs }: WorkFigures): Cost[] {
  const profile = JSON.parse(readFileSync(file, 'utf8')) as CpuProfile;
  // CPU.<date>.<time>.<process>.<thread>.<number>.cpuprofile; the main thread is 0.
  const thread = file.split('.').at(-3) === '0' ? 'main' : 'workers';
  return [...costByStage(profile, fromUs, toUs)].map(([stage, us]) => ({ thread, stage, us }));
}

/** The dearest first; the threads together. */
function rowsOf(costs: readonly Cost[], cpuUs: number): Row[] {
  const totalUs = costs.reduce((sum, { us }) => sum + us, 0);
  const sumOf = (stage: string, thread?: Cost['thread']) =>
    costs
      .filter((cost) => cost.stage === stage && (thread === undefined || cost.thread === thread))
      .reduce((sum, { us }) => sum + us, 0) / totalUs;
  const stages = [...new Set(costs.map(({ stage }) => stage))].toSorted((a, b) => sumOf(b) - sumOf(a));
  return stages.map((stage) => ({
    stage,
    'share %': sumOf(stage) * 100,
    'us per item': sumOf(stage) * cpuUs,
    'main thread us': sumOf(stage, 'main') * cpuUs,
    'worker threads us': sumOf(stage, 'workers') * cpuUs,
  }));
}
