import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MessagePort } from 'node:worker_threads';
import { Limiter } from '../../lib/limit/limiter.ts';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { Waiter } from '../../lib/limit/waiter.ts';
import { END, type Reply } from '../../lib/protocol.ts';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import type { HandlerContext, Permit } from '../../lib/types.ts';
import { Lane } from '../../workers/lane.ts';
import { limitOf } from '../limit/worlds.ts';
import { type Handle, hostOf, taskOf } from './played-lane.ts';

/*
 * Which word a lane leaves in a token, for everything that a handler can say and for every way in which an attempt can
 * end. The word decides when the token may be used again, so it is the limit: what follows is not how the lane finds it,
 * but when the upstream can have counted the request at the latest.
 */

const WINDOW = 10_000n;
const STRAGGLE = 3_000n;
const ARRIVAL = 400n;
/** Each thing that happens takes so long. */
const STEP = 100n;

const ENDS = [
  'returns',
  'returns 500',
  'returns 502',
  'returns 504',
  'throws',
  'throws notSent',
  'throws a refusal',
  'is told TIMEOUT',
  'is told TIMEOUT, and throws a refusal',
  'is told CANCELLED',
  'is told ABORTED',
  'is told ABORTED, but returns',
] as const;
type How = (typeof ENDS)[number];
type Said = readonly ('sent' | 'answered')[];
const SAID: readonly Said[] = [[], ['sent'], ['answered'], ['sent', 'answered']];

interface Case {
  readonly limit: PlannedLimit;
  readonly reportsSent: boolean;
  /** Of the first request and of further ones. */
  readonly said: readonly Said[];
  readonly how: How;
  readonly isAsync: boolean;
}

/** What is known of one request. */
interface Request {
  startNs: bigint;
  sentNs: bigint | undefined;
  answeredNs: bigint | undefined;
}

const fails = (how: How) => !how.includes('returns');

/** The latest moment at which the upstream can count the request; undefined if it never left. */
function countedByNs({ limit, reportsSent, said, how }: Case, request: Request, endNs: bigint): bigint | undefined {
  const { sentNs, answeredNs } = request;
  if (answeredNs !== undefined) return earlier(answeredNs, sentNs, limit);
  if (sentNs === undefined && fails(how)) {
    // It says of all that it sends that it does, or it says that this one was not sent, and it is the only one.
    if (reportsSent && !how.endsWith('throws a refusal')) return undefined;
    const saidNothing = said.every(({ length }) => length === 0);
    if (how === 'throws notSent' && said.length === 1 && saidNothing) return undefined;
  }
  // A refusal is an answer, and so is a value, unless it is a gateway's word that it got none.
  const isAnswer =
    how.endsWith('throws a refusal') || ['returns', 'returns 500', 'is told ABORTED, but returns'].includes(how);
  if (isAnswer) return earlier(endNs, sentNs, limit);
  if (sentNs !== undefined && limit.arrivalWithinNs !== undefined) return sentNs + limit.arrivalWithinNs;
  return endNs + limit.straggleNs;
}

/** An answer says that it was counted; what is assumed of the way may say that it was counted before. */
function earlier(answeredNs: bigint, sentNs: bigint | undefined, { arrivalWithinNs }: PlannedLimit): bigint {
  if (sentNs === undefined || arrivalWithinNs === undefined) return answeredNs;
  const arrivedNs = sentNs + arrivalWithinNs;
  return arrivedNs < answeredNs ? arrivedNs : answeredNs;
}

/** Play a case on the real lane, and see what it leaves. */
async function play(played: Case) {
  const { limit, reportsSent, said, how, isAsync } = played;
  const block = createControlBlock({ tokens: [limit.tokens], slots: 1, threads: 1 });
  let nowNs = 1_000n;
  const requests: Request[] = [];
  const begin = (): Request => {
    const request = { startNs: nowNs, sentNs: undefined, answeredNs: undefined };
    requests.push(request);
    return request;
  };
  const say = (permit: Permit, words: Said, request: Request) => {
    for (const word of words) {
      nowNs += STEP;
      permit[word]();
      request[word === 'sent' ? 'sentNs' : 'answeredNs'] = nowNs;
      // Only the first word counts.
      nowNs += STEP;
      if (word === 'sent') permit.sent();
    }
  };
  const end = () => {
    nowNs += STEP;
    if (how.startsWith('is told TIMEOUT')) lane.timeOut();
    if (how.startsWith('is told CANCELLED')) lane.stopBelow(1, true);
    if (how.startsWith('is told ABORTED')) lane.stopBatch(0);
    nowNs += STEP;
    if (how.startsWith('returns ')) return { status: Number(how.slice(-3)) };
    if (!fails(how)) return { status: 200 };
    const error = new Error(how);
    if (how === 'throws notSent') Object.assign(error, { notSent: true });
    if (how.endsWith('throws a refusal')) Object.assign(error, { code: 'RATE_LIMITED' });
    throw error;
  };
  const first = (context: HandlerContext) => say(context, said[0] ?? [], begin());
  const handle = isAsync
    ? async (_: unknown, context: HandlerContext) => {
        first(context);
        for (const words of said.slice(1)) {
          const permit = await context.acquire();
          say(permit, words, begin());
        }
        return end();
      }
    : (_: unknown, context: HandlerContext) => {
        first(context);
        return end();
      };
  const host = hostOf(block, {
    handle: handle as Handle,
    reportsSent,
    waiter: new Waiter(new Limiter(block, [limit], 1)),
    classifiers: [
      (settled) => (settled.ok && (settled.value as { status: number }).status >= 500 ? 'retry' : undefined),
    ],
  });
  const replies: Reply[] = [];
  const port = { postMessage: (reply: Reply) => replies.push(reply) };
  const lane = new (class extends Lane {
    override nowNs = () => nowNs;
  })(host, port as unknown as MessagePort);
  await lane.run(taskOf(['item']));
  const { first: at, count } = block.layout.tokens[0] ?? assert.fail();
  return { words: Array.from(block.words.slice(at, at + count)), requests, endNs: nowNs, replies };
}

function casesOf(limit: PlannedLimit, said: readonly (readonly Said[])[], isAsync: boolean): Case[] {
  return [true, false].flatMap((reportsSent) =>
    said.flatMap((words) => ENDS.map((how) => ({ limit, reportsSent, said: words, how, isAsync }))),
  );
}

async function check(played: Case): Promise<void> {
  const { words, requests, endNs } = await play(played);
  const expected = requests.map((request) => {
    const countedNs = countedByNs(played, request, endNs);
    return countedNs === undefined ? 0n : countedNs + WINDOW;
  });
  const unused = Array.from({ length: played.limit.tokens - requests.length }, () => 0n);
  const { reportsSent, said, how, isAsync } = played;
  assert.deepEqual(words, [...expected, ...unused], JSON.stringify({ reportsSent, said, how, isAsync }));
}

const oneRequest = SAID.map((said) => [said]);
const twoRequests = SAID.flatMap((first) => SAID.map((further) => [first, further]));
const threeRequests: readonly (readonly Said[])[] = [
  [[], [], []],
  [['sent', 'answered'], ['sent', 'answered'], []],
  [['sent', 'answered'], [], ['sent']],
];

for (const [title, arrivalWithinNs] of [
  ['nothing is assumed of the way', undefined],
  ['arrivalWithin is finite', ARRIVAL],
  ['arrivalWithin is longer than the answer takes', 50n * STEP],
] as const) {
  const limit = limitOf({ tokens: 4, windowNs: WINDOW, straggleNs: STRAGGLE, arrivalWithinNs });

  describe(`a token rests for a window after the upstream can have counted its request, ${title}`, () => {
    it('one request, whatever the handler says and however it ends', async () => {
      for (const isAsync of [false, true]) for (const each of casesOf(limit, oneRequest, isAsync)) await check(each);
    });

    it('a further request', async () => {
      for (const each of casesOf(limit, twoRequests, true)) await check(each);
    });

    it('two further requests', async () => {
      for (const each of casesOf(limit, threeRequests, true)) await check(each);
    });
  });
}

describe('what was not sent, as the main thread is told', () => {
  const limit = limitOf({ tokens: 4, windowNs: WINDOW, straggleNs: STRAGGLE });
  const told = async (reportsSent: boolean, said: readonly Said[], how: How) => {
    const { replies } = await play({ limit, reportsSent, said, how, isAsync: true });
    const value = replies.flatMap(({ values }) => Array.from(values))[0] as { possiblyExecuted?: boolean };
    return value.possiblyExecuted;
  };

  it('is what no word was said of, by a handler that says all', async () => {
    for (const how of ['throws', 'throws notSent', 'is told TIMEOUT', 'is told ABORTED'] as const) {
      assert.equal(await told(true, [[]], how), false, how);
      // An answer to a request that it did not say to have sent: it was sent.
      for (const said of [['sent'], ['answered']] as const) assert.equal(await told(true, [said], how), true, how);
      assert.equal(await told(true, [['sent', 'answered'], []], how), true, how);
      assert.equal(await told(true, [[], ['answered']], how), true, how);
    }
  });

  it('is what the error says, of any other one, as long as it has sent nothing and asked for nothing further', async () => {
    assert.equal(await told(false, [[]], 'throws notSent'), false);
    assert.equal(await told(false, [[]], 'throws'), true);
    assert.equal(await told(false, [['sent']], 'throws notSent'), true);
    assert.equal(await told(false, [[], []], 'throws notSent'), true);
    // One that is stopped does not speak for itself.
    for (const how of ['is told TIMEOUT', 'is told ABORTED'] as const) assert.equal(await told(false, [[]], how), true);
  });

  it('is no end of its own: a cancelled item runs again either way', async () => {
    for (const said of SAID) {
      const { replies } = await play({
        limit,
        reportsSent: true,
        said: [said],
        how: 'is told CANCELLED',
        isAsync: false,
      });
      assert.deepEqual(
        replies.flatMap(({ ends }) => Array.from(ends ?? [])),
        [END.cancelled],
      );
    }
  });
});
