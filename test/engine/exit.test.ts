import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { fixture } from './support.ts';

const run = promisify(execFile);
const LIBRARY = new URL('../../lib/index.js', import.meta.url).href;

/** Run a program that does not close its engine; what it prints, once it has ended by itself. */
async function print(program: string): Promise<string> {
  const text = `
    import { createEngine } from ${JSON.stringify(LIBRARY)};
    const open = (name, options) =>
      createEngine({ threads: 2, handler: new URL(name + '.js', ${JSON.stringify(fixture('x').href)}), ...options });
    ${program}`;
  const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '-e', text]);
  assert.equal(stderr, '');
  return stdout.trim();
}

const PROGRAMS: Record<string, [program: string, prints: string]> = {
  'an engine that is never used': ["open('double'); console.log('made')", 'made'],
  'the built-in handler, never used': ["createEngine(); console.log('made')", 'made'],
  'an engine that ran a batch': [
    "const { outcomes } = await open('double').run([1, 2]); console.log(outcomes.map(({ value }) => value).join())",
    '2,4',
  ],
  'a batch that nobody awaits is finished': [
    "open('double').run([1, 2]).then(({ summary }) => console.log(summary.succeeded))",
    '2',
  ],
  'an engine that got ready': ["await open('double').ready(); console.log('ready')", 'ready'],
  'a wait for a retry': [
    "const { outcomes } = await open('verdicts', { retry: { initialMs: 50 } }).run([{ failures: 1, as: 'retry' }]); console.log(outcomes[0].ok)",
    'true',
  ],
  'a wait for tokens': [
    "const { summary } = await open('double', { rate: { limit: 1, windowMs: 50 } }).run([1, 2, 3]); console.log(summary.succeeded)",
    '3',
  ],
  'a wait between two groups, longer than the watchdog waits before it lets go': [
    "const { summary } = await open('double').run([1, 2, 3], { batchSize: 1, batchDelayMs: 150 }); console.log(summary.succeeded)",
    '3',
  ],
  'a pause after a rate-limit error': [
    "const { summary } = await open('verdicts', { threads: 1, retry: { initialMs: 50 } }).run([{ failures: 1, as: 'rate-limit' }]); console.log(summary.succeeded, summary.rounds)",
    '1 2',
  ],
  'a wish for new credentials in the middle of a pause, without a batch': [
    `const engine = open('verdicts', { threads: 1, retry: { initialMs: 50, maxRefusals: 1 }, onRefreshCredentials: () => 1 });
     await engine.run([{ failures: 1, as: 'rate-limit' }]);
     console.log(engine.stats().isPaused);
     await engine.refreshCredentials();
     console.log(engine.stats().isPaused, engine.stats().credentialRefreshes);`,
    'true\nfalse 2',
  ],
  'a stream that was left': [
    "for await (const { value } of open('double').stream([5, 6, 7])) { console.log(value > 0); break; }",
    'true',
  ],
  'a stream whose reader rests': [
    "const stream = open('double').stream([5]); const { value } = await stream.next(); console.log(value.value)",
    '10',
  ],
  'a handler module that cannot be loaded': [
    "await createEngine({ handler: 'data:text/javascript,throw 1' }).run([1]).catch(({ code }) => console.log(code))",
    'HANDLER_LOAD',
  ],
  'a handler that was aborted and loops': [
    `const engine = open('hostile', { timeoutMs: 200, killGraceMs: 1, cancelGraceMs: 1 });
     const controller = new AbortController();
     await engine.ready();
     const running = engine.run(['loop forever'], { signal: controller.signal });
     while (engine.stats().inFlight === 0) await new Promise(setImmediate);
     controller.abort();
     console.log((await running).outcomes[0].error.code);`,
    'ABORTED',
  ],
  'a closed engine': [
    "const engine = open('double'); await engine.run([1]); await engine.close(); console.log('closed')",
    'closed',
  ],
};

for (const [what, [program, prints]] of Object.entries(PROGRAMS)) {
  test(`the process ends by itself: ${what}`, async () => {
    assert.equal(await print(program), prints);
  });
}
