import type { ControlBlock } from '../../lib/shared/control-block.ts';
import { type Access, createBlockLike, perform, type Value, watch, withModel } from './memory.ts';

/** What callbacks of a scenario see: all of one state. They may change the ghost, nothing else. */
export interface World<G> {
  /** What the scenario wants to know of the past, and what there is outside of shared memory. */
  readonly ghost: G;
  /** The memory of this state. */
  readonly block: ControlBlock;
  isDead(thread: string): boolean;
  /** Dead, or at the end of its body. */
  isOver(thread: string): boolean;
  /** What its body returned; undefined while it runs. */
  returned(thread: string): unknown;
}

/** What a logical thread can do besides using the shared memory. */
export interface Self<G> {
  /** Views over the shared memory for the shipped classes. */
  readonly block: ControlBlock;
  /** A step of its own: something that is not in shared memory, such as a request that leaves, or a look at the clock. */
  act<T extends Value>(label: string, deed: (world: World<G>) => T): T;
  act(label: string, deed: (world: World<G>) => void): void;
  /** Remember something, in one step with the access before. */
  note(deed: (world: World<G>) => void): void;
  /** A step that can go in several ways, each of which is gone. */
  choose<T extends Value>(label: string, options: readonly T[]): T;
  /** Wait, as for a message; maybe for doing something in the same step, as taking it. */
  until(label: string, condition: (world: World<G>) => boolean): void;
  until<T extends Value>(label: string, condition: (world: World<G>) => boolean, deed: (world: World<G>) => T): T;
}

/** The code of a logical thread. What it does may depend on nothing but the values that it gets, and must be new with each call. */
export type Body<G> = (self: Self<G>) => unknown;

/** The next thing that a thread does. */
export interface Step<G> {
  readonly label: string;
  readonly access?: Access;
  readonly deed?: (world: World<G>) => Value;
  readonly options?: readonly Value[];
  readonly condition?: (world: World<G>) => boolean;
}

/** A thread between two steps. Where it is and what its local variables hold follows from the values it has got so far. */
export interface Place<G> {
  readonly id: number;
  readonly values: readonly Value[];
  /** What it does next; undefined at its end. */
  readonly step: Step<G> | undefined;
  /** What it wants to have remembered of the step that led here. */
  readonly notes: readonly ((world: World<G>) => void)[];
  readonly error: unknown;
  readonly returned: unknown;
  readonly next: Map<Value, Place<G>>;
}

interface ThreadOptions {
  readonly hrtimeNs?: bigint;
  readonly isPrivate?: (access: Access) => boolean;
  /** The memory before any step. */
  readonly start: Int32Array;
  /** Who has used the private words, and whether one has written: `view[index]`. */
  readonly users: Map<string, { readonly names: Set<string>; isWritten: boolean }>;
}

/** Thrown where a run has come to its next step. Code that swallows it does no harm: from then on nothing it does counts. */
const STOP = new Error('The run has come to its next step.');

/** One run of a body: the steps of before get the values that they got, and the first new one ends it. */
class Run<G> {
  readonly notes: ((world: World<G>) => void)[] = [];
  readonly #values: readonly Value[];
  readonly #labels: readonly string[];
  #done = 0;
  step: Step<G> | undefined;

  constructor(values: readonly Value[], labels: readonly string[]) {
    this.#values = values;
    this.#labels = labels;
  }

  take(step: Step<G>): Value {
    if (this.step === undefined && this.#done < this.#values.length) {
      const label = this.#labels[this.#done];
      if (label !== step.label) throw new Error(`The body is not deterministic: ${step.label} instead of ${label}.`);
      return this.#values[this.#done++];
    }
    this.step ??= step;
    throw STOP;
  }

  note(deed: (world: World<G>) => void): void {
    if (this.step === undefined && this.#done === this.#values.length) this.notes.push(deed);
  }
}

/**
 * A logical thread: the real code, as the tree of all that it can do. It is run once for every sequence of values that
 * it can get from shared memory, always from its start. From then on it is known what it does next after those values,
 * whatever the others did to cause them.
 */
export class LogicalThread<G> {
  readonly name: string;
  readonly #body: Body<G>;
  readonly #block: ControlBlock;
  readonly #options: ThreadOptions;
  readonly #labelsOf = new Map<Place<G>, readonly string[]>();
  readonly #self: Self<G>;
  #run: Run<G> | undefined;
  #private: ControlBlock | undefined;
  /** How often the code was run. */
  runs = 0;

  constructor(name: string, body: Body<G>, block: ControlBlock, options: ThreadOptions) {
    this.name = name;
    this.#body = body;
    this.#block = block;
    this.#options = options;
    this.#self = {
      block: watch(block, (access) => this.#access(access)),
      // The value of a deed is the one that was returned when it was done.
      act: <T extends Value>(label: string, deed: (world: World<G>) => T) => this.#take({ label, deed }) as T,
      choose: <T extends Value>(label: string, options: readonly T[]) => this.#take({ label, options }) as T,
      note: (deed) => this.#run?.note(deed),
      until: <T extends Value>(label: string, condition: (world: World<G>) => boolean, deed?: (world: World<G>) => T) =>
        this.#take({ label: `waited until ${label}`, condition, ...(deed && { deed }) }) as T,
    };
  }

  /** The place before the first step. */
  start(): Promise<Place<G>> {
    return this.#grow([], []);
  }

  /** Where it gets from this place with this value; undefined if nobody has `explore`d that yet. */
  after(place: Place<G>, value: Value): Place<G> | undefined {
    return place.next.get(value);
  }

  /** Run the code to find out where it gets from this place with this value. */
  async explore(place: Place<G>, value: Value): Promise<void> {
    const labels = [...(this.#labelsOf.get(place) ?? []), place.step?.label ?? ''];
    place.next.set(value, await this.#grow([...place.values, value], labels));
  }

  async #grow(values: readonly Value[], labels: readonly string[]): Promise<Place<G>> {
    const run = new Run<G>(values, labels);
    this.#run = run;
    this.#private = undefined;
    let returned: unknown;
    let error: unknown;
    try {
      const { block } = this.#self;
      const { hrtimeNs } = this.#options;
      returned = await withModel(
        block,
        (access) => this.#access(access),
        hrtimeNs,
        () => this.#body(this.#self),
      );
    } catch (thrown) {
      if (run.step === undefined) error = thrown ?? new Error('The body threw nothing.');
    }
    this.#run = undefined;
    const { step, notes } = run;
    const place: Place<G> = { id: this.runs++, values, step, notes, error, returned, next: new Map() };
    this.#labelsOf.set(place, labels);
    return place;
  }

  #access(access: Access): Value {
    if (this.#options.isPrivate?.(access)) return this.#accessPrivate(access);
    return this.#take({ label: `${access.kind} ${access.view}[${access.index}] ${access.args.join(' -> ')}`, access });
  }

  /** Private words are as local as variables: each run has its own. */
  #accessPrivate(access: Access): Value {
    const word = `${access.view}[${access.index}]`;
    const user = this.#options.users.get(word) ?? { names: new Set(), isWritten: false };
    this.#options.users.set(word, user);
    user.names.add(this.name);
    user.isWritten ||= access.kind !== 'load' && access.kind !== 'read';
    if (user.isWritten && user.names.size > 1) throw new Error(`${word} is not private.`);
    if (this.#private === undefined) {
      this.#private = createBlockLike(this.#block);
      this.#private.ints.set(this.#options.start);
    }
    return perform(this.#private, access);
  }

  #take(step: Step<G>): Value {
    if (this.#run === undefined) throw new Error(`${this.name} used shared memory while it was not running.`);
    return this.#run.take(step);
  }
}
