import { type ControlBlock, createControlBlock } from '../../lib/shared/control-block.ts';
import type { Sizes } from '../../lib/shared/layout.ts';
import { type Access, describeAccess, mayOvertake, perform, type Value } from './memory.ts';
import { type Body, LogicalThread, type Place, type World } from './thread.ts';

/** Threads, what they may do to each other, and what must never be. */
export interface Scenario<G extends object> {
  readonly sizes: Sizes;
  /** At the start. Plain data without bigints, so that states can be copied and compared. */
  readonly ghost: G;
  /** Before the threads start. */
  readonly setup?: (block: ControlBlock) => void;
  readonly threads: Readonly<Record<string, Body<G>>>;
  /** Threads that may be killed: before any of their steps. (After the last one they are as good as dead.) */
  readonly mortal?: readonly string[];
  /** How many are killed at most. Default 1. */
  readonly deaths?: number;
  /** In one step with the death. */
  readonly onDeath?: (world: World<G>, thread: string) => void;
  /** What `process.hrtime.bigint` says. Default: the real time. */
  readonly hrtimeNs?: bigint;
  /** Words that only one thread uses, or that nobody writes: an access to one is no step. */
  readonly isPrivate?: (access: Access) => boolean;
  /** A plain write may be seen before an atomic store in front of it, as on machines with weak memory. */
  readonly plainMayOvertake?: boolean;
  /** In one step with each access. Throws if it must not be. */
  readonly onAccess?: (world: World<G>, thread: string, access: Access, value: Value) => void;
  /** Throws if a state must not be. */
  readonly check?: (world: World<G>) => void;
  /** Describes a state in which nobody has anything left to do. Throws if it must not be. */
  readonly end: (world: World<G>) => string;
}

export interface Exploration {
  readonly states: number;
  readonly transitions: number;
  readonly kills: number;
  /** Orders of all steps: so many that a rounded number must do. */
  readonly schedules: number;
  /** Steps of the longest schedule. */
  readonly longest: number;
  /** How often the code was run. */
  readonly runs: number;
  /** All ends, each with the shortest schedule that leads to it. */
  readonly ends: ReadonlyMap<string, readonly string[]>;
}

/** Something that must not be, and the shortest way to it. */
export class Violation extends Error {
  /** One line per step. */
  readonly schedule: readonly string[];

  constructor(schedule: readonly string[], cause: unknown) {
    const what = cause instanceof Error ? cause.message : String(cause);
    super([what, ...schedule.map((line, n) => `${String(n + 1).padStart(4)}. ${line}`)].join('\n'), { cause });
    this.name = 'Violation';
    this.schedule = schedule;
  }
}

interface State<G> {
  /** Its number, in the order of discovery. */
  readonly id: number;
  memory: Int32Array;
  /** The same as a part of its key. */
  memoryKey: string;
  places: readonly Place<G>[];
  /** The atomic store that each thread holds back. */
  heldBack: readonly (Access | undefined)[];
  /** A bit per thread. */
  dead: number;
  readonly ghost: G;
  /** How many schedules lead here. */
  ways: number;
}

/** What can happen next: a step, an atomic store that is held back, the end of that, or a death. */
interface Move {
  readonly thread: number;
  readonly kind: 'step' | 'hold back' | 'let go' | 'die';
  /** Which of its options a thread chooses. */
  readonly option?: Value;
}

/** No thread of a scenario does as much as this: one that does never ends. */
const MAX_STEPS = 1000;
/** A scenario that has more states is too large. */
const MAX_STATES = 3e6;

/**
 * Go through every order of the steps of all threads, breadth first, so that the schedule that leads to a violation is
 * as short as it can be. A state that has been seen is not gone through again: two are the same if memory, ghost, the
 * dead, and the place of each thread are.
 * @throws Violation if something happens that must not.
 */
export function explore<G extends object>(scenario: Scenario<G>): Promise<Exploration> {
  return new Explorer(scenario).run();
}

class Explorer<G extends object> {
  readonly #scenario: Scenario<G>;
  readonly #block: ControlBlock;
  readonly #blank: Int32Array;
  readonly #threads: readonly LogicalThread<G>[];
  readonly #mortal: readonly boolean[];
  /** How each state was found first. */
  readonly #found: { readonly from: number; readonly move: Move | undefined }[] = [];
  readonly #ends = new Map<string, number>();
  #transitions = 0;
  #kills = 0;
  #schedules = 0;
  #first: State<G> | undefined;
  /** What the last step gave to its thread. */
  #value: Value;

  constructor(scenario: Scenario<G>) {
    this.#scenario = scenario;
    this.#block = createControlBlock(scenario.sizes);
    scenario.setup?.(this.#block);
    this.#blank = this.#block.ints.slice();
    const options = { ...scenario, start: this.#blank, users: new Map() };
    this.#threads = Object.entries(scenario.threads).map(
      ([name, body]) => new LogicalThread(name, body, this.#block, options),
    );
    this.#mortal = this.#threads.map(({ name }) => scenario.mortal?.includes(name) === true);
  }

  async run(): Promise<Exploration> {
    this.#found.push({ from: -1, move: undefined });
    const start = await this.#start();
    this.#first = start;
    let level = [start];
    let longest = 0;
    const { plainMayOvertake = false } = this.#scenario;
    // Every move makes the history longer by one, so a state is found again only at its own level.
    for (let depth = 0; level.length > 0; depth++) {
      longest = depth;
      const next = new Map<string, State<G>>();
      for (const state of level) {
        const moves = this.#movesOf(state);
        if (plainMayOvertake) moves.push(...(await this.#holdBacksOf(state)));
        if (!moves.some(({ kind }) => kind !== 'die')) this.#end(state);
        for (const move of moves) {
          try {
            // Not awaited if it is known: the test runner looks at every promise, and that takes longer than all else.
            const to = this.#go(state, move) ?? (await this.#learn(state, move));
            this.#scenario.check?.(this.#worldOf(to));
            this.#discover(state, move, to, next);
          } catch (error) {
            const last = this.#describe(state, move);
            throw new Violation([...this.#scheduleTo(state.id), last], error);
          }
        }
      }
      level = [...next.values()];
    }
    const ends = new Map<string, readonly string[]>();
    for (const [end, id] of this.#ends) ends.set(end, this.#scheduleTo(id));
    return {
      states: this.#found.length,
      transitions: this.#transitions,
      kills: this.#kills,
      schedules: this.#schedules,
      longest,
      runs: this.#threads.reduce((sum, thread) => sum + thread.runs, 0),
      ends,
    };
  }

  async #start(): Promise<State<G>> {
    const places: Place<G>[] = [];
    for (const thread of this.#threads) places.push(await thread.start());
    const heldBack = places.map(() => undefined);
    const ghost = structuredClone(this.#scenario.ghost);
    const state = { id: 0, memory: this.#blank, memoryKey: '', places, heldBack, dead: 0, ghost, ways: 1 };
    const world = this.#enter(state);
    for (const place of places) remember(place, world);
    return state;
  }

  #movesOf(state: State<G>): Move[] {
    const { deaths = 1 } = this.#scenario;
    const moves: Move[] = [];
    const world = this.#enter(state);
    for (const [thread, { step }] of state.places.entries()) {
      if (isSet(state.dead, thread)) continue;
      const held = state.heldBack[thread];
      if (held !== undefined) {
        moves.push({ thread, kind: 'let go' });
        if (mayOvertake(step?.access, held)) moves.push({ thread, kind: 'step' });
        continue;
      }
      if (step === undefined) continue;
      if (this.#mortal[thread] && countBits(state.dead) < deaths) moves.push({ thread, kind: 'die' });
      if (step.condition?.(world) === false) continue;
      for (const option of step.options ?? [undefined]) moves.push({ thread, kind: 'step', option });
    }
    return moves;
  }

  /** Threads that are about to do an atomic store, and then a plain write elsewhere. */
  async #holdBacksOf({ places, heldBack, dead }: State<G>): Promise<Move[]> {
    const moves: Move[] = [];
    for (const [thread, place] of places.entries()) {
      const access = place.step?.access;
      const logical = this.#threads[thread];
      if (access?.kind !== 'store' || heldBack[thread] !== undefined || isSet(dead, thread)) continue;
      const value = access.args[0] as Value;
      if (logical?.after(place, value) === undefined) await logical?.explore(place, value);
      if (mayOvertake(logical?.after(place, value)?.step?.access, access)) moves.push({ thread, kind: 'hold back' });
    }
    return moves;
  }

  /** Make a move after which its thread is where its code has not been run to before. */
  async #learn(from: State<G>, move: Move): Promise<State<G>> {
    const place = from.places[move.thread];
    if (place !== undefined) await this.#threads[move.thread]?.explore(place, this.#value);
    const to = this.#go(from, move);
    if (to === undefined) throw new Error('A step has another outcome the second time.');
    return to;
  }

  #discover(from: State<G>, move: Move, to: State<G>, next: Map<string, State<G>>): void {
    this.#transitions++;
    if (move.kind === 'die') this.#kills++;
    const key = this.#keyOf(to);
    const known = next.get(key);
    if (known !== undefined) {
      known.ways += from.ways;
      return;
    }
    this.#found.push({ from: from.id, move });
    if (to.id >= MAX_STATES) throw new Error(`There are more than ${MAX_STATES} states.`);
    next.set(key, to);
  }

  /** Leaves the memory of the new state in the block. Undefined if it is not known where the thread gets. */
  #go(from: State<G>, { thread, kind, option }: Move): State<G> | undefined {
    const place = from.places[thread];
    const logical = this.#threads[thread];
    if (place === undefined || logical === undefined) throw new RangeError(`There is no thread ${thread}.`);
    const to = { ...from, id: this.#found.length, ghost: copyOf(from.ghost) };
    if (kind === 'die') to.dead |= 1 << thread;
    const world = this.#enter(to);
    this.#value = undefined;
    if (kind === 'die') {
      this.#scenario.onDeath?.(world, logical.name);
      return to;
    }
    if (place.values.length >= MAX_STEPS) throw new Error(`${logical.name} does not come to an end.`);
    const { step } = place;
    const access = kind === 'let go' ? from.heldBack[thread] : step?.access;
    if (kind === 'hold back') this.#value = access?.args[0] as Value;
    else if (access !== undefined) this.#value = perform(this.#block, access);
    else this.#value = step?.options === undefined ? step?.deed?.(world) : option;
    if (access !== undefined && kind !== 'hold back')
      this.#scenario.onAccess?.(world, logical.name, access, this.#value);
    if (access !== undefined && kind !== 'hold back' && access.kind !== 'load' && access.kind !== 'read') {
      to.memory = this.#block.ints.slice();
      to.memoryKey = this.#keyOfMemory(to.memory);
    }
    if (kind !== 'step') to.heldBack = from.heldBack.with(thread, kind === 'let go' ? undefined : access);
    if (kind === 'let go') return to;
    const after = logical.after(place, this.#value);
    if (after === undefined) return undefined;
    to.places = from.places.with(thread, after);
    remember(after, this.#worldOf(to));
    return to;
  }

  #end(state: State<G>): void {
    this.#schedules += state.ways;
    const world = this.#enter(state);
    let end: string;
    try {
      for (const { name } of this.#threads) if (!world.isOver(name)) throw new Error(`${name} waits for ever.`);
      end = this.#scenario.end(world);
    } catch (error) {
      throw new Violation(this.#scheduleTo(state.id), error);
    }
    if (!this.#ends.has(end)) this.#ends.set(end, state.id);
  }

  /** Bring the memory of a state into the block. */
  #enter(state: State<G>): World<G> {
    this.#block.ints.set(state.memory);
    return this.#worldOf(state);
  }

  #worldOf({ places, heldBack, dead, ghost }: State<G>): World<G> {
    const at = (name: string) => this.#threads.findIndex((thread) => thread.name === name);
    const isDead = (name: string) => isSet(dead, at(name));
    return {
      ghost,
      block: this.#block,
      isDead,
      // What a thread has done before its end is seen by whoever hears of the end.
      isOver: (name) => isDead(name) || (places[at(name)]?.step === undefined && heldBack[at(name)] === undefined),
      returned: (name) => places[at(name)]?.returned,
    };
  }

  #keyOf({ memoryKey, places, heldBack, dead, ghost }: State<G>): string {
    let key = `${dead}|`;
    for (const [thread, { id }] of places.entries()) key += heldBack[thread] === undefined ? `${id},` : `${id}!,`;
    return key + memoryKey + JSON.stringify(ghost);
  }

  #keyOfMemory(memory: Int32Array): string {
    let key = '';
    for (let at = 0; at < memory.length; at++) if (memory[at] !== this.#blank[at]) key += `${at}:${memory[at]},`;
    return key;
  }

  /** The first schedule that was found for a state, in words. */
  #scheduleTo(id: number): string[] {
    const moves: Move[] = [];
    for (let at = this.#found[id]; at?.move !== undefined; at = this.#found[at.from]) moves.unshift(at.move);
    const lines: string[] = [];
    let state = this.#first;
    if (state === undefined) return lines;
    for (const move of moves) {
      const next = this.#go(state, move);
      if (next === undefined) throw new Error('A step has another outcome the second time.');
      lines.push(this.#describe(state, move));
      state = next;
    }
    return lines;
  }

  /** The move that was made last. */
  #describe(from: State<G>, { thread, kind }: Move): string {
    const name = this.#threads[thread]?.name;
    if (kind === 'die') return `${name} dies`;
    const held = from.heldBack[thread];
    const { layout } = this.#block;
    if (kind === 'let go' && held !== undefined) return `${name} ${describeAccess(layout, held, this.#value)} (late)`;
    const step = from.places[thread]?.step;
    if (step?.access !== undefined) {
      const what = describeAccess(layout, step.access, this.#value);
      return kind === 'hold back' ? `${name} holds back: ${what}` : `${name} ${what}`;
    }
    return this.#value === undefined ? `${name} ${step?.label}` : `${name} ${step?.label} = ${this.#value}`;
  }
}

function remember<G>(place: Place<G>, world: World<G>): void {
  for (const deed of place.notes) deed(world);
  if (place.error !== undefined) throw place.error;
}

/** Of plain data; `structuredClone` is slower by far. */
function copyOf<T>(data: T): T {
  if (typeof data !== 'object' || data === null) return data;
  if (Array.isArray(data)) return data.map(copyOf) as T;
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(data)) copy[key] = copyOf((data as Record<string, unknown>)[key]);
  return copy as T;
}

function isSet(bits: number, bit: number): boolean {
  return (bits & (1 << bit)) !== 0;
}

function countBits(bits: number): number {
  let count = 0;
  for (let left = bits; left !== 0; left &= left - 1) count++;
  return count;
}
