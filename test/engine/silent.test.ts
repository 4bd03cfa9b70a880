import assert from 'node:assert/strict';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { test } from 'node:test';
import { mostInWindow } from '../../lib/simulator/journal.ts';
import { startSim } from '../support/engine-bench.ts';
import type { Letter } from './fixtures/silent.ts';
import { count, ends, fixture, openEngine, until } from './support.ts';

const LIMIT = 20;
const WINDOW_MS = 1_000;

test('a handler that says nothing of its requests keeps the limit through timeouts, refusals and aborts', async (t) => {
  const sim = await startSim(t, { faults: [{ kind: '429', at: [15, 45] }] });
  const engine = openEngine<Letter, number>(t, fixture('silent'), {
    rate: { limit: LIMIT, windowMs: WINDOW_MS },
    concurrency: LIMIT,
    timeoutMs: 300,
    circuit: false,
    retry: { initialMs: 1, maxMs: 1, maxAttempts: 2 },
  });
  await engine.ready();
  let refusals = 0;
  engine.on('rateLimited', () => {
    refusals++;
  });
  const stalls = monitorEventLoopDelay({ resolution: 10 });
  stalls.enable();
  // Every third one is told that its time is up while its request is still on its way.
  const letters = count(LIMIT).map((index): Letter => ({ url: sim.url, travelMs: index % 3 === 0 ? 600 : 20 }));

  const first = await engine.run(letters);
  const abort = new AbortController();
  const aborted = engine.run(letters, { signal: abort.signal });
  await until(() => engine.stats().inFlight > 0);
  abort.abort();
  const second = await aborted;
  // Its own start is not delayed by anything but the tokens that the others have left.
  const third = await engine.run(letters);
  await until(() => engine.stats().inFlight === 0);
  stalls.disable();

  for (const { outcomes } of [first, third]) {
    for (const [index, end] of ends(outcomes).entries()) {
      // A slow machine may let the others run out of time, too.
      if (index % 3 === 0) assert.equal(end, 'TIMEOUT');
      else assert.match(end, /^(ok|TIMEOUT)$/);
    }
  }
  assert.ok(ends(second.outcomes).includes('ABORTED'));
  assert.ok(refusals >= 1);
  const arrivals = await sim.arrivals();
  const firstNs = arrivals[0]?.atNs ?? 0n;
  const times = Float64Array.from(arrivals, ({ atNs }) => Number(atNs - firstNs));
  const most = mostInWindow(times, WINDOW_MS * 1e6);
  t.diagnostic(`${arrivals.length} requests, at most ${most} in a window, ${refusals} refusals`);
  // A token rests for two windows after its request was given up. A request that travels longer is not covered.
  if (stalls.max / 1e6 < WINDOW_MS / 2) assert.ok(most <= LIMIT, `${most} in a window`);
  else t.diagnostic(`The machine stood still for ${Math.round(stalls.max / 1e6)} ms.`);
});
