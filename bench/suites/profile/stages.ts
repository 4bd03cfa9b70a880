/** As much of a `.cpuprofile` as is looked at. Times in microseconds. */
export interface CpuProfile {
  readonly startTime: number;
  readonly nodes: readonly ProfileNode[];
  /** The node that was running at each sample, and how long after the sample before. */
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

interface ProfileNode {
  readonly id: number;
  readonly callFrame: Frame;
  readonly children?: readonly number[];
}

interface Frame {
  readonly functionName: string;
  readonly url: string;
}

/** What is neither a module of ours nor asked for by one. */
const NODE = 'Node.js itself';
const MESSAGES = 'messages between threads';
const GARBAGE = 'garbage collection';
const NATIVE = 'native code, also what reads messages';

/** By the end of the name of the function, where it has no module: these belong to whatever they do, not to who calls. */
const STAGE_OF_FUNCTION: Readonly<Record<string, string>> = {
  '(garbage collector)': GARBAGE,
  '(program)': NATIVE,
  postMessage: MESSAGES,
  hrtimeBigInt: 'clock',
  record: 'histograms',
};

/** By module, the first that fits. What fits none belongs to who calls it. */
const STAGE_OF_MODULE: readonly (readonly [pattern: RegExp, stage: string])[] = [
  [/\/node_modules\/piscina\//, MESSAGES],
  [/^node:internal\/(worker|per_context\/messageport|event_target)/, MESSAGES],
  [/\/dist\/(lib\/protocol|workers\/reply-buffer)\.js$/, 'messages: columns and rows'],
  [/\/node_modules\/undici\/|^wasm:/, 'undici'],
  [/^node:(net|internal\/stream_base_commons|internal\/streams\/)/, 'sockets and streams'],
  [/\/dist\/workers\/http[^/]*\.js$/, 'HTTP handler'],
  [/\/dist\/bench\/.*\/noop\.js$/, 'handler'],
  [/\/dist\/bench\//, 'the benchmark itself'],
  [/\/dist\/lib\/limit\//, 'limit: tokens'],
  [/\/dist\/lib\/(recover\/|shared\/(gate|circuit-counters|call-ring)\.)/, 'recovery: gate, verdict, counters'],
  [/\/dist\/lib\/shared\/latency\./, 'histograms'],
  [/\/dist\/(workers\/|lib\/shared\/work-slot)/, 'lane: claim, context, call, end'],
  [/\/dist\/lib\//, 'batch: chunks, outcomes, sums'],
];

/** What a function is part of; undefined if that depends on who calls it. */
export function stageOfFrame({ functionName, url }: Frame): string | undefined {
  const isAnonymousModule = url === '' || url === 'node:internal/histogram' || url.startsWith('node:internal/process');
  const own = isAnonymousModule ? STAGE_OF_FUNCTION[functionName] : undefined;
  return own ?? STAGE_OF_MODULE.find(([pattern]) => pattern.test(url))?.[1];
}

/**
 * CPU time by stage, in microseconds: of what was running between two times, without waiting.
 *
 * @param fromUs on the monotonic clock
 */
export function costByStage(profile: CpuProfile, fromUs: number, toUs: number): Map<string, number> {
  const stages = stagesOfNodes(profile.nodes);
  const costs = new Map<string, number>();
  let atUs = profile.startTime;
  profile.samples.forEach((node, place) => {
    const startUs = atUs;
    // A sample stands for the time until the next one.
    atUs += profile.timeDeltas[place] ?? 0;
    const stage = stages.get(profile.samples[place - 1] ?? node);
    const shareUs = Math.min(atUs, toUs) - Math.max(startUs, fromUs);
    if (stage !== undefined && shareUs > 0) costs.set(stage, (costs.get(stage) ?? 0) + shareUs);
  });
  return costs;
}

/** Nodes that stand for waiting are not in it. */
function stagesOfNodes(nodes: readonly ProfileNode[]): Map<number, string> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const children = new Set(nodes.flatMap((node) => node.children ?? []));
  const stages = new Map<number, string>();
  const visit = (id: number, callerStage: string): void => {
    const node = byId.get(id);
    if (node === undefined || node.callFrame.functionName === '(idle)') return;
    const stage = stageOfFrame(node.callFrame) ?? callerStage;
    stages.set(id, stage);
    for (const child of node.children ?? []) visit(child, stage);
  };
  for (const { id } of nodes) if (!children.has(id)) visit(id, NODE);
  return stages;
}
