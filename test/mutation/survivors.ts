import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Verdict } from './ask.ts';
import type { Mutant } from './mutants.ts';

/** A mutant that no test kills. It is known by its text, so that code may move. */
export interface Survivor {
  readonly file: string;
  readonly code: string;
  readonly change: string;
  /** How many mutants of this file read the same. Default 1. */
  readonly times?: number;
  /** Why no test can tell it from the code; it then does not count. Without a reason it does. */
  readonly reason?: string;
}

const FOLDER = 'test/mutation/survivors';

const keyOf = ({ file, code, change }: Pick<Survivor, 'file' | 'code' | 'change'>): string =>
  JSON.stringify([file, code, change]);

const describe = ({ file, code, change }: Survivor): string => `${file}: ${code}\n    ${change}`;

/** The list of a room, such as 'limit'. */
export class Survivors {
  readonly #path: string;
  readonly #list: readonly Survivor[];

  constructor(root: string, room: string) {
    this.#path = join(root, FOLDER, `${room}.json`);
    this.#list = existsSync(this.#path) ? (JSON.parse(readFileSync(this.#path, 'utf8')) as Survivor[]) : [];
  }

  /** Why a mutant does not count; undefined if it does. */
  reasonOf(mutant: Mutant): string | undefined {
    const key = keyOf(mutant);
    return this.#list.find((known) => keyOf(known) === key)?.reason;
  }

  /** What is wrong with the list, given all mutants of these files and what became of them. */
  complaints(files: readonly string[], verdicts: readonly Verdict[]): string[] {
    return this.#explained(files).flatMap((known) => {
      const same = verdicts.filter(({ mutant }) => keyOf(mutant) === keyOf(known));
      const alive = same.filter(({ by }) => by === undefined).length;
      const times = known.times ?? 1;
      if (alive === times) return [];
      const killers = same.flatMap(({ by }) => by ?? []);
      const by = killers.length > 0 ? `, and there are ${killers.length} killed by ${killers[0]}` : '';
      return [`${describe(known)}\n    is explained ${times} times, but ${alive} live${by}`];
    });
  }

  /** Explanations of mutants of these files that there are not. */
  missing(files: readonly string[], mutants: readonly Mutant[]): string[] {
    return this.#explained(files).flatMap((known) => {
      const same = mutants.filter((mutant) => keyOf(mutant) === keyOf(known)).length;
      const times = known.times ?? 1;
      return same >= times ? [] : [`${describe(known)}\n    is explained ${times} times, but there are ${same}`];
    });
  }

  #explained(files: readonly string[]): readonly Survivor[] {
    return this.#list.filter(({ file, reason }) => reason !== undefined && files.includes(file));
  }

  /** Write the list anew, with what survived now; reasons are kept, and so is what stands there of other files. */
  write(files: readonly string[], verdicts: readonly Verdict[]): void {
    const list = this.#list.filter(({ file }) => !files.includes(file));
    const times = new Map<string, number>();
    const alive = verdicts.filter(({ by }) => by === undefined);
    for (const { mutant } of alive) times.set(keyOf(mutant), (times.get(keyOf(mutant)) ?? 0) + 1);
    for (const { mutant } of alive) {
      const key = keyOf(mutant);
      const count = times.get(key);
      if (count === undefined) continue;
      times.delete(key);
      const { file, code, change } = mutant;
      const reason = this.reasonOf(mutant);
      list.push({
        file,
        code,
        change,
        ...(count > 1 ? { times: count } : {}),
        ...(reason === undefined ? {} : { reason }),
      });
    }
    // By file only: within one, they stand in the order of the code.
    list.sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0));
    if (list.length === 0) rmSync(this.#path, { force: true });
    else writeFileSync(this.#path, `${JSON.stringify(list, undefined, 2)}\n`);
  }
}
