import type { ControlBlock } from '../shared/control-block.ts';
import { WorkSlot } from '../shared/work-slot.ts';
import { Chunk } from './chunk.ts';

/** Everything that is with threads: the chunks, and the work slots in shared memory that they use. */
export class ChunkTable {
  readonly #slots: WorkSlot[];
  readonly #freeSlots: number[];
  readonly #chunks = new Map<number, Chunk>();
  #nextId = 1;

  constructor(block: ControlBlock) {
    this.#slots = Array.from({ length: block.layout.slots }, (_, slot) => new WorkSlot(block, slot));
    this.#freeSlots = this.#slots.map((_, slot) => slot);
  }

  get size(): number {
    return this.#chunks.size;
  }

  /**
   * False while threads that are dying hold so many chunks that another could not be opened. Their ends come, and then
   * there is room again.
   */
  get hasRoom(): boolean {
    return this.#freeSlots.length > 0;
  }

  get(id: number): Chunk | undefined {
    return this.#chunks.get(id);
  }

  /** A snapshot, so that chunks may come to their end while it is gone through. */
  get all(): Chunk[] {
    return [...this.#chunks.values()];
  }

  [Symbol.iterator](): IterableIterator<Chunk> {
    return this.#chunks.values();
  }

  /**
   * Note that work goes to a thread.
   *
   * @throws Error if there is no room
   */
  open(fields: Pick<Chunk, 'batch' | 'work' | 'thread' | 'generation' | 'isAlone' | 'isProbe' | 'sentAtMs'>): Chunk {
    const slotNumber = this.#freeSlots.pop();
    const slot = slotNumber === undefined ? undefined : this.#slots[slotNumber];
    if (slotNumber === undefined || slot === undefined) throw new Error('No free work slot.');
    slot.reset();
    const id = this.#nextId;
    this.#nextId = (id + 1) | 0;
    const chunk = new Chunk({ ...fields, id, slotNumber, slot });
    this.#chunks.set(id, chunk);
    chunk.batch.chunks.add(chunk);
    chunk.thread.load++;
    return chunk;
  }

  /** The thread is done with a chunk: its slot is free again. */
  close(chunk: Chunk): void {
    this.#chunks.delete(chunk.id);
    chunk.batch.chunks.delete(chunk);
    chunk.thread.load--;
    this.#freeSlots.push(chunk.slotNumber);
  }
}
