import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { WORK } from '../../lib/shared/layout.ts';
import { WorkSlot } from '../../lib/shared/work-slot.ts';
import { exploreTo } from './report.ts';
import type { Body, World } from './thread.ts';

const ITEMS = 3;
const sizes = { tokens: [], slots: 1 };

interface ChunkGhost {
  /** Who has each item. */
  owners: string[];
  /** Requests that really left. */
  sent: number;
}

/** Somebody gets items, which nobody else may have or get. */
function own(world: World<ChunkGhost>, who: string, from: number, to: number): void {
  for (let at = from; at < to; at++) {
    assert.equal(world.ghost.owners[at], undefined, `item ${at} is with ${world.ghost.owners[at]} and ${who}`);
    world.ghost.owners[at] = who;
  }
}

/** As a lane does it: claim, say so, send, be done. */
const lane =
  (name: string, items: number): Body<ChunkGhost> =>
  (self) => {
    const slot = new WorkSlot(self.block, 0);
    let done = 0;
    for (; done < items && slot.claim(done); done++) {
      const position = done;
      self.note((world) => own(world, name, position, position + 1));
      slot.work = WORK.called | WORK.sent;
      slot.countSent();
      self.act('sends its request', (world) => {
        world.ghost.sent++;
      });
      slot.work = 0;
    }
    return done;
  };

const ghost: ChunkGhost = { owners: [], sent: 0 };

describe('a chunk of work', () => {
  it('has every item with the lane or with the main thread that takes it back, twice, if only it likes', (t) =>
    exploreTo(
      t,
      {
        sizes,
        ghost,
        threads: {
          lane: lane('lane', ITEMS),
          main: (self) => {
            const slot = new WorkSlot(self.block, 0);
            const claimed = slot.close();
            self.note((world) => own(world, 'main', claimed, ITEMS));
            assert.equal(slot.close(), claimed);
            assert.equal(slot.started, claimed);
            return claimed;
          },
        },
        end: (world) => {
          assert.equal(world.ghost.owners.length, ITEMS);
          assert.equal(world.returned('lane'), world.returned('main'));
          return world.ghost.owners.join(' ');
        },
      },
      ['main main main', 'lane main main', 'lane lane main', 'lane lane lane'],
    ));

  it('tells after the death of its thread what was claimed and what may have been sent', (t) =>
    exploreTo(
      t,
      {
        sizes,
        ghost,
        threads: {
          lane: lane('lane', 2),
          main: (self) => {
            self.until('the lane is over', (world) => world.isOver('lane'));
            const slot = new WorkSlot(self.block, 0);
            const { started, sent, work } = slot;
            self.note((world) => {
              own(world, 'main', started, 2);
              // What has left was counted and marked before.
              assert.ok(sent >= world.ghost.sent, `${world.ghost.sent} were sent, and it says ${sent}`);
              assert.ok(sent - world.ghost.sent <= 1);
              if (sent > world.ghost.sent) assert.equal(work, WORK.called | WORK.sent);
            });
            return `${started} started, ${sent} sent, ${work === 0 ? 'none' : 'one'} in work`;
          },
        },
        mortal: ['lane'],
        end: (world) => {
          assert.equal(world.ghost.owners.length, 2);
          return `${world.isDead('lane') ? 'dead: ' : ''}${world.returned('main')}, ${world.ghost.sent} left`;
        },
      },
      [
        '2 started, 2 sent, none in work, 2 left',
        'dead: 0 started, 0 sent, none in work, 0 left',
        'dead: 1 started, 0 sent, none in work, 0 left',
        'dead: 1 started, 0 sent, one in work, 0 left',
        'dead: 1 started, 1 sent, one in work, 0 left',
        'dead: 1 started, 1 sent, one in work, 1 left',
        'dead: 1 started, 1 sent, none in work, 1 left',
        'dead: 2 started, 1 sent, none in work, 1 left',
        'dead: 2 started, 1 sent, one in work, 1 left',
        'dead: 2 started, 2 sent, one in work, 1 left',
        'dead: 2 started, 2 sent, one in work, 2 left',
      ],
    ));

  it('leaves nothing to the next one in its slot', (t) =>
    exploreTo(
      t,
      {
        sizes,
        ghost,
        threads: {
          lane: lane('lane', 2),
          main: (self) => {
            const slot = new WorkSlot(self.block, 0);
            slot.close();
            self.until('the lane is over', (world) => world.isOver('lane'));
            slot.reset();
            self.act('hands out the next chunk', (world) => {
              world.ghost.owners = [];
              world.ghost.sent = 0;
            });
          },
          next: (self) => {
            self.until('it has its chunk', (world) => world.isOver('main'));
            return lane('next', 2)(self);
          },
        },
        mortal: ['lane'],
        end: (world) => {
          const { sent, work } = new WorkSlot(world.block, 0);
          assert.deepEqual({ sent, work }, { sent: 2, work: 0 });
          return world.ghost.owners.join(' ');
        },
      },
      ['next next'],
    ));
});
