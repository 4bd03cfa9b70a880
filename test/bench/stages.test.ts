import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type CpuProfile, costByStage, stageOfFrame } from '../../bench/suites/profile/stages.ts';

const frame = (functionName: string, url = '') => ({ functionName, url });

describe('stageOfFrame', () => {
  it('goes by the module', () => {
    assert.match(stageOfFrame(frame('run', 'file:///a/dist/workers/lane.js')) ?? '', /lane/);
    assert.match(stageOfFrame(frame('take', 'file:///a/dist/lib/limit/token-bucket.js')) ?? '', /limit/);
    assert.match(stageOfFrame(frame('settleReply', 'file:///a/dist/lib/batch/settle-reply.js')) ?? '', /batch/);
    assert.match(stageOfFrame(frame('dispatch', 'file:///a/node_modules/undici/lib/agent.js')) ?? '', /undici/);
    assert.match(stageOfFrame(frame('onMessage', 'file:///a/node_modules/piscina/dist/worker.js')) ?? '', /messages/);
  });

  it('goes by what native code does, and leaves the rest to who calls it', () => {
    assert.match(stageOfFrame(frame('postMessage')) ?? '', /messages/);
    assert.match(stageOfFrame(frame('hrtimeBigInt')) ?? '', /clock/);
    assert.equal(stageOfFrame(frame('push')), undefined);
    assert.equal(stageOfFrame(frame('nextTick', 'node:internal/util')), undefined);
  });
});

describe('costByStage', () => {
  const lane = 'file:///a/dist/workers/lane.js';
  const profile: CpuProfile = {
    startTime: 1_000,
    nodes: [
      { id: 1, callFrame: frame('(root)'), children: [2, 3, 5] },
      { id: 2, callFrame: frame('(idle)') },
      { id: 3, callFrame: frame('run', lane), children: [4] },
      { id: 4, callFrame: frame('push') },
      { id: 5, callFrame: frame('(garbage collector)') },
    ],
    // At 1010, 1030, 1060, 1100, 1150.
    samples: [3, 2, 4, 5, 2],
    timeDeltas: [10, 20, 30, 40, 50],
  };

  it('gives each sample the time until the next one, and native functions to their callers', () => {
    const costs = costByStage(profile, 0, 1e9);
    // Until 1010 is as good as the first sample; 1010 to 1030 in the lane, then idle, then what the lane calls.
    assert.deepEqual(Object.fromEntries(costs), {
      [stageOfFrame(frame('run', lane)) ?? '']: 10 + 20 + 40,
      [stageOfFrame(frame('(garbage collector)')) ?? '']: 50,
    });
  });

  it('counts only what lies between the two times', () => {
    assert.deepEqual([...costByStage(profile, 1_110, 1_120).values()], [10]);
    assert.deepEqual([...costByStage(profile, 1_020, 1_070).values()], [10 + 10]);
    assert.equal(costByStage(profile, 1_035, 1_055).size, 0);
  });
});
