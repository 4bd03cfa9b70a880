import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Limiter } from '../../lib/limit/limiter.ts';
import type { PlannedLimit } from '../../lib/limit/plan.ts';
import { layOut } from '../../lib/shared/layout.ts';
import { limitOf } from '../limit/worlds.ts';
import type { Scenario } from './explore.ts';
import { exploreTo } from './report.ts';
import type { Body, Self, World } from './thread.ts';
import { clock, now } from './token-world.ts';

/*
 * A thread that has found no token does not look for a while. It may be blind to what another thread writes meanwhile,
 * for an eighth of a window, and to nothing else.
 */

const WINDOW_NS = 100;
const BLIND_NS = Math.floor(WINDOW_NS / 8);

interface BlindGhost {
  now: number;
  /** Threads that do not look before this time. */
  blindUntil: Record<string, number>;
  /** By thread: tokens that others have written since it looked at them last. */
  unseen: Record<string, number[]>;
}

type Step = Self<BlindGhost>;

/** Ask until it is there. Returns the grant and when it came. */
function acquire(self: Step, name: string, limiter: Limiter) {
  let nowNs = now(self);
  for (;;) {
    const grant = limiter.tryAcquire(nowNs);
    if (grant !== undefined) return { grant, nowNs };
    const { retryAtNs } = limiter;
    refuse(self, name, nowNs, retryAtNs);
    const isTime = ({ ghost }: World<BlindGhost>) => ghost.now >= Number(retryAtNs);
    const look = ({ ghost }: World<BlindGhost>) => {
      delete ghost.blindUntil[name];
      return ghost.now;
    };
    nowNs = BigInt(self.until(`it is ${retryAtNs}`, isTime, look));
  }
}

function refuse(self: Step, name: string, nowNs: bigint, retryAtNs: bigint): void {
  assert.ok(retryAtNs > nowNs && retryAtNs <= nowNs + BigInt(BLIND_NS), `${nowNs}: does not look before ${retryAtNs}`);
  self.note(({ ghost }) => {
    ghost.blindUntil[name] = Number(retryAtNs);
  });
}

/** A thread whose request is answered at once, or never leaves. */
const requester =
  (name: string, id: number, limits: readonly PlannedLimit[], isGivenBack: readonly boolean[]): Body<BlindGhost> =>
  (self) => {
    const { grant, nowNs } = acquire(self, name, new Limiter(self.block, limits, id));
    if (self.choose('gives it back', isGivenBack)) {
      grant.giveBack();
      return `back ${nowNs}`;
    }
    grant.answered(now(self));
    return `${nowNs}`;
  };

/** A thread that has all tokens, asks in vain, and gives one back: it sees that one at once, if nobody is faster. */
const hoarder =
  (name: string, id: number, limits: readonly PlannedLimit[], count: number): Body<BlindGhost> =>
  (self) => {
    const limiter = new Limiter(self.block, limits, id);
    const grants = Array.from({ length: count }, () => limiter.tryAcquire(0n));
    if (limiter.tryAcquire(0n) !== undefined) return 'one too many';
    refuse(self, name, 0n, limiter.retryAtNs);
    const had = grants.filter((grant) => grant !== undefined);
    for (const grant of had) {
      grant.giveBack();
      self.note(({ ghost }) => {
        delete ghost.blindUntil[name];
      });
      const again = limiter.tryAcquire(0n);
      if (again === undefined) refuse(self, name, 0n, limiter.retryAtNs);
      else again.giveBack();
    }
    return `${had.length} had`;
  };

function scenarioOf(
  limits: readonly PlannedLimit[],
  threads: Readonly<Record<string, Body<BlindGhost>>>,
  times: readonly number[],
  shared: readonly number[],
): Scenario<BlindGhost> {
  const sizes = { tokens: limits.map(({ tokens }) => tokens), slots: 0 };
  const first = layOut(sizes).tokens[0]?.first ?? 0;
  const names = Object.keys(threads);
  return {
    sizes,
    ghost: { now: 0, blindUntil: {}, unseen: Object.fromEntries(names.map((name) => [name, []])) },
    threads: {
      ...threads,
      clock: (self) => {
        clock(times.slice(0, -1))(self);
        // From then on nobody is in the way of the other one.
        self.until('one is over', ({ isOver }) => names.some(isOver));
        clock(times.slice(-1))(self);
      },
    },
    onAccess: ({ ghost }, thread, { kind, view, index }) => {
      const token = index - first;
      if (view !== 'words' || !shared.includes(token)) return;
      const unseen = (name: string) => ghost.unseen[name] ?? [];
      ghost.unseen[thread] = unseen(thread).filter((other) => other !== token);
      if (kind !== 'store') return;
      for (const name of names) if (name !== thread && !unseen(name).includes(token)) unseen(name).push(token);
    },
    check: ({ ghost, block }) => {
      for (const [name, untilNs] of Object.entries(ghost.blindUntil)) {
        if (ghost.now >= untilNs) continue;
        for (const token of shared) {
          const word = Number(block.words[first + token]);
          if (word < 0 || word > ghost.now) continue;
          assert.ok(ghost.unseen[name]?.includes(token), `${name} does not look at token ${token}, which is free`);
        }
      }
    },
    end: ({ returned }) => names.map((name) => String(returned(name))).join(', '),
  };
}

describe('a thread that has found no token', () => {
  const limits = [limitOf({ tokens: 1, windowNs: BigInt(WINDOW_NS) })];

  it('looks again as soon as there can be one', (t) => {
    const times = [95, 100, 107, 400];
    const ends: string[] = [];
    for (const one of [0, ...times]) {
      for (const other of [0, ...times]) {
        if (Math.abs(one - other) >= WINDOW_NS) ends.push(`${one}, ${other}`);
        // The last of these times comes when one of them is over.
        if (one !== 400 || other !== 400) ends.push(`back ${one}, ${other}`);
      }
    }
    return exploreTo(
      t,
      scenarioOf(
        limits,
        { T1: requester('T1', 1, limits, [true, false]), T2: requester('T2', 2, limits, [false]) },
        times,
        [0],
      ),
      ends,
    );
  });

  it('sees what it gives back itself at once, also among many', (t) => {
    // Two blocks; all of the first one but its last token are somebody else's for ever.
    const many = [limitOf({ tokens: 257, windowNs: BigInt(WINDOW_NS) })];
    const scenario = scenarioOf(
      many,
      { T1: hoarder('T1', 1, many, 2), T2: requester('T2', 2, many, [false]) },
      [12, 24],
      [255, 256],
    );
    const first = layOut(scenario.sizes).tokens[0]?.first ?? 0;
    return exploreTo(
      t,
      {
        ...scenario,
        setup: ({ words }) => words.fill(-100n, first, first + 255),
        isPrivate: ({ view, index }) => view === 'words' && index >= first && index < first + 255,
      },
      [
        '2 had, 0',
        '2 had, 12',
        '2 had, 24',
        // T2 had the other one before.
        '1 had, 0',
        '1 had, 12',
      ],
    );
  });
});
