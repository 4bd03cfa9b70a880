import assert from 'node:assert/strict';
import { CAUSE, Gate } from '../../lib/shared/gate.ts';
import { GateCloser } from '../../lib/shared/gate-closer.ts';
import { GENERATION } from '../../lib/shared/layout.ts';
import type { Scenario } from './explore.ts';
import type { Body, Self } from './thread.ts';

interface Detection {
  readonly cause: number;
  readonly quietNs?: bigint;
}

interface DetectorGhost {
  /** Who closed it, and who has found it closed. */
  closedBy: string;
  tried: Record<string, boolean>;
  told: Record<string, string>;
}

const detector =
  (name: string, { cause, quietNs }: Detection, Closer: typeof GateCloser): Body<DetectorGhost> =>
  (self: Self<DetectorGhost>) => {
    const tellAll = (generation: number, cancels: boolean) =>
      self.act('tells all', ({ ghost }) => {
        ghost.told[name] = `${generation}${cancels ? ' cancel' : ''}`;
      });
    new Closer(new Gate(self.block), true, tellAll).close(0, cause, quietNs);
  };

/**
 * Threads that each close the gate for the same generation, and may die.
 * @param Closer The shipped class, or one with a mistake.
 */
export function detectors(
  detections: Readonly<Record<string, Detection>>,
  deaths: number,
  Closer = GateCloser,
): Scenario<DetectorGhost> {
  const names = Object.keys(detections);
  return {
    sizes: { tokens: [], slots: 0 },
    ghost: {
      closedBy: '',
      tried: Object.fromEntries(names.map((name) => [name, false])),
      told: Object.fromEntries(names.map((name) => [name, ''])),
    },
    threads: Object.fromEntries(Object.entries(detections).map(([name, what]) => [name, detector(name, what, Closer)])),
    mortal: names,
    deaths,
    onAccess: ({ ghost }, thread, { kind, view, index }, value) => {
      if (kind !== 'compareExchange' || view !== 'ints' || index !== GENERATION) return;
      ghost.tried[thread] = true;
      if (value === 0) ghost.closedBy = thread;
    },
    // Whoever sees it closed sees why, and for how long, of all who have closed it or found it closed.
    check: ({ block, ghost: { tried } }) => {
      const gate = new Gate(block);
      for (const [name, { cause, quietNs = 0n }] of Object.entries(detections)) {
        if (!tried[name]) continue;
        assert.equal(gate.causesOf(1) & cause, cause, 'it is closed, and the cause is not there');
        assert.ok(gate.pausedUntilNs >= quietNs, 'it is closed, and the wish for quiet is not there');
      }
    },
    end: (world) => {
      const { closedBy, told } = world.ghost;
      const isLeft = (name: string) => !world.isDead(name);
      const left = names.filter(isLeft);
      const gate = new Gate(world.block);
      assert.equal(gate.generation, left.length > 0 || closedBy !== '' ? 1 : 0);
      // A refusal cancels, whatever closed the gate first, if only nobody who was to tell is dead.
      const refused = names.filter((name) => detections[name]?.cause === CAUSE.refused);
      if (refused.length > 0 && refused.every(isLeft)) {
        assert.ok(Object.values(told).includes('1 cancel'), 'it was refused, and nobody cancels');
      }
      if (isLeft(closedBy) && closedBy !== '') assert.ok(told[closedBy], 'it is closed, and nobody says so');
      const said = names.map((name) => `${name} ${told[name] || (isLeft(name) ? 'silent' : 'dead')}`);
      return `${said.join(', ')}; quiet until ${gate.pausedUntilNs}`;
    },
  };
}
