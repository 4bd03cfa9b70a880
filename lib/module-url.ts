import { type Stats, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve, win32 } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { describeValue, InvalidOptionError } from './errors.ts';

const RELATIVE_PATH = /^\.{1,2}(?:[\\/]|$)/;
const WINDOWS_DRIVE_OR_SHARE = /^(?:[a-z]:[\\/]|\\\\)/i;
const URL_SCHEME = /^[a-z][a-z0-9+.-]*:/i;

/** The conditions under which a worker's `import()` looks at a package's `exports`. */
const IMPORT_CONDITIONS = new Set(['node', 'import', 'module-sync', 'node-addons']);

const ALLOWED =
  'the file URL, the path (absolute, or relative to the working directory and starting with "./" or "../") ' +
  'or the package name of a module';

/**
 * Find the module that a worker thread is to import, in the way that an `import` in a file of the working directory
 * would find it, and make sure that it is there: a thread that fails to import reports it much later.
 *
 * @param option path of the option, for the error
 * @param specifier `file:` or `data:` URL, absolute path (Windows paths too), relative path, or package name
 * @param cwd absolute path of the folder from which relative paths and package names are resolved
 * @returns the module's URL
 * @throws InvalidOptionError if it is none of these, or no such file or package exists
 */
export function resolveModuleUrl(option: string, specifier: unknown, cwd: string): string {
  if (typeof specifier === 'function') {
    throw new InvalidOptionError(
      option,
      specifier,
      `${ALLOWED}. A function cannot cross threads: move it to a module of its own, as the default export, and give ` +
        'the path of that module',
    );
  }
  if (specifier instanceof URL) return checkUrl(option, specifier.href, specifier);
  if (typeof specifier !== 'string' || specifier === '') throw new InvalidOptionError(option, specifier, ALLOWED);
  if (RELATIVE_PATH.test(specifier)) return checkUrl(option, specifier, pathToFileURL(resolve(cwd, specifier)));
  if (WINDOWS_DRIVE_OR_SHARE.test(specifier)) {
    return checkUrl(option, specifier, pathToFileURL(win32.normalize(specifier), { windows: true }));
  }
  if (specifier.startsWith('/')) return checkUrl(option, specifier, pathToFileURL(specifier));
  if (URL_SCHEME.test(specifier)) {
    const url = URL.canParse(specifier) ? new URL(specifier) : undefined;
    if (url === undefined) throw new InvalidOptionError(option, specifier, ALLOWED);
    return checkUrl(option, specifier, url);
  }
  return resolvePackage(option, specifier, cwd);
}

function checkUrl(option: string, given: string, url: URL): string {
  if (url.protocol === 'data:') return url.href;
  if (url.protocol !== 'file:') {
    throw new InvalidOptionError(option, given, `${ALLOWED}; of URLs only "file:" and "data:"`);
  }
  let path = url.href;
  let found: Stats | undefined;
  try {
    path = fileURLToPath(url);
    found = statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw new InvalidOptionError(option, given, `a file that can be read: ${path} cannot (${codeOf(error)})`);
  }
  if (found === undefined) {
    throw new InvalidOptionError(option, given, `a file that exists: there is none at ${path}`);
  }
  if (found.isDirectory()) {
    throw new InvalidOptionError(option, given, `a file: ${path} is a directory; name the module in it`);
  }
  return url.href;
}

function resolvePackage(option: string, name: string, cwd: string): string {
  const parent = pathToFileURL(join(cwd, 'importer.js'));
  const url = resolveLikeImport(name, parent) ?? resolveLikeRequire(name, parent);
  if (url !== undefined) return url.href;
  const path = resolve(cwd, name);
  const hint = isFile(path)
    ? `; for the file of that name write ${describeValue(`./${name}`)}`
    : '; the path of a file starts with "./", "../" or "/"';
  throw new InvalidOptionError(
    option,
    name,
    `a package (or a subpath that it exports) that is installed where the working directory sees it${hint}`,
  );
}

/**
 * `import.meta.resolve` looks from this file, and its second argument is behind a flag: this is the same algorithm
 * with a parent. Loaded when first needed, because most engines name a file or use the built-in handler.
 */
function resolveLikeImport(name: string, parent: URL): URL | undefined {
  const require = createRequire(import.meta.url);
  const { moduleResolve } = require('import-meta-resolve') as typeof import('import-meta-resolve');
  try {
    const url = moduleResolve(name, parent, IMPORT_CONDITIONS, false);
    return url.protocol === 'file:' ? url : undefined;
  } catch {
    return undefined;
  }
}

/** Finds what `import` does not: paths without an extension, packages for CommonJS only, Yarn's Plug'n'Play. */
function resolveLikeRequire(name: string, parent: URL): URL | undefined {
  try {
    const path = createRequire(parent).resolve(name);
    // A built-in module resolves to its own name.
    return isFile(path) ? pathToFileURL(path) : undefined;
  } catch {
    return undefined;
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}
