import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createControlBlock } from '../../lib/shared/control-block.ts';
import { CAUSE, Gate } from '../../lib/shared/gate.ts';
import { GateCloser } from '../../lib/shared/gate-closer.ts';
import { CAUSES, GENERATION } from '../../lib/shared/layout.ts';

/** A gate, and one who closes it. */
function stand(generation = 0, cancelsInFlight = true) {
  const block = createControlBlock({ tokens: [], slots: 0 });
  block.ints[GENERATION] = generation;
  block.words[CAUSES] = BigInt(generation) << 8n;
  const gate = new Gate(block);
  const told: [number, boolean][] = [];
  const closer = new GateCloser(gate, cancelsInFlight, (...news) => {
    // Whoever hears of it looks at the gate.
    assert.equal(gate.generation, news[0]);
    told.push(news);
  });
  return { gate, closer, told };
}

describe('GateCloser', () => {
  it('tells of the event that it was the first to see, and of no other', () => {
    const { gate, closer, told } = stand();
    closer.close(0, CAUSE.quota, undefined);
    closer.close(0, CAUSE.circuit, undefined);
    closer.close(0, CAUSE.quota, undefined);
    assert.deepEqual([gate.generation, gate.causesOf(1)], [1, CAUSE.quota | CAUSE.circuit]);
    assert.deepEqual(told, [[1, false]]);
  });

  it('tells of a refusal also if another cause came first, once', () => {
    const { closer, told } = stand();
    for (const cause of [CAUSE.credentials, CAUSE.refused, CAUSE.refused]) closer.close(0, cause, undefined);
    assert.deepEqual(told, [
      [1, false],
      [1, true],
    ]);
  });

  it('cancels what is in flight only because of a refusal, and only if that is wanted', () => {
    for (const cancelsInFlight of [true, false]) {
      for (const cause of Object.values(CAUSE)) {
        const { closer, told } = stand(0, cancelsInFlight);
        closer.close(0, cause, undefined);
        assert.deepEqual(told, [[1, cause === CAUSE.refused && cancelsInFlight]]);
      }
    }
  });

  it('says nothing of an event that is over', () => {
    const { gate, closer, told } = stand(2);
    closer.close(0, CAUSE.refused, undefined);
    assert.deepEqual([gate.generation, gate.causesOf(2), told], [2, 0, []]);
  });

  it('asks for quiet, whoever closes the gate', () => {
    const { gate, closer } = stand();
    closer.close(0, CAUSE.quota, 200n);
    closer.close(0, CAUSE.refused, 300n);
    closer.close(0, CAUSE.refused, undefined);
    closer.close(0, CAUSE.quota, 100n);
    assert.equal(gate.pausedUntilNs, 300n);
  });

  it('goes round with the generations', () => {
    const { gate, closer, told } = stand(2 ** 31 - 1);
    closer.close(2 ** 31 - 1, CAUSE.quota, undefined);
    closer.close(2 ** 31 - 1, CAUSE.refused, undefined);
    assert.equal(gate.generation, -(2 ** 31));
    assert.deepEqual(told, [
      [-(2 ** 31), false],
      [-(2 ** 31), true],
    ]);
  });
});
