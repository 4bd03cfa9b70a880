import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type File, Instrumenter } from '@stryker-mutator/instrumenter';

/** One small fault that can be switched on in the instrumented code. */
export interface Mutant {
  readonly id: string;
  /** From the top of the repository. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** The source line that it begins on, trimmed. */
  readonly code: string;
  readonly operator: string;
  /** The code that is replaced, and by what. */
  readonly change: string;
}

/** As much of a syntax tree as is needed here; the parser's own types are not installed. */
interface Node {
  readonly type: string;
  readonly kind?: string;
  readonly name?: string;
  readonly expression?: Node;
  readonly callee?: Node;
  readonly object?: Node;
  readonly property?: Node;
  readonly arguments?: readonly Node[];
  readonly body?: readonly Node[] | Node;
}

interface NodePath {
  readonly node: Node;
  readonly parentPath: NodePath | null;
}

interface Mutator {
  readonly name: string;
  mutate(path: NodePath): Iterable<Node>;
}

const REMOVABLE = new Set(['CallExpression', 'AwaitExpression', 'AssignmentExpression', 'UpdateExpression']);

/** `f(); x = 1;` -> `f();`: most of what shared memory is about are single statements between others. */
const statementRemoval: Mutator = {
  name: 'StatementRemoval',
  *mutate({ node, parentPath }) {
    if (node.type !== 'ExpressionStatement' || !REMOVABLE.has(node.expression?.type ?? '')) return;
    if (node.expression?.callee?.type === 'Super') return;
    if (parentPath?.node.type === 'BlockStatement') {
      // Alone in its block: that is what BlockStatement does.
      if (Array.isArray(parentPath.node.body) && parentPath.node.body.length === 1) return;
      // A field that is not set at all breaks everything: a cheap kill that says nothing.
      if (parentPath.parentPath?.node.kind === 'constructor') return;
    }
    yield { type: 'EmptyStatement' };
  },
};

const ROUNDINGS = new Map([
  ['ceil', 'floor'],
  ['floor', 'ceil'],
  ['round', 'floor'],
]);

/** `Math.ceil` -> `Math.floor` and the like: to which side is rounded decides whether a limit holds. */
const rounding: Mutator = {
  name: 'Rounding',
  *mutate({ node }) {
    const { callee } = node;
    if (node.type !== 'CallExpression' || callee?.object?.name !== 'Math') return;
    const name = ROUNDINGS.get(callee.property?.name ?? '');
    if (name !== undefined) yield { ...node, callee: { ...callee, property: { type: 'Identifier', name } } };
  },
};

/** Texts of errors are for people: which error is thrown, and when, is what is tested. */
const textsOfErrors = {
  shouldIgnore(path: unknown): string | undefined {
    const { node, parentPath } = path as NodePath;
    if (node.type !== 'StringLiteral' && node.type !== 'TemplateLiteral') return undefined;
    const parent = parentPath?.node;
    return parent?.type === 'NewExpression' && parent.callee?.name?.endsWith('Error') ? 'text of an error' : undefined;
  },
};

const no = () => false;
const silent = () => {};
const LOGGER: ConstructorParameters<typeof Instrumenter>[0] = {
  isTraceEnabled: no,
  isDebugEnabled: no,
  isInfoEnabled: no,
  isWarnEnabled: no,
  isErrorEnabled: no,
  isFatalEnabled: no,
  trace: silent,
  debug: silent,
  info: silent,
  warn: silent,
  error: silent,
  fatal: silent,
};

/** Write all mutants into copies of the files, each behind a switch that `switches.ts` sets. */
export async function instrument(
  root: string,
  names: readonly string[],
): Promise<{ readonly mutants: Mutant[]; readonly files: readonly File[] }> {
  await addOwnOperators();
  const sources = new Map(names.map((name) => [name, readFileSync(join(root, name), 'utf8')]));
  const { files, mutants } = await new Instrumenter(LOGGER).instrument(
    [...sources].map(([name, content]) => ({ name, content, mutate: true })),
    { plugins: null, excludedMutations: [], ignorers: [textsOfErrors], noHeader: true },
  );
  const live = mutants.filter(({ status }) => status !== 'Ignored');
  return {
    files,
    mutants: live.map(({ id, fileName, location: { start, end }, mutatorName, replacement }) => {
      // Lines count from 0.
      const lines = (sources.get(fileName) ?? '').split('\n');
      const original = lines.slice(start.line, end.line + 1);
      original.push((original.pop() ?? '').slice(0, end.column));
      original[0] = (original[0] ?? '').slice(start.column);
      return {
        id,
        file: fileName,
        line: start.line + 1,
        code: (lines[start.line] ?? '').trim(),
        operator: mutatorName,
        change: `${oneLine(original.join('\n'))} -> ${oneLine(replacement)}`,
      };
    }),
  };
}

/** The list of operators is not exported, only used. If it moves, this fails at once. */
async function addOwnOperators(): Promise<void> {
  const list = new URL('./mutators/mutate.js', import.meta.resolve('@stryker-mutator/instrumenter'));
  const { allMutators } = (await import(list.href)) as { allMutators: Mutator[] };
  for (const own of [statementRemoval, rounding]) if (!allMutators.includes(own)) allMutators.push(own);
}

function oneLine(code: string): string {
  const text = code.replaceAll(/\s+/g, ' ').trim();
  return text.length <= 100 ? text : `${text.slice(0, 60)} ... ${text.slice(-35)}`;
}
