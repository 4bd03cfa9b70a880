import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvalidOptionError } from '../../lib/errors.ts';
import { startSimulator } from '../../lib/simulator/index.ts';
import { resolveOptions } from '../../lib/simulator/options.ts';
import { startBench } from './support.ts';

const WRONG: readonly (readonly [option: string, options: object])[] = [
  ['limit', { limit: 0 }],
  ['limit', { limit: 1.5 }],
  ['limit', { limit: Number.NaN }],
  ['limit', { limit: '20' }],
  ['limit', { limit: null }],
  ['windowMs', { windowMs: 0 }],
  ['windowMs', { windowMs: Number.POSITIVE_INFINITY }],
  ['algorithm', { algorithm: 'leaky' }],
  ['burst', { burst: 3 }],
  ['burst', { algorithm: 'token-bucket', burst: 0 }],
  ['burst', { algorithm: 'gcra', burst: -1 }],
  ['fixedPhaseMs', { fixedPhaseMs: '1' }],
  ['countRefused', { countRefused: 1 }],
  ['countRefused', { countRefused: true, algorithm: 'gcra' }],
  ['serviceTimeMs', { serviceTimeMs: -1 }],
  ['serviceTimeMs', { serviceTimeMs: [30, 5] }],
  ['serviceTimeMs', { serviceTimeMs: [1, 2, 3] }],
  ['serviceTimeMs', { serviceTimeMs: 2 ** 31 }],
  ['refusalTimeMs', { refusalTimeMs: 'x' }],
  ['refusal', { refusal: '418' }],
  ['seed', { seed: -1 }],
  ['port', { port: 65_536 }],
  ['keepAliveMs', { keepAliveMs: 0 }],
  ['maxArrivals', { maxArrivals: 0 }],
  ['limitt', { limitt: 3 }],
  ['faults', { faults: {} }],
  ['faults[0]', { faults: [null] }],
  ['faults[0].kind', { faults: [{}] }],
  ['faults[1].kind', { faults: [{ kind: 'hang' }, { kind: 'explode' }] }],
  ['faults[0].at', { faults: [{ kind: 'hang', at: 0 }] }],
  ['faults[0].at', { faults: [{ kind: 'hang', at: [1, 'x'] }] }],
  ['faults[0].probability', { faults: [{ kind: 'hang', probability: 1.1 }] }],
  ['faults[0].methods', { faults: [{ kind: 'hang', methods: 'GET' }] }],
  ['faults[0].path', { faults: [{ kind: 'hang', path: 'item' }] }],
  ['faults[0].times', { faults: [{ kind: 'hang', times: 0 }] }],
  ['faults[0].after', { faults: [{ kind: 'hang', after: 'later' }] }],
  ['faults[0].variant', { faults: [{ kind: 'refuse', variant: 'egw' }] }],
  ['faults[0].variant', { faults: [{ kind: 'hang', variant: 'egw-500' }] }],
  ['faults[0].retryAfter', { faults: [{ kind: '429', retryAfter: -1 }] }],
  ['faults[0].retryAfter', { faults: [{ kind: '429', retryAfter: 'a\r\nb: c' }] }],
  ['faults[0].retryAfter.dateInMs', { faults: [{ kind: '503', retryAfter: { dateInMs: 'soon' } }] }],
  ['faults[0].status', { faults: [{ kind: 'status' }] }],
  ['faults[0].status', { faults: [{ kind: 'status', status: 101 }] }],
  ['faults[0].body', { faults: [{ kind: 'status', status: 500, body: 1n }] }],
  ['faults[0].code', { faults: [{ kind: 'kis' }] }],
  ['faults[0].code', { faults: [{ kind: 'kis', code: 'EGW99999' }] }],
  ['faults[0].code', { faults: [{ kind: 'hang', code: 'EGW00300' }] }],
  ['faults[0].status', { faults: [{ kind: 'kis', code: 'EGW00300', status: 100 }] }],
  ['kis.expireTokensAt', { kis: { expireTokensAt: 0 } }],
  ['faults[0].durationMs', { faults: [{ kind: 'slow-body', durationMs: -1 }] }],
  ['faults[0].bytes', { faults: [{ kind: 'huge-body', bytes: 1 }] }],
  ['kis', { kis: 'yes' }],
  ['kis', { kis: null }],
  ['faults', { faults: null }],
  ['kis.appkey', { kis: { appkey: 'x' } }],
  ['kis.checkHeaders', { kis: { checkHeaders: 'no' } }],
  ['kis.tokenIntervalMs', { kis: { tokenIntervalMs: -1 } }],
  ['kis.unknownSymbols', { kis: { unknownSymbols: [1] } }],
  ['kis.appSecret', { kis: { appSecret: 12345 } }],
];

test('a wrong option is refused at once, by its name', async () => {
  for (const [option, options] of WRONG) {
    await assert.rejects(
      // The point is what a caller without types may pass.
      startSimulator(options as never).then((sim) => sim.close()),
      (error) => error instanceof InvalidOptionError && error.option === option && error.allowed.length > 0,
      `${option} of ${JSON.stringify(options, (_, value) => (typeof value === 'bigint' ? 'bigint' : value))}`,
    );
  }
});

test('options that are no object are refused', async () => {
  await assert.rejects(startSimulator('fast' as never), InvalidOptionError);
});

test('a wrong secret is not shown', () => {
  assert.throws(
    () => resolveOptions({ kis: { appSecret: 98_765 as never } }),
    (error) => error instanceof InvalidOptionError && !error.message.includes('98765') && error.value === undefined,
  );
});

test('the defaults are KIS: 20 requests in any second', () => {
  const options = resolveOptions();
  assert.deepEqual(options.limiter, {
    algorithm: 'sliding-log',
    limit: 20,
    windowNs: 1e9,
    burst: 20,
    phaseNs: 0,
    countRefused: false,
  });
  assert.deepEqual(options.serviceTime, { minMs: 5, maxMs: 30 });
  assert.equal(options.refusal, 'egw-500');
  assert.equal(options.kis?.checkHeaders, true);
  assert.equal(resolveOptions({ algorithm: 'gcra' }).limiter.burst, 1);
  assert.equal(resolveOptions({ algorithm: 'token-bucket', limit: 7 }).limiter.burst, 7);
});

test('setFaults and setLimit refuse what the options refuse, and change nothing then', async (t) => {
  const { sim, call } = await startBench(t);
  await assert.rejects(sim.setFaults([{ kind: 'explode' as never }]), InvalidOptionError);
  await assert.rejects(sim.setLimit(0), InvalidOptionError);
  assert.equal((await call('/')).status, 200);
});

test('a port that is taken is told with its code', async (t) => {
  const { sim } = await startBench(t);
  await assert.rejects(startSimulator({ port: sim.port }), (error: Error & { code?: string }) => {
    assert.equal(error.code, 'SIMULATOR_START');
    assert.equal((error.cause as { code?: string }).code, 'EADDRINUSE');
    return true;
  });
});
