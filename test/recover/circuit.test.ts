import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  type Circuit,
  type CircuitRules,
  CLOSED,
  halfOpened,
  opened,
  openLeftMs,
  openMsOf,
  probeSucceeded,
  probesAllowed,
} from '../../lib/recover/circuit.ts';

const RULES: CircuitRules = { successThreshold: 3, openMs: 100, openFactor: 2, maxOpenMs: 500, halfOpenProbes: 2 };

const rulesOf: fc.Arbitrary<CircuitRules> = fc.record({
  successThreshold: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 1_000_000 })),
  openMs: fc.integer({ min: 1, max: 600_000 }),
  openFactor: fc.double({ min: 1, max: 100, noNaN: true }),
  maxOpenMs: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
  halfOpenProbes: fc.integer({ min: 1, max: 65_536 }),
});

/** What happens next. Whatever the state, only one or two of these can be said of it. */
const events = fc.array(
  fc.oneof(
    fc.record({ failure: fc.constant(true) }),
    fc.record({ success: fc.constant(true) }),
    fc.record({ waitsMs: fc.double({ min: 0, max: 1e9, noNaN: true }) }),
  ),
  { maxLength: 60 },
);

/** Takes the only step that the state allows for an event, or none. */
function step(circuit: Circuit, event: { failure?: boolean; success?: boolean }, rules: CircuitRules, nowMs: number) {
  switch (circuit.kind) {
    case 'closed':
      return event.failure ? opened(circuit, rules, nowMs) : circuit;
    case 'open':
      return openLeftMs(circuit, nowMs) === 0 ? halfOpened(circuit) : circuit;
    case 'half-open':
      if (event.failure) return opened(circuit, rules, nowMs);
      return event.success ? probeSucceeded(circuit, rules) : circuit;
  }
}

const LEGAL = new Set(['closed open', 'open half-open', 'half-open open', 'half-open closed']);

describe('the circuit breaker', () => {
  it('never takes an illegal step, and is always on its way to closed or open', () => {
    fc.assert(
      fc.property(rulesOf, events, fc.double({ min: 0, max: 1e12, noNaN: true }), (rules, history, startMs) => {
        let circuit: Circuit = CLOSED;
        let nowMs = startMs;
        let [successes, reopenings] = [0, 0];
        for (const event of history) {
          if ('waitsMs' in event) nowMs += event.waitsMs;
          const next = step(circuit, event as { failure?: boolean }, rules, nowMs);
          if (next.kind !== circuit.kind) assert.ok(LEGAL.has(`${circuit.kind} ${next.kind}`));
          if (next.kind === 'open' && circuit.kind !== 'open') {
            // Counted by the test: how often since it was closed.
            reopenings = circuit.kind === 'closed' ? 0 : reopenings + 1;
            assert.equal(next.reopenings, reopenings);
            assert.equal(next.untilMs, nowMs + openMsOf(reopenings, rules));
          }
          if (next.kind === 'half-open') {
            successes =
              circuit.kind === 'half-open' && next !== circuit ? successes + 1 : circuit === next ? successes : 0;
            assert.equal(next.successes, successes);
            const allowed = probesAllowed(next, rules);
            assert.ok(allowed >= 1 && allowed <= rules.halfOpenProbes && allowed <= rules.successThreshold - successes);
          }
          if (next.kind === 'closed' && circuit.kind === 'half-open')
            assert.equal(successes, rules.successThreshold - 1);
          circuit = next;
        }
      }),
    );
  });

  it('cannot be told to take a step that its state does not allow', () => {
    const states = { closed: CLOSED, open: opened(CLOSED, RULES, 0), halfOpen: halfOpened(opened(CLOSED, RULES, 0)) };
    // Never called: the compiler is the test, and an expected error that does not come is one.
    const illegal = ({ closed, open, halfOpen }: typeof states) => {
      // @ts-expect-error what is open is not opened again
      opened(open, RULES, 0);
      // @ts-expect-error only what is open becomes half-open
      halfOpened(closed);
      // @ts-expect-error only what is open becomes half-open
      halfOpened(halfOpen);
      // @ts-expect-error there are no probes while it is open
      probeSucceeded(open, RULES);
      // @ts-expect-error there are no probes while it is closed
      probeSucceeded(closed, RULES);
      // @ts-expect-error there are no probes while it is open
      probesAllowed(open, RULES);
      // @ts-expect-error what is closed has no time left
      openLeftMs(closed, 0);
    };
    assert.equal(typeof illegal, 'function');
    assert.ok(Object.isFrozen(CLOSED));
  });

  it('stays open longer each time, up to the maximum, and starts anew once it was closed', () => {
    const openTimes: number[] = [];
    let circuit = opened(CLOSED, RULES, 0);
    for (let n = 0; n < 5; n++) {
      openTimes.push(openLeftMs(circuit, 0));
      circuit = opened(halfOpened(circuit), RULES, 0);
    }
    assert.deepEqual(openTimes, [100, 200, 400, 500, 500]);
    assert.equal(openLeftMs(opened(CLOSED, RULES, 0), 0), 100);
  });

  it('never opens for a shorter time than before, nor for longer than both bounds, however often', () => {
    fc.assert(
      fc.property(rulesOf, fc.nat(5_000), (rules, reopenings) => {
        const openMs = openMsOf(reopenings, rules);
        assert.ok(openMs >= rules.openMs && openMs <= Math.max(rules.openMs, rules.maxOpenMs));
        assert.ok(openMsOf(reopenings + 1, rules) >= openMs);
        assert.equal(openMsOf(0, rules), rules.openMs);
        if (openMs < rules.maxOpenMs) assert.equal(openMs, rules.openMs * rules.openFactor ** reopenings);
      }),
    );
  });

  it('has no time left exactly from its end on', () => {
    fc.assert(
      fc.property(
        rulesOf,
        fc.integer({ min: 0, max: 1e9 }),
        fc.integer({ min: 0, max: 1e9 }),
        (rules, atMs, laterMs) => {
          const circuit = opened(CLOSED, rules, atMs);
          assert.equal(openLeftMs(circuit, atMs + laterMs), Math.max(0, rules.openMs - laterMs));
        },
      ),
    );
  });

  it('closes with exactly as many successes as it takes, and lets no more probes out than are missing', () => {
    let circuit: Circuit = halfOpened(opened(CLOSED, { ...RULES, successThreshold: 5 }, 0));
    const allowed: number[] = [];
    while (circuit.kind === 'half-open') {
      allowed.push(probesAllowed(circuit, { ...RULES, successThreshold: 5, halfOpenProbes: 3 }));
      circuit = probeSucceeded(circuit, { ...RULES, successThreshold: 5 });
    }
    assert.deepEqual(allowed, [3, 3, 3, 2, 1]);
    assert.equal(circuit, CLOSED);
  });

  it('does not close after a failure of one of the probes, whatever becomes of the others', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 8 }),
        fc.array(fc.constantFrom('success', 'neither'), { maxLength: 30 }),
        (successThreshold, halfOpenProbes, ends) => {
          const rules = { ...RULES, successThreshold, halfOpenProbes };
          let circuit: Circuit = halfOpened(opened(CLOSED, rules, 0));
          let out = 0;
          for (const end of ends) {
            out = Math.max(out, probesAllowed(circuit, rules));
            out--;
            if (end === 'success') circuit = probeSucceeded(circuit, rules);
            if (circuit.kind === 'closed') return;
          }
          out = Math.max(out, probesAllowed(circuit, rules));
          // One fails; from then on no further one goes out, and all the others succeed.
          for (let others = out - 1; others > 0; others--) {
            const next = probeSucceeded(circuit, rules);
            assert.equal(next.kind, 'half-open');
            if (next.kind === 'half-open') circuit = next;
          }
        },
      ),
    );
  });
});
