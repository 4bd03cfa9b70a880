import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEngine } from '../../lib/engine.ts';
import { count, fixture, tally, until } from './support.ts';

// In a file of its own, so that nothing of another test is still on its way out.
test('30 engines leave nothing behind', async (t) => {
  const warnings: Error[] = [];
  const warn = (warning: Error) => warnings.push(warning);
  process.on('warning', warn);
  t.after(() => process.off('warning', warn));
  const listeners = () => process.eventNames().map((name) => [name, process.listenerCount(name)]);
  const resources = () => tally(process.getActiveResourcesInfo());

  const useOne = async (index: number) => {
    const engine = createEngine<number>({ handler: fixture('double'), threads: 2, concurrency: 4 });
    if (index % 3 === 0) await engine.run(count(10));
    if (index % 3 === 1) for await (const _ of engine.stream(count(10))) break;
    await engine.close(index % 2 === 0 ? undefined : { mode: 'abort' });
  };
  const before = { resources: resources(), listeners: listeners() };
  for (const index of count(30)) await useOne(index);
  // All at once as well: none of them knows of the others.
  await Promise.all(count(6).map(useOne));
  // What a thread or a port leaves goes with the next turns of the event loop.
  await until(() => Object.entries(resources()).every(([kind, now]) => now <= (before.resources[kind] ?? 0)));
  assert.deepEqual(listeners(), before.listeners);
  assert.deepEqual(warnings, []);
});
