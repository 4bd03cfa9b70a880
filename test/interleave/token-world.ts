import assert from 'node:assert/strict';
import { type Grant, Limiter } from '../../lib/limit/limiter.ts';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { TokenBucket } from '../../lib/limit/token-bucket.ts';
import type { ControlBlock } from '../../lib/shared/control-block.ts';
import { type Access, createBlockLike, type Value } from './memory.ts';
import type { Body, Self, World } from './thread.ts';

/** One request that has a token, or had it and may still be counted by the server. */
interface Use {
  readonly by: string;
  /** True while the token's word says that it is held. */
  held: boolean;
  /** When the server has counted it for certain, by what is assumed of it; -1 while nothing has left. */
  countedBy: number;
}

/** What is true of the tokens, whatever their words say. */
export interface TokenGhost {
  now: number;
  /** In the order of the limits. */
  tokens: { countedBy: number; uses: Use[] }[];
}

/** Later than any clock: the server may count it at any time. */
const ANY_TIME = 1e9;

function tokenGhost(limits: readonly PlannedLimit[]): TokenGhost {
  const count = limits.reduce((sum, { tokens }) => sum + tokens, 0);
  return { now: 0, tokens: Array.from({ length: count }, () => ({ countedBy: -1, uses: [] })) };
}

/**
 * The rules of the tokens: one holder at a time, nobody else writes what is held, and a token is free again only when a
 * window has passed since the server has counted its last request for certain.
 */
export class TokenRules {
  readonly #limits: readonly PlannedLimit[];

  constructor(limits: readonly PlannedLimit[]) {
    this.#limits = limits;
  }

  /** For `onAccess`. */
  readonly onAccess = (world: World<TokenGhost>, thread: string, access: Access, value: Value): void => {
    if (access.view !== 'words' || access.kind === 'load') return;
    const at = this.#placeOf(world, access.index);
    if (at === undefined) return;
    const { token, windowNs } = at;
    const [first, second] = access.args;
    if (access.kind === 'compareExchange' && value !== first) return;
    const word = Number(access.kind === 'compareExchange' ? second : first);
    const holder = token.uses.find(({ held }) => held);
    if (word < 0) {
      assert.equal(holder, undefined, `${thread} takes a token that ${holder?.by} holds`);
      const countedBy = Math.max(token.countedBy, ...token.uses.map((use) => use.countedBy));
      if (countedBy >= 0) {
        assert.ok(countedBy + windowNs <= world.ghost.now, `${thread} takes a token before it has rested`);
      }
      token.uses.push({ by: thread, held: true, countedBy: -1 });
    } else if (holder !== undefined) {
      const isHeir = thread === 'main' && world.isDead(holder.by);
      assert.ok(holder.by === thread || isHeir, `${thread} writes the word of a token that ${holder.by} holds`);
      holder.held = false;
    }
  };

  /** For `check`: a word never says that a token is free before it is. */
  readonly check = (world: World<TokenGhost>): void => {
    for (const { word, token, windowNs } of this.#all(world)) {
      if (token.uses.some(({ held }) => held)) {
        assert.ok(word < 0, 'a token that is held has the word of a free one');
        continue;
      }
      assert.ok(word >= 0, 'a token that nobody holds has the word of a held one');
      const countedBy = Math.max(token.countedBy, ...token.uses.map((use) => use.countedBy));
      if (countedBy >= 0) assert.ok(word >= countedBy + windowNs, 'a token becomes free before it has rested');
    }
  };

  /** For `onDeath`: what a dead thread has sent arrives within the time for stragglers. */
  readonly onDeath = (world: World<TokenGhost>, thread: string): void => {
    for (const { token, straggleNs } of this.#all(world)) {
      for (const use of token.uses) {
        if (use.by === thread) use.countedBy = Math.min(use.countedBy, world.ghost.now + straggleNs);
      }
    }
  };

  /** The request of this thread leaves. `sentNs` is the time that the tokens were told. */
  send(world: World<TokenGhost>, thread: string, sentNs: bigint): void {
    for (const { token, arrivalWithinNs } of this.#all(world)) {
      for (const use of token.uses) {
        if (use.by === thread && use.countedBy < 0) {
          use.countedBy = arrivalWithinNs === undefined ? ANY_TIME : Number(sentNs + arrivalWithinNs);
        }
      }
    }
  }

  /** From now on the request is known to have been counted, or will be within the time for stragglers after `atNs`. */
  settle(world: World<TokenGhost>, thread: string, givenUpAtNs?: bigint): void {
    for (const { token, straggleNs } of this.#all(world)) {
      const last = givenUpAtNs === undefined ? world.ghost.now : Number(givenUpAtNs) + straggleNs;
      for (const use of token.uses) if (use.by === thread) use.countedBy = Math.min(use.countedBy, last);
    }
  }

  /** The thread is done with its tokens. */
  close(world: World<TokenGhost>, thread: string): void {
    for (const { token } of this.#all(world)) {
      for (const use of token.uses.filter(({ by }) => by === thread)) {
        assert.ok(!use.held, `${thread} has forgotten a token`);
        token.countedBy = Math.max(token.countedBy, use.countedBy);
      }
      token.uses = token.uses.filter(({ by }) => by !== thread);
    }
  }

  *#all(world: World<TokenGhost>) {
    let at = 0;
    for (const [n, { first, count }] of world.block.layout.tokens.entries()) {
      const limit = this.#limits[n];
      if (limit === undefined) throw new RangeError(`There is no limit ${n}.`);
      const { arrivalWithinNs } = limit;
      for (let index = first; index < first + count; index++) {
        const token = world.ghost.tokens[at++];
        if (token === undefined) throw new RangeError(`There is no token ${at}.`);
        const word = Number(world.block.words[index]);
        const windowNs = Number(limit.windowNs);
        yield { index, word, token, windowNs, straggleNs: Number(limit.straggleNs), arrivalWithinNs };
      }
    }
  }

  #placeOf(world: World<TokenGhost>, index: number) {
    for (const place of this.#all(world)) if (place.index === index) return place;
    return undefined;
  }
}

/** What all scenarios with these limits have in common. */
export function tokenScenario(limits: readonly PlannedLimit[]) {
  const { check, onAccess, onDeath } = new TokenRules(limits);
  const sizes = { tokens: limits.map(({ tokens }) => tokens), slots: 0 };
  return { sizes, ghost: tokenGhost(limits), check, onAccess, onDeath };
}

/** Later, when all has rested, every token can be had again, whoever died with it. */
function assertNoneLost(world: World<unknown>, limits: readonly PlannedLimit[]): void {
  const block = createBlockLike(world.block);
  block.words.set(world.block.words);
  for (const [n, limit] of limits.entries()) {
    const bucket = new TokenBucket(block, n, limit, 99);
    for (let token = 0; token < limit.tokens; token++) {
      assert.notEqual(bucket.take(10n ** 12n), undefined, `a token of limit ${n} is lost for ever`);
    }
  }
}

/** The main thread: takes back what the dead held, once it is known who is dead. Returns how many tokens that were. */
export function reclaimer(
  mortal: Readonly<Record<string, number>>,
  limits: readonly PlannedLimit[],
  makeLimiter: (block: ControlBlock) => Pick<Limiter, 'reclaim'> = (block) => new Limiter(block, limits, 0),
): Body<TokenGhost> {
  return (self) => {
    const limiter = makeLimiter(self.block);
    let reclaimed = 0;
    for (const [name, id] of Object.entries(mortal)) {
      self.until(`${name} is over`, (world) => world.isOver(name));
      if (self.act(`asks if ${name} died`, (world) => world.isDead(name))) reclaimed += limiter.reclaim(id, now(self));
    }
    return reclaimed;
  };
}

/** What may become of a request that has its tokens. */
export type Fate = 'answered' | 'abandoned' | 'given back';

/** A thread that asks for the tokens of one request, which has each of these fates. */
export function requester(
  name: string,
  id: number,
  limits: readonly PlannedLimit[],
  fates: readonly Fate[],
  makeLimiter: (block: ControlBlock) => Pick<Limiter, 'tryAcquire'> = (block) => new Limiter(block, limits, id),
): Body<TokenGhost> {
  const rules = new TokenRules(limits);
  return (self) => {
    const grant = makeLimiter(self.block).tryAcquire(now(self));
    if (grant === undefined) {
      self.note((world) => rules.close(world, name));
      return 'refused';
    }
    const fate = fates.length > 1 ? self.choose('decides on', fates) : (fates[0] ?? 'answered');
    endGrant(self, name, rules, grant, fate);
    self.note((world) => rules.close(world, name));
    return fate;
  };
}

function endGrant(self: Self<TokenGhost>, name: string, rules: TokenRules, grant: Grant, fate: Fate): void {
  if (fate === 'given back') {
    grant.giveBack();
    return;
  }
  const sentNs = now(self);
  grant.sent(sentNs);
  self.act('sends its request', (world) => rules.send(world, name, sentNs));
  if (fate === 'answered') {
    self.act('is answered', (world) => rules.settle(world, name));
    grant.answered(now(self));
  } else {
    const givenUpNs = now(self);
    self.note((world) => rules.settle(world, name, givenUpNs));
    grant.abandoned(givenUpNs);
  }
}

/** A look at the clock. */
export function now(self: Self<{ now: number }>): bigint {
  return BigInt(self.act('looks at the clock', ({ ghost }) => ghost.now));
}

/** Time passes. */
export function clock(times: readonly number[]): Body<{ now: number }> {
  return (self) => {
    for (const time of times) {
      self.act(`says ${time}`, ({ ghost }) => {
        ghost.now = time;
      });
    }
  };
}

/** What became of each thread, and how many tokens the main thread took back. None is lost. */
export function endOf(world: World<unknown>, names: readonly string[], limits: readonly PlannedLimit[]): string {
  assertNoneLost(world, limits);
  const ends = names.map((name) => (world.isDead(name) ? 'dead' : world.returned(name)));
  const reclaimed = world.returned('main');
  return `${ends.join(', ')}${reclaimed === undefined || reclaimed === 0 ? '' : `, ${reclaimed} reclaimed`}`;
}
