import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { describe, it, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DYNAMIC_BATCH_DEFAULTS } from '../../lib/batch/dynamic-batch.ts';
import { ENVIRONMENT } from '../../lib/environment.ts';
import * as surface from '../../lib/index.ts';
import { createEngine, ERROR_CODES, SluicegateError } from '../../lib/index.ts';
import { KIS_RULES } from '../../lib/kis/index.ts';
import { KIS_MARKETS } from '../../lib/kis/requests.ts';
import { DEFAULT_RULES } from '../../lib/recover/default-rules.ts';
import { DEFAULTS } from '../../lib/resolve-options.ts';
import { type SimulatorOptions, startSimulator } from '../../lib/simulator/index.ts';
import { membersOf } from './declarations.ts';
import { Examples, expectedLines, isAsExpected } from './examples.ts';
import { parseMarkdown } from './markdown.ts';
import { messageRowOf, rowOf } from './rule-rows.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const NAMES = ['README.md', 'CHANGELOG.md', ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`)];
const documents = new Map(NAMES.map((name) => [name, parseMarkdown(read(name))]));

/** Where readers may be sent. Anything else is a name of the place where this was written, or a mistake. */
const KNOWN_HOSTS = /^(?:(?:[\w-]+\.)?example\.com|nodejs\.org|keepachangelog\.com|semver\.org|127\.0\.0\.1)$/;
const MACHINE_PATH = /(?<![\w.:/`-])(?:\/(?:work|home|root|tmp|usr|var|opt|mnt|Users)\/|[A-Z]:\\Users)/;

function read(name: string): string {
  return readFileSync(join(ROOT, name), 'utf8');
}

function documentOf(name: string) {
  const found = documents.get(name);
  assert.ok(found, `${name} is missing`);
  return found;
}

function declared(file: string, name: string): string[] {
  return membersOf(read(`dist/${file}`), name);
}

/** First cells of the rows of a document; of a function without its brackets. */
function listedIn(name: string): Set<string> {
  return new Set(documentOf(name).rows.map(([first = '']) => first.replace(/\(\)$/, '')));
}

function assertListed(name: string, wanted: readonly string[]): void {
  const listed = listedIn(name);
  assert.ok(wanted.length > 0);
  assert.deepEqual(
    wanted.filter((one) => !listed.has(one)),
    [],
    `missing in the tables of ${name}`,
  );
}

/** The upstream of the examples of a document: a server that limits exactly as they say. */
function upstreamOf(name: string): SimulatorOptions {
  if (name === 'docs/kis.md') return { kis: { tokenIntervalMs: 0 }, limit: 18 };
  return { kis: false, limit: 20, refusal: '429' };
}

/** Run the examples of a document. */
async function runExamples(t: TestContext, name: string): Promise<void> {
  const { blocks } = documentOf(name);
  const simulator = await startSimulator(upstreamOf(name));
  t.after(() => simulator.close());
  const examples = new Examples(blocks, ROOT, simulator.url);
  t.after(() => examples.remove());

  await t.test('have the right types', ({ signal }) => examples.compile(signal));
  for (const program of examples.programs) {
    await t.test(`run: line ${program.block.line}`, async ({ signal }) => {
      await simulator.reset();
      const printed = await examples.run(program, signal);
      const expected = expectedLines(program.block);
      if (expected === undefined) return;
      const isSame =
        printed.length === expected.length && printed.every((line, at) => isAsExpected(line, expected[at] ?? ''));
      if (!isSame) assert.deepEqual(printed, expected);
    });
  }
}

describe('the examples', { concurrency: 2 }, () => {
  for (const [name, { blocks }] of documents) {
    if (blocks.some(({ language }) => language === 'js' || language === 'ts')) {
      it(`of ${name}`, (t) => runExamples(t as TestContext, name));
    }
  }

  it('are there, in every document for users', () => {
    const withExamples = NAMES.filter((name) => documentOf(name).blocks.some(({ language }) => language === 'js'));
    assert.deepEqual(
      ['README.md', 'docs/errors.md', 'docs/handlers.md', 'docs/kis.md', 'docs/options.md'].filter(
        (name) => !withExamples.includes(name),
      ),
      [],
    );
  });

  it('are in a language that is checked, or are no program', () => {
    for (const [name, { blocks }] of documents) {
      for (const { language, line } of blocks) {
        assert.ok(['js', 'ts', 'sh', 'json', 'text'].includes(language), `${name}, line ${line}: "${language}"`);
      }
    }
  });

  it('name scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    let count = 0;
    for (const [name] of documents) {
      for (const [, script = ''] of read(name).matchAll(/npm run (?:-s )?([\w:-]+)/g)) {
        assert.ok(script in scripts, `${name}: npm run ${script}`);
        count++;
      }
    }
    assert.ok(count > 0);
  });
});

describe('the links', () => {
  it('lead to files and headings that exist', () => {
    for (const [name, { links }] of documents) {
      for (const { target, line } of links) {
        const where = `${name}, line ${line}: ${target}`;
        if (URL.canParse(target)) {
          assert.match(new URL(target).hostname, KNOWN_HOSTS, where);
          continue;
        }
        const [path = '', anchor] = target.split('#');
        const file = path === '' ? name : join(dirname(name), path).replaceAll('\\', '/');
        assert.ok(existsSync(resolve(ROOT, file)), where);
        if (anchor !== undefined) assert.ok(documentOf(file).anchors.has(anchor), where);
      }
    }
  });

  it('of the README reach every document', () => {
    const targets = new Set(documentOf('README.md').links.map(({ target }) => target.split('#')[0]));
    const others = NAMES.filter((name) => name !== 'README.md');
    assert.deepEqual(
      others.filter((name) => !targets.has(name)),
      [],
    );
  });
});

describe('the documents', () => {
  it('name no machine and no host that is none of theirs', () => {
    for (const [name] of documents) {
      const text = read(name);
      assert.doesNotMatch(text, MACHINE_PATH, name);
      assert.ok(hostname().length < 4 || !text.includes(hostname()), name);
      for (const [, host = ''] of text.matchAll(/\bhttps?:\/\/(?:[^\s/@`'"]+@)?([\w.-]+)/g)) {
        assert.match(host, KNOWN_HOSTS, name);
      }
    }
  });

  it('list every option, and none that does not exist', () => {
    const options = 'lib/options.d.ts';
    const wanted = [
      ...declared(options, 'EngineOptions'),
      ...declared(options, 'RateLimit').map((option) => `rate.${option}`),
      ...declared(options, 'RetryOptions').map((option) => `retry.${option}`),
      ...declared(options, 'CircuitOptions').map((option) => `circuit.${option}`),
      ...declared('lib/types.d.ts', 'HttpOptions').map((option) => `http.${option}`),
      ...declared('lib/statistics/options.d.ts', 'StatisticsOptions').map((option) => `statistics.${option}`),
      ...declared('lib/statistics/options.d.ts', 'SaveOptions').map((option) => `statistics.${option}`),
      ...declared(options, 'RunOptions'),
      ...declared(options, 'CloseOptions'),
    ];
    assertListed('docs/options.md', wanted);
    const known = new Set(wanted);
    const dotted = [...listedIn('docs/options.md')].filter((cell) =>
      /^(?:rate|retry|circuit|http|statistics)\.\w+$/.test(cell),
    );
    assert.deepEqual(
      dotted.filter((cell) => !known.has(cell)),
      [],
    );
  });

  it('say the default of every option that has one', () => {
    const { circuit, retry, rate, ...top } = DEFAULTS;
    const wanted = [
      ...Object.entries(top),
      ...Object.entries(retry).map(([key, value]) => [`retry.${key}`, value] as const),
      ...Object.entries(rate).map(([key, value]) => [`rate.${key}`, value] as const),
      ...Object.entries(circuit).map(([key, value]) => [`circuit.${key}`, value] as const),
    ].filter(([key]) => key !== 'itemsPerThread' && key !== 'maxItemsWithRate');
    const { rows } = documentOf('docs/options.md');
    for (const [option, value] of wanted) {
      const said = rows.find(([first]) => first === option)?.[1];
      assert.equal(said, typeof value === 'string' ? `'${value}'` : String(value), option);
    }
  });

  it('list how batches are handed out, and every variable of the environment', () => {
    assertListed('docs/batches.md', declared('lib/batch/feeder.d.ts', 'GroupReport'));
    const { rows } = documentOf('docs/batches.md');
    for (const [key, value] of Object.entries(DYNAMIC_BATCH_DEFAULTS)) {
      assert.equal(rows.find(([first]) => first === `dynamicBatch.${key}`)?.[1], String(value), key);
    }
    assertListed(
      'docs/options.md',
      ENVIRONMENT.map(({ name }) => name),
    );
  });

  it('show the recovery table as it is', () => {
    const types = new Set(DEFAULT_RULES.map(({ type }) => type));
    const { rows } = documentOf('docs/recovery.md');
    const rowsOf = (cells: number) => rows.filter((row) => types.has(row[0] ?? '') && row.length === cells);
    assert.deepEqual(rowsOf(4), DEFAULT_RULES.map(rowOf));
    assert.deepEqual(rowsOf(3), DEFAULT_RULES.map(messageRowOf));
    assertListed('docs/recovery.md', declared('lib/types.d.ts', 'RecoveryRule'));
  });

  it('list every event, and every field of statistics, progress and summary', () => {
    assertListed('docs/options.md', declared('lib/events.d.ts', 'EngineEvents'));
    assertListed('docs/options.md', declared('lib/engine-stats.d.ts', 'EngineStats'));
    assertListed('docs/options.md', declared('lib/statistics/statistics.d.ts', 'Statistics'));
    assertListed('docs/options.md', declared('lib/batch/progress.d.ts', 'Progress'));
    assertListed('docs/options.md', declared('lib/batch/summary.d.ts', 'BatchSummary'));
  });

  it('list all that a handler gets, and all that an HTTP item may have', () => {
    assertListed('docs/handlers.md', declared('lib/types.d.ts', 'HandlerContext'));
    assertListed('docs/handlers.md', declared('lib/types.d.ts', 'HttpItem'));
    assertListed('docs/handlers.md', declared('lib/types.d.ts', 'DetailedVerdict'));
    assertListed('docs/handlers.md', declared('lib/simulator/types.d.ts', 'SimulatorOptions'));
  });

  it('list all that the KIS client takes and does, every market and every code', () => {
    const kis = 'docs/kis.md';
    assertListed(kis, declared('lib/kis/options.d.ts', 'KisClientOptions'));
    assertListed(kis, declared('lib/kis/client.d.ts', 'KisClient'));
    const text = read(kis);
    const codes = KIS_RULES.flatMap(({ when }) => when.upstreamCode ?? []);
    assert.ok(codes.length > 20);
    for (const word of [...KIS_MARKETS, ...codes]) assert.ok(text.includes(`\`${word}\``), word);
    const { rows } = documentOf(kis);
    for (const { type, when, maxAttempts = 1 } of KIS_RULES) {
      if (when.upstreamCode === undefined) continue;
      const row = rows.find(([, second]) => second === type);
      assert.equal(row?.at(-1), String(maxAttempts), type);
      for (const code of [when.upstreamCode].flat()) assert.ok(row?.[0]?.includes(code), code);
    }
  });

  it('explain every code of an item, and no other', () => {
    const explained = documentOf('docs/errors.md').headings.map((heading) => heading.replaceAll('`', ''));
    assert.deepEqual(
      explained.filter((heading) => /^[A-Z_]+$/.test(heading)),
      [...ERROR_CODES],
    );
    assertListed('docs/errors.md', ERROR_CODES);
    assertListed('docs/errors.md', declared('lib/types.d.ts', 'ErrorRecord'));
  });

  it('explain every class of errors', () => {
    const classes = Object.entries(surface).filter(
      ([, value]) => typeof value === 'function' && value.prototype instanceof SluicegateError,
    );
    assert.ok(classes.length >= 6);
    assertListed(
      'docs/errors.md',
      classes.map(([name]) => name),
    );
  });

  it('leave a place for the figures', () => {
    const text = read('README.md');
    const start = text.indexOf('<!-- figures:start -->');
    assert.ok(start !== -1 && text.indexOf('<!-- figures:end -->') > start);
  });
});

test('an engine knows the statistics that the documents list', async (t) => {
  const engine = createEngine({ threads: 1 });
  t.after(() => engine.close());
  const listed = listedIn('docs/options.md');
  for (const field of Object.keys(engine.stats())) assert.ok(listed.has(field), field);
});

test('closing an engine is no loss of threads, as the documents say of that event', async () => {
  const engine = createEngine({ threads: 2 });
  let exits = 0;
  engine.on('workerExit', () => exits++);
  await engine.ready();
  await engine.close();
  assert.deepEqual([exits, engine.stats().workerExits], [0, 0]);
});
