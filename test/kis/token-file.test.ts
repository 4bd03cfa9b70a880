import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { TokenFile, type TokenOwner } from '../../lib/kis/token-file.ts';

const OWNER: TokenOwner = { appKey: 'the-app-key', environment: 'real', origin: 'https://example.com' };
const TOKEN = { text: 'the-token', issuedAtMs: 1_700_000_000_000, expiresAtMs: 1_700_086_400_000 };

function tempFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluicegate-kis-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

describe('the token file', () => {
  it('gives back what was put in', async (t) => {
    const path = join(tempFolder(t), 'token.json');
    assert.equal(await new TokenFile(path, OWNER).read(), undefined);
    await new TokenFile(path, OWNER).write(TOKEN);
    assert.deepEqual(await new TokenFile(path, OWNER).read(), TOKEN);
  });

  it('can be read by its owner only, also if the one before could be read by all', {
    skip: process.platform === 'win32',
  }, async (t) => {
    const folder = tempFolder(t);
    const path = join(folder, 'token.json');
    writeFileSync(path, '{}');
    chmodSync(path, 0o666);
    await new TokenFile(path, OWNER).write(TOKEN);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(folder), ['token.json']);
  });

  it('is of no use for another key, environment or host, and names none', async (t) => {
    const path = join(tempFolder(t), 'token.json');
    await new TokenFile(path, OWNER).write(TOKEN);
    for (const other of [{ appKey: 'another' }, { environment: 'paper' }, { origin: 'https://other.example.com' }]) {
      assert.equal(await new TokenFile(path, { ...OWNER, ...other }).read(), undefined);
    }
    assert.ok(!readFileSync(path, 'utf8').includes(OWNER.appKey));
  });

  it('is ignored if it is broken', async (t) => {
    const path = join(tempFolder(t), 'token.json');
    const file = new TokenFile(path, OWNER);
    await file.write(TOKEN);
    const good = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    writeFileSync(path, JSON.stringify(good));
    assert.deepEqual(await file.read(), TOKEN);
    const broken: unknown[] = [
      null,
      [],
      5,
      { ...good, version: 2 },
      { ...good, owner: 'x' },
      { ...good, token: '' },
      { ...good, token: 'a\r\nb: c' },
      { ...good, token: 5 },
      { ...good, expiresAt: 'soon' },
      { ...good, expiresAt: 5 },
      { ...good, issuedAt: undefined },
      { ...good, rest: 'x'.repeat(70_000) },
    ];
    for (const value of broken) {
      writeFileSync(path, JSON.stringify(value));
      assert.equal(await file.read(), undefined, JSON.stringify(value)?.slice(0, 80));
    }
    for (const text of ['', '{', '\0\xff', JSON.stringify(good).slice(0, -5)]) {
      writeFileSync(path, text);
      assert.equal(await file.read(), undefined, text);
    }
  });

  it('is no file: it is ignored', async (t) => {
    assert.equal(await new TokenFile(tempFolder(t), OWNER).read(), undefined);
  });

  it('leaves nothing behind if it cannot be written', async (t) => {
    const folder = tempFolder(t);
    const path = join(folder, 'taken');
    // A folder of this name is in the way of the last step.
    mkdirSync(join(path, 'inside'), { recursive: true });
    await assert.rejects(new TokenFile(path, OWNER).write(TOKEN));
    assert.deepEqual(readdirSync(folder), ['taken']);
    assert.ok(existsSync(join(path, 'inside')));
  });
});
