import type { Batch } from '../batch/batch.ts';
import type { GroupReport } from '../batch/feeder.ts';
import type { EngineEvents } from '../events.ts';
import type { ResolvedOptions } from '../resolve-options.ts';
import { CallReader } from '../shared/call-ring.ts';
import type { ControlBlock } from '../shared/control-block.ts';
import type { ErrorRecord } from '../types.ts';
import { Autosave } from './autosave.ts';
import type { ResolvedSave } from './options.ts';
import { type Moment, Recorder, type Totals } from './recorder.ts';
import { settingsOf } from './settings.ts';
import type { Statistics } from './statistics.ts';

/** The statistics of one engine: what it is told, when it is saved. The only place here that reads clocks. */
export class EngineStatistics {
  readonly #recorder: Recorder;
  readonly #totals: () => Totals;
  readonly #autosave: Autosave | undefined;

  constructor(options: ResolvedOptions, block: ControlBlock, totals: () => Totals) {
    this.#totals = totals;
    this.#recorder = new Recorder({ start: now(), calls: new CallReader(block), settings: settingsOf(options) });
    this.#autosave =
      options.statistics &&
      new Autosave({
        options: options.statistics,
        take: () => this.take(),
        // Nobody waits for it, and a disk that is full is no reason to stop.
        onError: (error) => process.emitWarning(error instanceof Error ? error : String(error)),
        dateMs: Date.now,
      });
  }

  /** Read what the threads have counted. At least once a minute while there is work. */
  harvest(): void {
    this.#recorder.harvest();
  }

  onFailure(error: ErrorRecord): void {
    this.#recorder.onFailure(error);
  }

  onPaused(event: EngineEvents['paused']): void {
    this.#recorder.onPaused(event, Date.now());
  }

  onCircuit(event: EngineEvents['circuit']): void {
    this.#recorder.onCircuit(event, Date.now());
  }

  /** A group of a batch is done. */
  onGroup(batch: number, group: GroupReport): void {
    this.#recorder.onBatch({ batch, ...group }, Date.now());
  }

  /** A batch is over. One with groups was told of group by group. */
  onBatchOver(batch: Batch): void {
    const { done: items, elapsedMs, failed, id } = batch;
    if (!batch.hasGroups) this.#recorder.onBatch({ batch: id, items, failed, elapsedMs }, Date.now());
  }

  /** All that is known now. */
  take(): Statistics {
    return this.#recorder.snapshot(this.#totals(), now());
  }

  /** @throws StatisticsError naming the file (as a rejection) */
  async save(path: string, options: ResolvedSave): Promise<string> {
    const taken = this.take();
    // Loaded when first needed, with the packages that it needs: most engines never save.
    const { saveStatistics } = await import('./save.ts');
    return saveStatistics(taken, path, options, Date.now());
  }

  /** Save a last time, if they are saved at all. Never rejects. */
  async close(): Promise<void> {
    await this.#autosave?.close();
  }
}

function now(): Moment {
  return { dateMs: Date.now(), nowNs: process.hrtime.bigint() };
}
