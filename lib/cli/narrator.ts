import { performance } from 'node:perf_hooks';
import type { Progress } from '../batch/progress.ts';
import type { Engine } from '../engine.ts';
import type { EngineEvents } from '../events.ts';
import type { HttpItem, HttpValue } from '../types.ts';
import type { Paint } from './paint.ts';
import type { ProgressView } from './progress-view.ts';
import { countOf, eventLine, seconds } from './text.ts';

/** Tells what the engine does about a rate-limit error while it does it. */
export class Narrator {
  readonly #engine: Engine<HttpItem, HttpValue>;
  readonly #view: ProgressView;
  readonly #paint: Paint;
  readonly #startedMs = performance.now();
  #refusedAtMs = 0;
  #cancelled: number;
  #progress: Progress | undefined;

  readonly #onRateLimited = () => {
    this.#refusedAtMs = performance.now();
    this.#tell('bad', 'refused', 'the server says EGW00201: no request starts any more');
  };

  readonly #onPaused = ({ delayMs, eventsInRow }: EngineEvents['paused']) => {
    const { cancelled, batches } = this.#engine.stats();
    const tookMs = (performance.now() - this.#refusedAtMs).toFixed(1);
    const count = cancelled - this.#cancelled;
    const others = count === 0 ? 'nothing else in flight' : `${countOf(count, 'request')} cancelled`;
    this.#cancelled = cancelled;
    this.#tell('waiting', 'broadcast', `all threads at rest after ${tookMs} ms, ${others}`);
    // The run may have given up, and then nobody waits.
    if (batches === 0) return;
    const row = eventsInRow > 1 ? `, refusal ${eventsInRow} in a row` : '';
    this.#tell('waiting', 'waiting', `${seconds(delayMs, 2)} (backoff with jitter${row})`);
  };

  readonly #onResumed = () => {
    const left = this.#progress?.total === undefined ? undefined : this.#progress.total - this.#progress.done;
    const round = this.#progress === undefined ? '' : `, round ${this.#progress.rounds}`;
    this.#tell('good', 'resumed', left === undefined ? '' : `${countOf(left, 'price')} to go${round}`);
  };

  constructor(engine: Engine<HttpItem, HttpValue>, view: ProgressView, paint: Paint) {
    this.#engine = engine;
    this.#view = view;
    this.#paint = paint;
    this.#cancelled = engine.stats().cancelled;
    engine.on('rateLimited', this.#onRateLimited);
    engine.on('paused', this.#onPaused);
    engine.on('resumed', this.#onResumed);
  }

  update(progress: Progress): void {
    this.#progress = progress;
    this.#view.update(progress);
  }

  stop(): void {
    this.#engine.off('rateLimited', this.#onRateLimited);
    this.#engine.off('paused', this.#onPaused);
    this.#engine.off('resumed', this.#onResumed);
    this.#view.stop();
  }

  #tell(color: keyof Paint, what: string, about: string): void {
    this.#view.note(eventLine(this.#paint, performance.now() - this.#startedMs, color, what, about));
  }
}
