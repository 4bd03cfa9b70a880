/**
 * Small programs that use the installed package, one per way of using it. They are text and not modules, because this
 * project's compiler must not see them: what they import is the packed package, not this source tree.
 * Each prints one line of JSON.
 */

const REPORT = `
  const values = result.outcomes.map((outcome) => (outcome.ok ? outcome.value : outcome.error.code));
  console.log(JSON.stringify({ values, succeeded: result.summary.succeeded, aborted: result.aborted }));
`;

export const ESM: Readonly<Record<string, string>> = {
  'handler.mjs': `
    export function setup(factor) { return { factor }; }
    export default async function (item, context) { return item * context.state.factor; }
  `,
  'app.mjs': `
    import { createEngine, presets } from 'sluicegate';
    const engine = createEngine({ ...presets.exact(100, 1000), handler: './handler.mjs', handlerData: 2, threads: 2 });
    const result = await engine.run([1, 2, 3, 4]);
    await engine.close();
    ${REPORT}
  `,
};

export const COMMON_JS: Readonly<Record<string, string>> = {
  'handler.cjs': 'module.exports = async (item) => item * 2;',
  'app.cjs': `
    const { createEngine } = require('sluicegate');
    (async () => {
      const engine = createEngine({ handler: require.resolve('./handler.cjs'), threads: 2 });
      const result = await engine.run([1, 2, 3, 4]);
      await engine.close();
      ${REPORT}
    })();
  `,
};

export const TYPESCRIPT: Readonly<Record<string, string>> = {
  'tsconfig.json': JSON.stringify({
    compilerOptions: {
      target: 'ES2023',
      module: 'NodeNext',
      types: ['node'],
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      // The declarations of the package themselves are what is checked.
      skipLibCheck: false,
      outDir: 'out',
      rootDir: '.',
    },
    files: ['app.ts', 'handler.ts'],
  }),
  'handler.ts': `
    import type { Handler, HandlerContext } from 'sluicegate';
    const handler: Handler<number, number> = async (item: number, context: HandlerContext): Promise<number> => {
      const attempt: number = context.attempt;
      return item * 2 * attempt;
    };
    export default handler;
  `,
  'app.ts': `
    import { createEngine, InvalidOptionError, type EngineOptions, type Outcome } from 'sluicegate';
    import http from 'sluicegate/http';
    import * as simulator from 'sluicegate/simulator';
    const options: EngineOptions = { handler: new URL('./handler.js', import.meta.url), threads: 2, timeoutMs: 5000 };
    // @ts-expect-error: the declarations must refuse an option that does not exist
    const misspelt: EngineOptions = { timeout: 5000 };
    try {
      createEngine(misspelt);
      throw new Error('not refused');
    } catch (error) {
      if (!(error instanceof InvalidOptionError) || error.option !== 'timeout') throw error;
    }
    if (typeof http !== 'function' || Object.keys(simulator).length === 0) throw new Error('an entry point is empty');
    const engine = createEngine(options);
    const result = await engine.run([1, 2, 3, 4], { onProgress: (progress) => void progress.done.toFixed() });
    await engine.close();
    const first: Outcome | undefined = result.outcomes[0];
    if (first?.index !== 0) throw new Error('not in order');
    ${REPORT}
  `,
};

/** Every entry point of the package's `exports`, reached by import and by require. */
export const ENTRY_POINTS: Readonly<Record<string, string>> = {
  'import.mjs': `
    for (const name of process.argv.slice(2)) await import(name, name.endsWith('.json') ? { with: { type: 'json' } } : {});
    console.log(JSON.stringify('imported'));
  `,
  'require.cjs': `
    for (const name of process.argv.slice(2)) require(name);
    console.log(JSON.stringify('required'));
  `,
};
