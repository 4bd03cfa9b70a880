import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { instrument, type Mutant } from './mutants.ts';

const COPIED = ['lib', 'workers', 'bench', 'test', 'docs', 'README.md', 'package.json', 'tsconfig.json'];

/** A copy of the repository whose code holds all mutants, compiled once. */
export class Sandbox {
  readonly mutants: readonly Mutant[];
  readonly #root: string;

  private constructor(root: string, mutants: readonly Mutant[]) {
    this.#root = root;
    this.mutants = mutants;
  }

  /** @param names The modules to mutate, from the top of the repository. */
  static async create(repository: string, names: readonly string[]): Promise<Sandbox> {
    const root = mkdtempSync(join(tmpdir(), 'sluicegate-mutants-'));
    try {
      for (const name of COPIED) cpSync(join(repository, name), join(root, name), { recursive: true });
      symlinkSync(join(repository, 'node_modules'), join(root, 'node_modules'));
      const { mutants, files } = await instrument(repository, names);
      for (const { name, content } of files) writeFileSync(join(root, name), content);
      // A mutant may break types: that is not what it is to be judged by.
      execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', root, '--noCheck'], {
        stdio: 'inherit',
      });
      return new Sandbox(root, mutants);
    } catch (error) {
      rmSync(root, { recursive: true, force: true });
      throw error;
    }
  }

  /** Where the compiled code is. */
  get dist(): string {
    return join(this.#root, 'dist');
  }

  remove(): void {
    rmSync(this.#root, { recursive: true, force: true });
  }
}
