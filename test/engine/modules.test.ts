import assert from 'node:assert/strict';
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { Engine } from '../../lib/engine.ts';
import type { EngineOptions } from '../../lib/options.ts';
import { ends, failure, openEngine, success } from './support.ts';

/** A folder with these files, the working directory until the test ends. */
async function enterFolder(t: TestContext, files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'sluicegate-modules-')));
  const before = process.cwd();
  t.after(async () => {
    process.chdir(before);
    await rm(folder, { recursive: true, force: true });
  });
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
  process.chdir(folder);
  return folder;
}

const SETUP = 'data => ({ ...data, isSetUp: true })';
const HANDLER = '(item, context) => ({ item, state: context.state })';
const CLASSIFY = "settled => settled.ok && settled.value.item === 'bad' ? 'fatal' : undefined";

/** Without setup and classify; with them. */
const BARE = ['ok', undefined] as const;
const WHOLE = ['INVALID_RESPONSE', { from: 'the test', isSetUp: true }] as const;

const FORMS: Record<string, readonly [text: string, expected: readonly [string, unknown]]> = {
  'bare.mjs': [`export default ${HANDLER};`, BARE],
  'whole.mjs': [
    `export default ${HANDLER}; export const setup = ${SETUP}; export const classify = ${CLASSIFY};`,
    WHOLE,
  ],
  'late.mjs': [
    `const setup = await Promise.resolve(${SETUP}); export { setup }; export default ${HANDLER}; export const classify = ${CLASSIFY};`,
    WHOLE,
  ],
  'function.cjs': [`module.exports = ${HANDLER};`, BARE],
  'function-with-parts.cjs': [
    `module.exports = ${HANDLER}; module.exports.setup = ${SETUP}; module.exports.classify = ${CLASSIFY};`,
    WHOLE,
  ],
  'object.cjs': [`module.exports = { default: ${HANDLER}, setup: ${SETUP}, classify: ${CLASSIFY} };`, WHOLE],
  'exports.cjs': [`exports.default = ${HANDLER}; exports.setup = ${SETUP}; exports.classify = ${CLASSIFY};`, WHOLE],
  'transpiled.cjs': [
    `Object.defineProperty(exports, '__esModule', { value: true }); exports.setup = ${SETUP}; exports.classify = ${CLASSIFY}; exports.default = ${HANDLER};`,
    WHOLE,
  ],
  'no-extension-type.js': [`module.exports = ${HANDLER};`, BARE],
};

test('ES modules and CommonJS modules in all their forms', async (t) => {
  await enterFolder(t, Object.fromEntries(Object.entries(FORMS).map(([name, [text]]) => [name, text])));
  for (const [name, [, [end, state]]] of Object.entries(FORMS)) {
    await t.test(name, async (inner) => {
      const engine = openEngine<string, { item: string; state: unknown }>(inner, `./${name}`, {
        threads: 1,
        handlerData: { from: 'the test' },
      });
      const { outcomes } = await engine.run(['good', 'bad']);
      assert.deepEqual(success(outcomes[0]).value, { item: 'good', state });
      assert.deepEqual(ends(outcomes), ['ok', end]);
    });
  }
});

test('by path, by URL, by package name', async (t) => {
  const handler = `export default ${HANDLER};`;
  const folder = await enterFolder(t, {
    'plain.mjs': handler,
    'with space & ümlaut #1.mjs': handler,
    'node_modules/a-handler/package.json': JSON.stringify({
      name: 'a-handler',
      type: 'module',
      exports: { '.': './main.js', './other': { import: './other.js', default: './missing.js' } },
    }),
    'node_modules/a-handler/main.js': handler,
    'node_modules/a-handler/other.js': handler,
    'node_modules/@scope/old/package.json': JSON.stringify({ name: '@scope/old', main: 'lib/handler' }),
    'node_modules/@scope/old/lib/handler.js': `module.exports = ${HANDLER};`,
  });
  for (const handler of [
    './plain.mjs',
    join(folder, 'plain.mjs'),
    pathToFileURL(join(folder, 'plain.mjs')),
    pathToFileURL(join(folder, 'plain.mjs')).href,
    './with space & ümlaut #1.mjs',
    join(folder, 'with space & ümlaut #1.mjs'),
    'a-handler',
    'a-handler/other',
    '@scope/old',
    `data:text/javascript,export default ${HANDLER}`,
  ]) {
    await t.test(String(handler).replace(folder, '...'), async (inner) => {
      const engine = openEngine<string>(inner, handler, { threads: 1 });
      assert.deepEqual(ends((await engine.run(['good'])).outcomes), ['ok']);
    });
  }
});

async function assertFailsEverywhere(engine: Engine<unknown, unknown>, code: string, message: RegExp): Promise<Error> {
  const expected = { code, message };
  await assert.rejects(engine.run(['a', 'b']), expected);
  // From now on at once, and from every side.
  await assert.rejects(engine.run([]), expected);
  await assert.rejects(engine.ready(), expected);
  await assert.rejects(engine.stream(['a']).next(), expected);
  const { batches, pending, inFlight } = engine.stats();
  assert.deepEqual({ batches, pending, inFlight }, { batches: 0, pending: 0, inFlight: 0 });
  const error = await engine.run(['a']).then(
    () => assert.fail('it ran'),
    (reason: Error) => reason,
  );
  await engine.close();
  await assert.rejects(engine.run(['a']), { code: 'ENGINE_CLOSED' });
  return error;
}

const BROKEN: Record<
  string,
  [text: string, code: string, message: RegExp, cause?: RegExp | undefined, options?: EngineOptions]
> = {
  'a syntax error': ['export default function (', 'HANDLER_LOAD', /could not be imported/, /Unexpected|missing/],
  'a throw at the top': ["throw new Error('at the top')", 'HANDLER_LOAD', /could not be imported/, /at the top/],
  'an import that is missing': ["import './nowhere.js'", 'HANDLER_LOAD', /could not be imported/, /nowhere/],
  'no default export': ['export const handler = 1', 'HANDLER_LOAD', /default export; it has undefined/],
  'a default export that is no function': ['export default { a: 1 }', 'HANDLER_LOAD', /as its default export/],
  'a setup that is no function': [
    'export default () => 1; export const setup = 5',
    'HANDLER_LOAD',
    /"setup".*must be a function; it is 5/,
  ],
  'a classify that is no function': [
    "export default () => 1; export const classify = 'ok'",
    'HANDLER_LOAD',
    /"classify".*must be a function; it is "ok"/,
  ],
  'a setup that throws': [
    "export default () => 1; export function setup() { throw new Error('not today') }",
    'HANDLER_LOAD',
    /The setup of the handler module .* failed/,
    /not today/,
  ],
  'a setup that rejects with null': [
    'export default () => 1; export async function setup() { throw null }',
    'HANDLER_LOAD',
    /The setup of the handler module .* failed/,
  ],
  'a setup that never ends': [
    'export default () => 1; export const setup = () => new Promise(() => {})',
    'HANDLER_LOAD',
    /setupTimeoutMs \(100 ms\)/,
    undefined,
    { setupTimeoutMs: 100 },
  ],
  'a setup that loops': [
    'export default () => 1; export const setup = () => { for (;;); }',
    'HANDLER_LOAD',
    /setupTimeoutMs \(100 ms\)/,
    undefined,
    { setupTimeoutMs: 100 },
  ],
  'an import that never ends': [
    'await new Promise(() => {}); export default () => 1',
    'HANDLER_LOAD',
    /setupTimeoutMs \(100 ms\)/,
    undefined,
    { setupTimeoutMs: 100 },
  ],
  'an end of the thread at import': ['process.exit(3)', 'WORKER_START', /5 worker threads in a row/, /code 3/],
  'a throw in a timer at import': [
    "setTimeout(() => { throw new Error('in a timer') }); await new Promise(() => {})",
    'WORKER_START',
    /5 worker threads in a row/,
    /in a timer/,
  ],
  'too little memory': [
    'const a = []; for (;;) a.push({ x: Math.random() })',
    'WORKER_START',
    /resourceLimits/,
    /memory/,
    { resourceLimits: { maxOldGenerationSizeMb: 8 } },
  ],
};

for (const [what, [text, code, message, cause, options]] of Object.entries(BROKEN)) {
  test(`a handler module with ${what}`, async (t) => {
    await enterFolder(t, { 'handler.mjs': text });
    const engine = openEngine(t, './handler.mjs', options);
    const error = await assertFailsEverywhere(engine, code, message);
    if (cause !== undefined) assert.match(String((error.cause as Error | undefined)?.message), cause);
  });
}

test('a CommonJS module without a function', async (t) => {
  await enterFolder(t, { 'handler.cjs': 'module.exports = { setup() {} }' });
  await assertFailsEverywhere(openEngine(t, './handler.cjs'), 'HANDLER_LOAD', /default export; it has undefined/);
});

test('a module that is not there is refused by createEngine', async (t) => {
  await enterFolder(t, {});
  for (const handler of ['./nowhere.js', 'no-such-package', 'file:///nowhere/at/all.js', '']) {
    assert.throws(() => openEngine(t, handler), { code: 'INVALID_OPTION', option: 'handler' });
  }
});

test('close while threads are still setting up', async (t) => {
  await enterFolder(t, { 'handler.mjs': 'export default () => 1; export const setup = () => new Promise(() => {})' });
  const unused = openEngine(t, './handler.mjs');
  const ready = assert.rejects(unused.ready(), { code: 'ENGINE_CLOSED' });
  await unused.close();
  await ready;

  const waiting = openEngine(t, './handler.mjs');
  const running = waiting.run(['a']);
  await waiting.close({ mode: 'abort' });
  const { error } = failure((await running).outcomes[0]);
  assert.deepEqual([error.code, error.possiblyExecuted], ['ABORTED', false]);
});
