import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Block } from './markdown.ts';

const execFileAsync = promisify(execFile);

/** The upstream of all examples. */
const API = 'https://api.example.com';
/** What examples may import, beside Node's own modules. */
const PACKAGES = ['undici', '@types/node'];
/** What examples find in the environment. */
const ENVIRONMENT = { KIS_APP_KEY: 'an-app-key', KIS_APP_SECRET: 'an-app-secret' };
/** What a line of an example says that it prints: `// -> 3 items`. */
const EXPECTED = /\/\/ -> (.*)$/;

const COMPILER_OPTIONS = {
  target: 'ES2023',
  lib: ['ES2023', 'ESNext.Disposable'],
  module: 'NodeNext',
  types: ['node'],
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  verbatimModuleSyntax: true,
  // The declarations of the package are checked once, where it is installed.
  skipLibCheck: true,
  rootDir: '.',
};

/** A program of a document: a block that is not the file of another one. */
export interface Program {
  /** What to run, after the compiler if need be. */
  readonly file: string;
  readonly block: Block;
}

/**
 * The examples of one document, as files in a folder of their own in which `sluicegate` is this package. A block that is
 * named is a module for those that follow; all others are programs.
 */
export class Examples {
  readonly folder: string;
  readonly programs: readonly Program[];
  readonly #root: string;
  readonly #isTyped: boolean;
  readonly #isUntyped: boolean;

  /**
   * @param root the folder of this package
   * @param url of the server that stands in for the upstream
   */
  constructor(blocks: readonly Block[], root: string, url: string) {
    this.#root = root;
    this.folder = realpathSync(mkdtempSync(join(tmpdir(), 'sluicegate-docs-')));
    this.#link('sluicegate', root);
    for (const name of PACKAGES) this.#link(name, join(root, 'node_modules', name));
    this.#write('package.json', JSON.stringify({ private: true, type: 'module' }));

    const code = blocks.filter(({ language }) => language === 'js' || language === 'ts');
    const written = new Map<string, number>();
    const programs: Program[] = [];
    for (const block of code) {
      const file = block.file ?? `line-${block.line}.${block.language}`;
      if (written.has(file)) throw new Error(`Two blocks are ${file}: lines ${written.get(file)} and ${block.line}.`);
      written.set(file, block.line);
      this.#write(file, block.code.replaceAll(API, url));
      if (block.file === undefined) programs.push({ file: file.replace(/\.ts$/, '.js'), block });
    }
    this.programs = programs;
    const files = [...written.keys()];
    const typed = files.filter((file) => file.endsWith('.ts'));
    // What CommonJS exports, the compiler does not understand well enough to judge it.
    const untyped = files.filter((file) => file.endsWith('.js'));
    this.#isTyped = typed.length > 0;
    this.#isUntyped = untyped.length > 0;
    this.#write('tsconfig.json', JSON.stringify({ compilerOptions: COMPILER_OPTIONS, files: typed }));
    // In JavaScript, what is not said is unknown to the compiler; what is known must be right all the same.
    const loose = {
      allowJs: true,
      checkJs: true,
      noEmit: true,
      noImplicitAny: false,
      useUnknownInCatchVariables: false,
    };
    this.#write(
      'tsconfig.js.json',
      JSON.stringify({ compilerOptions: { ...COMPILER_OPTIONS, ...loose }, files: untyped }),
    );
  }

  /** Check the types of all examples, and compile those in TypeScript. */
  async compile(signal: AbortSignal): Promise<void> {
    const compiler = join(this.#root, 'node_modules/typescript/bin/tsc');
    if (this.#isTyped) await this.#execute([compiler, '-p', 'tsconfig.json'], signal);
    if (this.#isUntyped) await this.#execute([compiler, '-p', 'tsconfig.js.json'], signal);
  }

  /**
   * Run a program to its end.
   * @returns what it printed, line by line
   * @throws Error if it fails, or says anything on stderr
   */
  async run({ file }: Program, signal: AbortSignal): Promise<string[]> {
    const { stdout, stderr } = await this.#execute([file], signal);
    if (stderr !== '') throw new Error(`${file} wrote to stderr:\n${stderr}`);
    return stdout.split('\n').slice(0, -1);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #execute(args: readonly string[], signal: AbortSignal): Promise<{ stdout: string; stderr: string }> {
    // Settings of the test runner that started this are not for the examples.
    const own = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^(?:NODE_TEST_CONTEXT|NODE_OPTIONS|NODE_PATH)$/.test(name)),
    );
    const env = { ...own, ...ENVIRONMENT };
    return execFileAsync(process.execPath, args, { cwd: this.folder, env, signal }).catch(
      (error: Error & { stdout?: string }) => {
        // The message has the command and what it wrote to stderr.
        throw new Error(`${error.message}\n${error.stdout ?? ''}`, { cause: error });
      },
    );
  }

  #link(name: string, folder: string): void {
    const path = join(this.folder, 'node_modules', name);
    mkdirSync(dirname(path), { recursive: true });
    symlinkSync(folder, path, 'junction');
  }

  #write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text);
  }
}

/** What an example says that it prints, line by line; undefined if it does not say. */
export function expectedLines({ code }: Block): string[] | undefined {
  const lines = code.split('\n').flatMap((line) => EXPECTED.exec(line)?.[1] ?? []);
  return lines.length === 0 ? undefined : lines;
}

/** Is this what was printed? `…` stands for whatever differs from run to run. */
export function isAsExpected(printed: string, expected: string): boolean {
  const parts = expected.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.+')}$`).test(printed);
}
