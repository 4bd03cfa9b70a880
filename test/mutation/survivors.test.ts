import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { instrument } from './mutants.ts';
import { ROOMS } from './rooms.ts';
import { Survivors } from './survivors.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

describe('the list of survivors', () => {
  for (const { sources } of ROOMS) {
    it(`explains only mutants of ${sources} that there are`, async () => {
      const files = readdirSync(join(ROOT, sources))
        .filter((name) => name.endsWith('.ts'))
        .map((name) => `${sources}/${name}`);
      const { mutants } = await instrument(ROOT, files);
      assert.deepEqual(new Survivors(ROOT, basename(sources)).missing(files, mutants), []);
    });
  }
});
