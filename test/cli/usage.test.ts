import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { run } from './support.ts';

const manifest = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  readonly version: string;
};

describe('sluicegate', { concurrency: 2 }, () => {
  it('prints help that names its commands', async (t) => {
    const { code, stdout, stderr } = await run(t, ['--help']);
    assert.equal(code, 0);
    assert.match(stdout, /^Usage: sluicegate/);
    assert.match(stdout, /^ {2}demo /m);
    assert.equal(stderr, '');
  });

  it('prints the version of the package', async (t) => {
    for (const flag of ['--version', '-V']) {
      assert.deepEqual(await run(t, [flag]), { code: 0, signal: null, stdout: `${manifest.version}\n`, stderr: '' });
    }
  });

  it('prints help about every flag of the demo', async (t) => {
    const { code, stdout } = await run(t, ['demo', '--help']);
    assert.equal(code, 0);
    for (const flag of ['--json', '--items', '--preset', '--reject-at', '--scope', '--seed']) {
      assert.match(stdout, new RegExp(`^ {2}${flag}\\b`, 'm'));
    }
  });

  it('shows its help as an error when there is no command', async (t) => {
    const { code, stdout, stderr } = await run(t, []);
    assert.equal(code, 2);
    assert.equal(stdout, '');
    assert.match(stderr, /Usage: sluicegate/);
  });
});

describe('wrong usage', { concurrency: 2 }, () => {
  const whole = /whole number from 1 to 10000/;
  const numbers = /numbers of requests, from 1 to 1000000, such as 50/;
  const cases: readonly (readonly [args: string, ...says: RegExp[]])[] = [
    ['fetch', /unknown command 'fetch'/],
    ['demo now', /too many arguments/],
    ['demo --jsn', /unknown option '--jsn'/, /--json/],
    ['demo --items', /--items <n>/, /missing/],
    ['demo --items 0', /--items <n>/, /'0'/, whole],
    ['demo --items 10001', /--items <n>/, /'10001'/, whole],
    ['demo --items -5', /--items <n>/, /'-5'/, whole],
    ['demo --items 1e3', /--items <n>/, /'1e3'/, whole],
    ['demo --items 2.5', /--items <n>/, /'2\.5'/, whole],
    ['demo --items=', /--items <n>/, /''/, whole],
    ['demo --preset fast', /--preset <name>/, /'fast'/, /conservative, exact/],
    ['demo --reject-at 0', /--reject-at <n/, /'0'/, numbers],
    ['demo --reject-at 50,x', /--reject-at <n/, /'50,x'/, numbers],
    ['demo --reject-at 50,', /--reject-at <n/, /'50,'/, numbers],
    ['demo --reject-at 50 1000001', /--reject-at <n/, /'1000001'/, numbers],
    ['demo --scope all', /--scope <scope>/, /'all'/, /unfinished, batch/],
    ['demo --seed 4294967296', /--seed <n>/, /'4294967296'/, /from 0 to 4294967295/],
  ];
  for (const [args, ...says] of cases) {
    it(`is explained: ${args}`, async (t) => {
      const { code, stdout, stderr } = await run(t, args.split(' '));
      assert.equal(code, 2);
      assert.equal(stdout, '');
      for (const pattern of says) assert.match(stderr, pattern);
      assert.doesNotMatch(stderr, /^\s+at /m);
    });
  }
});
