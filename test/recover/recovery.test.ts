import assert from 'node:assert/strict';
import { afterEach, describe, it, mock } from 'node:test';
import { EngineClosedError } from '../../lib/errors.ts';
import { END } from '../../lib/protocol.ts';
import { CAUSE } from '../../lib/shared/gate.ts';
import { CAUSES, GENERATION, WORK } from '../../lib/shared/layout.ts';
import { itemsUpTo, RULES } from '../batch/played-threads.ts';
import { Scene, type SceneOptions, settled } from './played-recovery.ts';

const paused = (generation: number, delayMs: number, eventsInRow: number, ...causes: string[]) => [
  'paused',
  { generation, delayMs, eventsInRow, causes },
];

/** A scene whose two lanes have an item each; two more wait. */
function begin(options?: SceneOptions) {
  const scene = new Scene(options);
  const played = scene.stage.run(itemsUpTo(4), { rules: { ...RULES, ...options?.rules } });
  assert.equal(scene.stage.given.length, 2);
  return { scene, stage: scene.stage, played, dispatcher: scene.stage.dispatcher, recovery: scene.recovery };
}

/** What is out comes back: the first of it refused, the rest cancelled. */
async function comeBack({ stage }: Scene, from: number, first: number = END.refused): Promise<void> {
  for (let number = from; number < stage.given.length; number++) {
    stage.finish(number, [number === from ? first : END.cancelled]);
  }
  await settled();
}

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

describe('a refusal', () => {
  it('stops everybody, waits for what is out, then for the backoff, and goes on with the next generation', async () => {
    const { scene, stage, played, dispatcher, recovery } = begin();
    await scene.close(CAUSE.refused);
    assert.equal(dispatcher.isOpen, false);
    assert.deepEqual(scene.told(), [
      ['broadcast', 1, false],
      ['broadcast', 1, true],
      ['rateLimited', { generation: 1 }],
    ]);
    assert.deepEqual([recovery.events, played.batch.counts.rateLimitEvents, recovery.pauseLeftMs], [1, 1, 0]);
    stage.nowMs += 7;
    stage.finish(0, [END.refused]);
    await settled();
    assert.deepEqual(scene.told(), [], 'one is still out');
    stage.finish(1, [END.cancelled]);
    await settled();
    assert.deepEqual(scene.told(), [paused(1, 1_000, 1, 'refused')]);
    assert.deepEqual([recovery.pauseLeftMs, played.batch.rounds], [1_000, 2]);
    await scene.advance(999);
    assert.deepEqual([scene.told(), recovery.pauseLeftMs, dispatcher.isOpen], [[], 1, false]);
    await scene.advance(1);
    assert.deepEqual(scene.told(), [['resumed', { generation: 1, pausedMs: 1_007 }]]);
    assert.deepEqual([recovery.pauseLeftMs, dispatcher.isOpen, dispatcher.generation], [0, true, 1]);
    assert.deepEqual(
      stage.given.slice(2).map(({ task }) => [task.generation, task.items]),
      [
        [1, ['item 1']],
        [1, ['item 2']],
      ],
    );
  });

  it('is one event, however often it is noticed, and by whom', async () => {
    const { scene, recovery } = begin();
    recovery.notice();
    await settled();
    assert.deepEqual(scene.told(), [], 'the gate is open');
    await scene.close(CAUSE.refused);
    recovery.notice();
    scene.gate.close(0, CAUSE.refused);
    recovery.notice();
    await settled();
    assert.deepEqual(scene.names(), ['broadcast', 'broadcast', 'rateLimited']);
    assert.equal(recovery.events, 1);
    await comeBack(scene, 0);
    recovery.notice();
    await scene.advance(1_000);
    assert.deepEqual(scene.names(), ['paused', 'resumed']);
  });

  it('waits longer with each event in a row without an answer, and starts over after one', async () => {
    const { scene, stage } = begin();
    let from = 0;
    const event = async (causes: number, isAnswered = false) => {
      if (isAnswered) stage.finish(from++, [END.ok]);
      const { length } = stage.given;
      await scene.close(causes);
      await comeBack(scene, from, END.cancelled);
      from = length;
      await scene.advance(60_000);
      const said = scene.told().find(([name]) => name === 'paused')?.[1] as { delayMs: number; eventsInRow: number };
      return [said.eventsInRow, said.delayMs];
    };
    stage.run(itemsUpTo(40));
    assert.deepEqual(await event(CAUSE.refused), [1, 1_000]);
    assert.deepEqual(await event(CAUSE.refused), [2, 2_000]);
    assert.deepEqual(await event(CAUSE.refused), [3, 4_000]);
    assert.deepEqual(await event(CAUSE.refused, true), [1, 1_000]);
    assert.deepEqual(await event(CAUSE.refused), [2, 2_000]);
    // Answered before it closed for another cause: that counts at the next refusal, and then no more.
    assert.deepEqual(await event(CAUSE.quota, true), [2, 0]);
    assert.deepEqual(await event(CAUSE.refused), [1, 1_000]);
    assert.deepEqual(await event(CAUSE.refused), [2, 2_000]);
  });

  it('starts over after an answer also where the generations go round', async () => {
    const scene = new Scene();
    const { stage } = scene;
    const highest = 2 ** 31 - 1;
    stage.block.ints[GENERATION] = highest - 1;
    stage.block.words[CAUSES] = BigInt(highest - 1) << 8n;
    scene.recovery.notice();
    await settled();
    stage.run(itemsUpTo(9));
    scene.told();
    await scene.close(CAUSE.refused);
    await comeBack(scene, 0);
    assert.deepEqual(scene.told().at(-1), paused(highest, 1_000, 1, 'refused'));
    await scene.advance(1_000);
    stage.finish(2);
    await scene.close(CAUSE.refused);
    await comeBack(scene, 3);
    assert.deepEqual(scene.told().at(-1), paused(-(2 ** 31), 1_000, 1, 'refused'));
    await scene.advance(1_000);
    await scene.close(CAUSE.refused);
    await comeBack(scene, 5);
    assert.deepEqual(scene.told().at(-1), paused(1 - 2 ** 31, 2_000, 2, 'refused'));
  });

  it('waits longer by jitter and where most fails', async () => {
    const { scene } = begin({ rules: { jitter: 0.5 }, random: 1, stretch: 2 });
    await scene.close(CAUSE.refused);
    await comeBack(scene, 0);
    assert.deepEqual(scene.told().at(-1), paused(1, 3_000, 1, 'refused'));
  });

  it('waits as long as the upstream asked, and forgets that afterwards', async () => {
    const { scene } = begin();
    scene.gate.pauseUntil(scene.nowNs + 5_000_000_000n);
    await scene.close(CAUSE.refused);
    await comeBack(scene, 0);
    assert.deepEqual(scene.told().at(-1), paused(1, 5_000, 1, 'refused'));
    await scene.advance(5_000);
    assert.deepEqual([scene.names(), scene.gate.pausedUntilNs], [['resumed'], 0n]);
    // A hint that is over already makes no wait shorter.
    scene.gate.pauseUntil(scene.nowNs - 5_000_000_000n);
    await scene.close(CAUSE.quota);
    await comeBack(scene, 2);
    assert.deepEqual(scene.told()[1], paused(2, 0, 1, 'quota'));
  });

  it('looks again when a timer is early', async () => {
    const { scene } = begin();
    await scene.close(CAUSE.refused);
    await comeBack(scene, 0);
    scene.told();
    mock.timers.tick(1_000);
    await settled();
    assert.deepEqual(scene.told(), [], 'the clock says that nothing of the time is over');
    await scene.advance(1_000);
    assert.deepEqual(scene.names(), ['resumed']);
  });

  it('fails a batch that would have to wait for too long, and says how long', async () => {
    const cases: readonly [hintMs: number, ends: readonly number[]][] = [
      [120_000, []],
      [120_000.5, [0, 1, 2, 3]],
    ];
    for (const [hintMs, ends] of cases) {
      const { scene, stage, played } = begin();
      scene.gate.pauseUntil(scene.nowNs + BigInt(hintMs * 1e6));
      await scene.close(CAUSE.refused);
      await comeBack(scene, 0);
      assert.deepEqual(
        played.results,
        ends.map((index) => [index, 'RATE_LIMITED']),
      );
      assert.equal(stage.over.length, ends.length === 0 ? 0 : 1);
      const error = played.failures[0]?.error;
      assert.equal(error?.retryAfterMs, ends.length === 0 ? undefined : 120_001);
      if (error !== undefined) assert.match(error.message, /120001 ms.*maxRetryAfterMs \(120000 ms\)/);
      mock.timers.reset();
      mock.restoreAll();
    }
  });

  it('starts a batch over that wants that', async () => {
    const { scene, stage, played } = begin({ rules: { scope: 'batch' } });
    stage.finish(0);
    await scene.close(CAUSE.refused);
    await comeBack(scene, 1);
    assert.deepEqual([played.batch.rounds, played.batch.done, played.batch.pending], [2, 0, 4]);
  });

  it('gives up a batch after so many in a row, but none that has not lived through them', async () => {
    const { scene, stage, played } = begin({ rules: { maxRefusals: 2 } });
    await scene.close(CAUSE.refused);
    await comeBack(scene, 0, END.cancelled);
    const later = stage.run(itemsUpTo(4), { rules: { ...RULES, maxRefusals: 2 } });
    await scene.advance(1_000);
    assert.equal(played.batch.done, 0);
    await scene.close(CAUSE.refused);
    await comeBack(scene, 2, END.cancelled);
    assert.deepEqual(
      played.results.map(([, code]) => code),
      ['RATE_LIMITED', 'RATE_LIMITED', 'RATE_LIMITED', 'RATE_LIMITED'],
    );
    assert.match(played.failures[0]?.error.message ?? '', /2 rate-limit events in a row/);
    assert.deepEqual([later.results, later.batch.rounds, stage.over.length], [[], 2, 1]);
  });

  it('cancels nothing where what is in flight may go on', async () => {
    const { scene, stage, recovery } = begin({ mode: 'drain' });
    await scene.close(CAUSE.refused);
    assert.deepEqual(scene.told(), [
      ['broadcast', 1, false],
      ['rateLimited', { generation: 1 }],
    ]);
    stage.nowMs += 10_000;
    recovery.enforceBarrier();
    assert.deepEqual(scene.told(), []);
  });

  it('that comes after another cause, while the requests of before are waited for, cancels these', async () => {
    const { scene, played, recovery } = begin({ hook: () => 'new' });
    await scene.close(CAUSE.credentials);
    assert.deepEqual(scene.told(), [['broadcast', 1, false]]);
    scene.gate.close(0, CAUSE.refused);
    recovery.notice();
    recovery.notice();
    assert.deepEqual(scene.told(), [
      ['broadcast', 1, true],
      ['rateLimited', { generation: 1 }],
    ]);
    assert.deepEqual([recovery.events, played.batch.counts.rateLimitEvents], [1, 1]);
    await comeBack(scene, 0);
    assert.deepEqual(scene.told(), [paused(1, 1_000, 1, 'refused', 'credentials'), ['credentials', 'refused', true]]);
  });

  it('that nobody noticed before the last of them came back is an event all the same', async () => {
    const { scene, stage, recovery } = begin();
    await scene.close(CAUSE.quota);
    scene.gate.close(0, CAUSE.refused);
    stage.finish(0, [END.refused]);
    stage.finish(1, [END.cancelled]);
    await settled();
    assert.deepEqual(scene.names(), ['broadcast', 'broadcast', 'rateLimited', 'paused']);
    assert.equal(recovery.events, 1);
    // After that it is too late for this event: the gate's next generation is another one.
    recovery.notice();
    assert.deepEqual(scene.told(), []);
  });
});

describe('the quota', () => {
  it('that is used up means a wait, and is no refusal', async () => {
    const { scene, played, recovery } = begin();
    scene.gate.pauseUntil(scene.nowNs + 3_000_000_000n);
    await scene.close(CAUSE.quota);
    await comeBack(scene, 0, END.ok);
    assert.deepEqual(scene.told(), [['broadcast', 1, false], paused(1, 3_000, 0, 'quota')]);
    assert.deepEqual([recovery.events, played.batch.counts.rateLimitEvents, played.batch.rounds], [0, 0, 1]);
    await scene.advance(3_000);
    assert.deepEqual(scene.told(), [['resumed', { generation: 1, pausedMs: 3_000 }]]);
  });
});

describe('a batch that comes while nothing goes', () => {
  it('fails at once if the wait is longer than it may be, but waits if it is not, or if it is over', async () => {
    const { scene, stage, recovery } = begin({ rules: { maxRetryAfterMs: 1e9 } });
    const admit = () => {
      const played = stage.batch(itemsUpTo(2), { rules: { ...RULES, maxRetryAfterMs: 4_000 } });
      stage.dispatcher.add(played.batch);
      recovery.admit(played.batch);
      return played;
    };
    scene.gate.pauseUntil(scene.nowNs + 5_000_000_000n);
    await scene.close(CAUSE.quota);
    assert.deepEqual(admit().results, [], 'nobody knows yet how long it will be');
    await comeBack(scene, 0, END.ok);
    const late = admit();
    assert.deepEqual(late.results, [
      [0, 'RATE_LIMITED'],
      [1, 'RATE_LIMITED'],
    ]);
    assert.equal(late.failures[0]?.error.retryAfterMs, 5_000);
    await scene.advance(1_000);
    assert.deepEqual(admit().results, [], 'exactly as long as it may be');
    await scene.advance(4_000);
    assert.deepEqual([scene.names().at(-1), admit().results], ['resumed', []]);
  });
});

describe('the barrier', () => {
  const { called, idempotent, waiting } = WORK;

  it('ends threads whose handlers ignore that they were cancelled, but none with a request that must not be', async () => {
    const scene = new Scene({ lanes: [1, 1, 2, 1, 1] });
    const { stage, recovery } = scene;
    stage.run(itemsUpTo(12));
    assert.equal(stage.given.length, 6);
    const bits = [called | idempotent, called, called | idempotent, waiting, 0];
    const isFirst = new Set<number>();
    for (const { thread, slot } of stage.given) {
      slot.claim(0);
      // Of the thread with two, one must not be cancelled.
      slot.work = thread.place === 2 && isFirst.has(2) ? called : (bits[thread.place] ?? 0);
      isFirst.add(thread.place);
    }
    recovery.enforceBarrier();
    await scene.close(CAUSE.refused);
    scene.told();
    stage.nowMs += 99;
    recovery.enforceBarrier();
    assert.deepEqual(scene.told(), []);
    stage.nowMs += 1;
    recovery.enforceBarrier();
    const because = 'a handler that ignored its signal';
    assert.deepEqual(
      scene.told().sort(),
      [0, 3, 4].map((place) => ['kill', place, because]),
    );
    for (const { thread } of stage.given) if (thread.place !== 1 && thread.state === 'ready') stage.lose(thread);
    recovery.enforceBarrier();
    assert.deepEqual(scene.told(), []);
    stage.finish(stage.given.findIndex(({ thread }) => thread.place === 1));
    await settled();
    assert.deepEqual(scene.names(), ['paused']);
    recovery.enforceBarrier();
    assert.deepEqual(scene.told(), [], 'nobody is waited for');
  });

  it('is passed at once where nothing is out', async () => {
    const scene = new Scene();
    await scene.close(CAUSE.refused);
    assert.deepEqual(scene.names(), ['broadcast', 'broadcast', 'rateLimited', 'paused']);
    await scene.advance(1_000);
    assert.deepEqual(scene.names(), ['resumed']);
  });

  it('counts the time for obeying from the first news', async () => {
    const { scene, stage, recovery } = begin({ hook: () => 'new' });
    for (const { slot } of stage.given) slot.claim(0);
    await scene.close(CAUSE.credentials);
    stage.nowMs += 1_000;
    recovery.enforceBarrier();
    assert.deepEqual(scene.names(), ['broadcast'], 'nobody was told to stop');
    scene.gate.close(0, CAUSE.refused);
    recovery.notice();
    scene.told();
    stage.nowMs += 99;
    recovery.notice();
    recovery.enforceBarrier();
    assert.deepEqual(scene.told(), []);
    stage.nowMs += 1;
    recovery.enforceBarrier();
    assert.deepEqual(scene.names(), ['kill']);
  });
});

describe('credentials', () => {
  it('that were refused are asked for once nothing is out; then it goes on', async () => {
    const { scene, stage, dispatcher } = begin({ hook: () => 'new' });
    await scene.close(CAUSE.credentials);
    assert.deepEqual(scene.asked, []);
    await comeBack(scene, 0, END.stale);
    assert.deepEqual([scene.asked, scene.credentials.current], [['refused'], 'new']);
    await settled();
    assert.deepEqual(scene.told(), [
      ['broadcast', 1, false],
      paused(1, 0, 0, 'credentials'),
      ['credentials', 'refused', true],
      ['resumed', { generation: 1, pausedMs: 0 }],
    ]);
    assert.deepEqual([dispatcher.isOpen, stage.given.length], [true, 4]);
  });

  it('that cannot be had end all that needs them', async () => {
    const { scene, stage, played } = begin({
      hook: () => {
        throw new Error('No.');
      },
    });
    await scene.close(CAUSE.credentials);
    await comeBack(scene, 0, END.stale);
    await settled();
    assert.deepEqual(
      played.results.map(([, code]) => code),
      ['CREDENTIALS', 'CREDENTIALS', 'CREDENTIALS', 'CREDENTIALS'],
    );
    assert.equal(played.failures[0]?.error.cause?.message, 'No.');
    assert.deepEqual([stage.over.length, scene.names().at(-1)], [1, 'resumed']);
  });

  it('are asked for on request, when nothing is out, and once for all who ask meanwhile', async () => {
    const { scene, stage, recovery } = begin({ hook: () => 'new' });
    const all = [recovery.refreshCredentials(), recovery.refreshCredentials()];
    let isDone = false;
    const done = Promise.all(all).then(() => {
      isDone = true;
    });
    await settled();
    assert.deepEqual([scene.asked, isDone, stage.dispatcher.isOpen], [[], false, false]);
    await comeBack(scene, 0, END.ok);
    await done;
    await settled();
    assert.deepEqual([scene.asked, scene.credentials.current], [['requested'], 'new']);
    assert.deepEqual(scene.names(), ['broadcast', 'paused', 'credentials', 'resumed']);
    assert.equal(scene.gate.generation, 1);
  });

  it('that were asked for on suspicion and cannot be had fail only who asked', async () => {
    const why = new Error('No.');
    const { scene, played, recovery } = begin({ hook: () => Promise.reject(why) });
    const asked = assert.rejects(recovery.refreshCredentials(), why);
    await settled();
    await comeBack(scene, 0, END.ok);
    await asked;
    await settled();
    assert.deepEqual(played.results, [[0, 'ok']]);
    assert.equal(scene.names().at(-1), 'resumed');
  });

  it('are asked for on request also while it waits for another cause', async () => {
    const { scene, recovery } = begin({ hook: () => 'new' });
    await scene.close(CAUSE.refused);
    await comeBack(scene, 0);
    const asked = recovery.refreshCredentials();
    await settled();
    assert.deepEqual([scene.asked, scene.gate.generation], [[], 1]);
    await scene.advance(1_000);
    await asked;
    assert.deepEqual(scene.asked, ['requested']);
  });

  it('cannot be asked for where there is nobody, nor by the one who is asked', async () => {
    await assert.rejects(new Scene().recovery.refreshCredentials(), TypeError);
    mock.timers.reset();
    mock.restoreAll();
    let own: unknown;
    const scene: Scene = new Scene({
      hook: async () => {
        own = await scene.recovery.refreshCredentials().catch((error: unknown) => error);
        return 'new';
      },
    });
    await scene.recovery.refreshCredentials();
    assert.ok(own instanceof Error && /would wait for it/.test(own.message));
  });

  it('that are missing at first are asked for before anything goes', async () => {
    let give: ((fresh: unknown) => void) | undefined;
    const scene = new Scene({ initial: undefined, hook: () => new Promise((resolve) => (give = resolve)) });
    scene.recovery.prepare();
    scene.recovery.prepare();
    const played = scene.stage.run(itemsUpTo(2));
    await settled();
    assert.deepEqual([scene.asked, scene.stage.given.length], [['initial'], 0]);
    give?.('first');
    await settled();
    assert.deepEqual([scene.credentials.current, scene.stage.given.length, played.results], ['first', 2, []]);
    scene.recovery.prepare();
    await settled();
    assert.deepEqual(scene.asked, ['initial']);
  });

  it('that are missing and cannot be had fail what came, and are asked for again when more comes', async () => {
    let isGood = false;
    const scene = new Scene({
      initial: undefined,
      hook: () => {
        if (!isGood) throw new Error('No.');
        return 'first';
      },
    });
    scene.recovery.prepare();
    const first = scene.stage.run(itemsUpTo(1));
    await settled();
    assert.deepEqual([first.results, scene.asked], [[[0, 'CREDENTIALS']], ['initial']]);
    isGood = true;
    scene.recovery.prepare();
    scene.stage.run(itemsUpTo(1));
    await settled();
    assert.deepEqual([scene.asked, scene.stage.given.length], [['initial', 'initial'], 1]);
  });

  it('that are missing where nobody gets any are no reason to stop', async () => {
    const scene = new Scene({ initial: undefined });
    scene.recovery.prepare();
    scene.stage.run(itemsUpTo(1));
    await settled();
    assert.deepEqual([scene.told(), scene.stage.given.length], [[], 1]);
  });
});

describe('the circuit breaker', () => {
  /** It opens, and what was out has come back. */
  async function trip(options: SceneOptions['breaker'] = {}) {
    const begun = begin({ breaker: options });
    begun.recovery.trip();
    await settled();
    await comeBack(begun.scene, 0, END.ok);
    return begun;
  }

  it('that opens lets nothing go until its time is over, then so many probes', async () => {
    const { scene, stage, recovery, played, dispatcher } = await trip();
    assert.deepEqual(scene.told(), [
      ['broadcast', 1, false],
      ['circuit', 'closed', 'open'],
      paused(1, 0, 0, 'circuit'),
    ]);
    assert.deepEqual([recovery.pauseLeftMs, played.results], [300, [[0, 'ok']]]);
    await scene.advance(299);
    assert.deepEqual([scene.told(), recovery.pauseLeftMs], [[], 1]);
    await scene.advance(1);
    assert.deepEqual(scene.told(), [
      ['circuit', 'open', 'half-open'],
      ['resumed', { generation: 1, pausedMs: 300 }],
    ]);
    assert.deepEqual([stage.given.length, stage.gift(2).task.isProbe, dispatcher.isOpen], [3, true, true]);
    assert.equal(played.batch.waitedForOpening, 1);
    recovery.onProbe('success');
    assert.deepEqual(scene.told(), [['circuit', 'half-open', 'closed']]);
    assert.deepEqual([played.batch.waitedForOpening, stage.given.length], [0, 4], 'everything goes');
    recovery.onProbe('failure');
    await settled();
    assert.deepEqual([scene.told(), dispatcher.isOpen], [[], true], 'it is closed: nobody waits for a probe');
  });

  it('takes so many probes to close, and lets no more of them go than it needs', async () => {
    const { scene, stage, recovery } = await trip({ successThreshold: 2, halfOpenProbes: 1 });
    await scene.advance(300);
    assert.equal(stage.given.length, 3);
    stage.finish(2);
    assert.equal(stage.given.length, 4, 'the next one');
    recovery.onProbe('success');
    assert.equal(scene.breaker?.state, 'half-open');
    recovery.onProbe('success');
    assert.equal(scene.breaker?.state, 'closed');
  });

  it('opens again when a probe fails, and batches wait for it only once', async () => {
    const { scene, stage, recovery, played } = await trip({ openFactor: 1 });
    await scene.advance(300);
    scene.told();
    const newcomer = stage.run(itemsUpTo(1));
    recovery.onProbe('failure');
    await settled();
    stage.finish(2, [END.fatal]);
    await settled();
    assert.deepEqual(scene.told().slice(0, 3), [
      ['broadcast', 2, false],
      ['circuit', 'half-open', 'open'],
      paused(2, 0, 0, 'circuit'),
    ]);
    assert.deepEqual(played.results.map(([, code]) => code).sort(), ['CIRCUIT_OPEN', 'CIRCUIT_OPEN', 'NETWORK', 'ok']);
    assert.deepEqual([newcomer.results, newcomer.batch.waitedForOpening], [[], 2]);
    assert.deepEqual([stage.over.length, scene.breaker?.openLeftMs], [1, 300]);
  });

  it('fails batches that would wait for longer than an attempt may take, and where they must not wait at all', async () => {
    for (const [rules, isFailed] of [
      [{ openMs: 500 }, false],
      [{ openMs: 501 }, true],
      [{ whenOpen: 'fail' }, true],
    ] as const) {
      const { stage, played, recovery } = await trip(rules);
      assert.equal(played.results.length, isFailed ? 4 : 1, JSON.stringify(rules));
      if (isFailed) {
        assert.equal(played.failures[0]?.error.code, 'CIRCUIT_OPEN');
        assert.equal(played.failures[0]?.error.retryAfterMs, 'openMs' in rules ? 501 : 300);
        assert.equal(stage.over.length, 1);
      }
      const late = stage.run(itemsUpTo(1));
      recovery.admit(late.batch);
      assert.deepEqual(late.results, isFailed ? [[0, 'CIRCUIT_OPEN']] : []);
      mock.timers.reset();
      mock.restoreAll();
    }
  });

  it('does not open where the gate was closed for another cause', async () => {
    const { scene } = begin({ breaker: {} });
    await scene.close(CAUSE.quota);
    await comeBack(scene, 0);
    assert.deepEqual([scene.breaker?.state, scene.names()], ['closed', ['broadcast', 'paused', 'resumed']]);
  });

  it('is one more cause of a gate that a thread has closed already', async () => {
    const { scene, recovery } = begin({ breaker: {} });
    scene.gate.close(0, CAUSE.refused);
    recovery.trip();
    await settled();
    assert.deepEqual([scene.gate.generation, scene.names()], [1, ['broadcast', 'broadcast', 'rateLimited']]);
    await comeBack(scene, 0);
    assert.deepEqual(scene.told(), [['circuit', 'closed', 'open'], paused(1, 1_000, 1, 'refused', 'circuit')]);
    await scene.advance(300);
    assert.deepEqual(scene.told(), [], 'the longer of the two');
    await scene.advance(700);
    assert.deepEqual(scene.names(), ['circuit', 'resumed']);
  });
});

describe('closing', () => {
  it('waits for nothing, at whichever step it comes, and goes on with nothing', async () => {
    const steps: ((begun: ReturnType<typeof begin>) => unknown)[] = [
      () => {},
      ({ scene }) => scene.gate.close(0, CAUSE.refused),
      ({ scene }) => scene.close(CAUSE.refused),
      async ({ scene }) => {
        await scene.close(CAUSE.refused);
        await comeBack(scene, 0);
      },
      async ({ scene, recovery }) => {
        recovery.trip();
        await settled();
        await comeBack(scene, 0, END.ok);
      },
      async ({ scene }) => {
        await scene.close(CAUSE.credentials);
        await comeBack(scene, 0, END.stale);
      },
    ];
    for (const [at, step] of steps.entries()) {
      const begun = begin({ breaker: {}, hook: () => new Promise(() => {}) });
      const { scene, recovery } = begun;
      await step(begun);
      const asked = recovery.refreshCredentials();
      asked.catch(() => {});
      recovery.close();
      await assert.rejects(asked, EngineClosedError);
      scene.told();
      await scene.advance(100_000);
      scene.gate.close(scene.gate.generation, CAUSE.refused);
      recovery.notice();
      await scene.advance(100_000);
      const told = scene.names();
      assert.deepEqual(
        told.filter((name) => name !== 'credentials'),
        [],
        `step ${at}`,
      );
      mock.timers.reset();
      mock.restoreAll();
    }
  });

  it('ends a wait, so that nobody waits for a timer', async () => {
    const { scene, recovery } = begin();
    await scene.close(CAUSE.refused);
    await comeBack(scene, 0);
    const clear = mock.method(globalThis, 'clearTimeout');
    recovery.close();
    assert.equal(clear.mock.callCount(), 1);
    await settled();
    assert.equal(scene.names().at(-1), 'paused');
  });

  it('fails no batch because of credentials that were not had in time: the engine does that', async () => {
    const { scene, played, recovery } = begin({ hook: () => new Promise(() => {}) });
    await scene.close(CAUSE.credentials);
    await comeBack(scene, 0, END.stale);
    recovery.close();
    await settled();
    assert.deepEqual(played.results, []);
    assert.deepEqual(scene.told().at(-1), ['credentials', 'refused', false]);
  });
});
