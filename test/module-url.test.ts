import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { InvalidOptionError } from '../lib/errors.ts';
import { resolveModuleUrl } from '../lib/module-url.ts';
import type { EngineOptions } from '../lib/options.ts';
import { resolveOptions } from '../lib/resolve-options.ts';

let cwd = '';

function write(path: string, text = 'export default () => 1;\n'): string {
  const file = join(cwd, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
}

function writePackage(name: string, manifest: object, files: string[]): void {
  write(`node_modules/${name}/package.json`, JSON.stringify({ name, version: '1.0.0', ...manifest }));
  for (const file of files)
    write(`node_modules/${name}/${file}`, file.endsWith('.cjs') ? 'module.exports = 1;' : undefined);
}

const resolved = (specifier: unknown) => resolveModuleUrl('handler', specifier, cwd);
const urlOf = (path: string) => pathToFileURL(join(cwd, path)).href;

function refusal(specifier: unknown): InvalidOptionError {
  try {
    resolved(specifier);
  } catch (error) {
    assert.ok(error instanceof InvalidOptionError, String(error));
    assert.equal(error.option, 'handler');
    return error;
  }
  assert.fail(`not refused: ${String(specifier)}`);
}

before(() => {
  // Real path: where the temporary folder is a link, package names resolve to what is behind it.
  cwd = realpathSync(mkdtempSync(join(tmpdir(), 'sluicegate-module-url-')));
  write('package.json', JSON.stringify({ name: 'self', exports: { './handler': './handler.mjs' } }));
  write('handler.mjs');
  write('odd name #1 100%?.mjs');
  write('nested/handler.cjs', 'module.exports = () => 1;\n');
  writePackage(
    'esm-only',
    { type: 'module', exports: { '.': { import: './main.js' }, './sub': { import: './sub.js' } } },
    ['main.js', 'sub.js'],
  );
  writePackage('dual', { exports: { '.': { require: './main.cjs', import: './main.mjs' } } }, ['main.cjs', 'main.mjs']);
  writePackage('cjs-only', { exports: { '.': { require: './main.cjs' } } }, ['main.cjs']);
  writePackage('legacy', { main: './lib/main' }, ['lib/main.js', 'handlers/a.js']);
  writePackage('@scope/pkg', { type: 'module', exports: { './sub': './sub.js' } }, ['sub.js']);
  writePackage('broken', { exports: { '.': './missing.js' } }, []);
  // This package itself, installed as a link, as in a workspace.
  symlinkSync(fileURLToPath(new URL('../../', import.meta.url)), join(cwd, 'node_modules/sluicegate'), 'dir');
});

after(() => rmSync(cwd, { recursive: true, force: true }));

describe('resolveModuleUrl', () => {
  it('takes file URLs, as objects and as strings', () => {
    assert.equal(resolved(new URL(urlOf('handler.mjs'))), urlOf('handler.mjs'));
    assert.equal(resolved(urlOf('handler.mjs')), urlOf('handler.mjs'));
    assert.equal(resolved(`${urlOf('handler.mjs')}?v=2`), `${urlOf('handler.mjs')}?v=2`);
  });

  it('takes data URLs', () => {
    const url = 'data:text/javascript,export default () => 1';
    assert.equal(resolved(url), new URL(url).href);
  });

  it('takes absolute and relative paths, and escapes what a URL would misread', () => {
    assert.equal(resolved(join(cwd, 'handler.mjs')), urlOf('handler.mjs'));
    assert.equal(resolved('./handler.mjs'), urlOf('handler.mjs'));
    assert.equal(resolved('./nested/../handler.mjs'), urlOf('handler.mjs'));
    assert.equal(resolveModuleUrl('handler', '../handler.mjs', join(cwd, 'nested')), urlOf('handler.mjs'));
    assert.match(resolved('./odd name #1 100%?.mjs'), /odd%20name%20%231%20100%25%3F\.mjs$/);
  });

  it('reads a Windows path as one, on every platform', { skip: process.platform === 'win32' }, () => {
    assert.match(refusal('C:\\handlers\\a b.mjs').message, /there is none at \/C:\/handlers\/a b\.mjs/);
    assert.match(refusal('c:/handlers/a.mjs').message, /there is none at \/c:\/handlers\/a\.mjs/);
    assert.match(refusal('\\\\server\\share\\a.mjs').message, /a file that can be read/);
  });

  it('takes package names as an import in the working directory would', () => {
    assert.equal(resolved('esm-only'), urlOf('node_modules/esm-only/main.js'));
    assert.equal(resolved('esm-only/sub'), urlOf('node_modules/esm-only/sub.js'));
    assert.equal(resolved('dual'), urlOf('node_modules/dual/main.mjs'));
    assert.equal(resolved('@scope/pkg/sub'), urlOf('node_modules/@scope/pkg/sub.js'));
    assert.equal(resolved('self/handler'), urlOf('handler.mjs'));
    assert.equal(resolveModuleUrl('handler', 'esm-only', join(cwd, 'nested')), urlOf('node_modules/esm-only/main.js'));
  });

  it('takes packages that only require() finds', () => {
    assert.equal(resolved('cjs-only'), urlOf('node_modules/cjs-only/main.cjs'));
    assert.equal(resolved('legacy'), urlOf('node_modules/legacy/lib/main.js'));
    assert.equal(resolved('legacy/handlers/a'), urlOf('node_modules/legacy/handlers/a.js'));
  });

  it('finds a module that can be imported and is the one that it names', async () => {
    const module = (await import(resolved('esm-only'))) as { default: () => number };
    assert.equal(module.default(), 1);
  });

  it('refuses a function and says why', () => {
    assert.match(
      refusal(() => 1).message,
      /got a function; .*A function cannot cross threads: move it to a module of its own, as the default export/,
    );
  });

  it('refuses what is not there', () => {
    assert.match(refusal('./missing.mjs').message, /there is none at .*missing\.mjs/);
    assert.match(refusal(urlOf('missing.mjs')).message, /there is none at/);
    assert.match(refusal('/missing/handler.mjs').message, /there is none at/);
    assert.match(refusal('./handler.mjs/below').message, /there is none at|can be read/);
    assert.match(refusal('not-installed').message, /installed where the working directory sees it/);
    assert.match(refusal('esm-only/not-exported').message, /subpath that it exports/);
    assert.match(refusal('broken').message, /installed/);
    assert.match(refusal('@scope').message, /installed/);
  });

  it('tells a file without "./" from a package', () => {
    assert.match(refusal('handler.mjs').message, /for the file of that name write "\.\/handler\.mjs"/);
    assert.match(refusal('nested/handler.cjs').message, /write "\.\/nested\/handler\.cjs"/);
  });

  it('refuses directories', () => {
    for (const directory of ['.', './nested', `${cwd}/`, urlOf('nested')]) {
      assert.match(refusal(directory).message, /is a directory; name the module in it/);
    }
  });

  it('refuses other URLs, built-in modules and what is no name at all', () => {
    for (const specifier of ['https://example.com/a.mjs', 'node:fs', 'blob:x', 'file://', 'file://elsewhere/a.mjs']) {
      assert.ok(refusal(specifier).allowed.length > 0);
    }
    for (const specifier of [
      'fs',
      'fs/promises',
      '',
      ' ',
      '@',
      '#x',
      '%2e',
      './a\0b',
      5,
      5n,
      null,
      {},
      [],
      Symbol('x'),
    ]) {
      assert.ok(refusal(specifier).allowed.length > 0);
    }
  });
});

describe('resolveOptions', () => {
  it('resolves http.dispatcher in the same way', () => {
    const resolvedOptions = resolveOptions({ http: { dispatcher: './handler.mjs' } }, cwd);
    assert.equal(resolvedOptions.dispatcherUrl, urlOf('handler.mjs'));
    assert.throws(() => resolveOptions({ http: { dispatcher: './missing.mjs' } }, cwd), {
      name: 'InvalidOptionError',
      option: 'http.dispatcher',
    });
  });

  it('knows the built-in handler by its package name', async () => {
    // biome-ignore lint/correctness/noUnresolvedImports: the package by its own name, as others import it.
    const { createEngine } = await import('sluicegate');
    for (const handler of [undefined, 'sluicegate/http']) {
      const engine = createEngine({ threads: 1, ...(handler === undefined ? {} : { handler }) } as EngineOptions);
      assert.equal(engine.statistics().settings.handler, 'http');
      await engine.close();
    }
    assert.equal(resolveOptions({}, cwd).handler.builtin, 'http');
    assert.equal(resolveOptions({ handler: './handler.mjs' }, cwd).handler.builtin, undefined);
  });
});
