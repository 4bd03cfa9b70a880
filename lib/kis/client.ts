import type { BatchSummary } from '../batch/summary.ts';
import { createEngine, type Engine } from '../engine.ts';
import type { EngineStats } from '../engine-stats.ts';
import { EngineClosedError, InvalidOptionError } from '../errors.ts';
import type { CloseOptions, RunOptions } from '../options.ts';
import type { RefreshRequest } from '../recover/credentials.ts';
import type { FailureRecord } from '../recover/error-record.ts';
import { type FailureDescription, RecoveryTable } from '../recover/recovery-table.ts';
import { DEFAULTS, resolveCloseOptions } from '../resolve-options.ts';
import type { HttpItem, HttpValue, Outcome } from '../types.ts';
import type { KisBody } from './body.ts';
import { type KisClientOptions, type ResolvedKisOptions, resolveKisOptions } from './options.ts';
import { abortedOutcome, isNotOffered, MAX_MULTI_PRICES, outcomeOfSymbol, summaryOf } from './prices.ts';
import {
  type KisItem,
  type KisQuote,
  type KisRequest,
  multiPriceRequest,
  overseasDetailQuote,
  priceQuote,
  productQuote,
  stockQuote,
  symbolProblem,
} from './requests.ts';
import { bodyOutcome, type KisResult } from './result.ts';
import { TokenManager } from './token.ts';
import { TokenFile } from './token-file.ts';
import { postToken } from './token-request.ts';

const MAX_TIMER_MS = 2_147_483_647;

/**
 * A client of the KIS Open API: an engine that knows its requests, answers, limits, errors and tokens. Made by
 * `createKisClient`. The limit belongs to the app key: use one client per app key.
 *
 * The batch methods take what `engine.run` takes and never reject because of an item.
 */
export class KisClient {
  /** The engine at work, for its events, for `refreshCredentials`, and for requests of your own: they need a `tr_id`. */
  readonly engine: Engine<HttpItem, HttpValue>;
  readonly #tokens: TokenManager;
  readonly #calls = new Set<Promise<unknown>>();
  readonly #describe: (record: FailureRecord) => FailureDescription;
  #hasMultiPrices: boolean;
  #renewal: NodeJS.Timeout | undefined;
  #isClosing = false;

  /** Use `createKisClient`. */
  constructor(options: ResolvedKisOptions) {
    this.#hasMultiPrices = options.environment === 'real';
    this.#tokens = makeTokenManager(options);
    this.engine = createEngine<HttpItem, HttpValue>({
      ...options.engine,
      onRefreshCredentials: (request) => this.#credentials(request),
    });
    const { recovery = [], locale = DEFAULTS.locale } = options.engine;
    const table = new RecoveryTable(recovery);
    this.#describe = (record) => table.describe(record, locale);
  }

  /**
   * The price now of each symbol, at home or overseas.
   *
   * @throws InvalidOptionError (as a rejection) if `items` is not an array or an option is wrong
   * @throws EngineClosedError (as a rejection) after `close`
   */
  fetchPriceList(items: readonly KisItem[], options?: RunOptions): Promise<KisResult> {
    return this.#fetch(priceQuote, items, options);
  }

  /** The price now of each symbol overseas, with its details. Throws like `fetchPriceList`. */
  fetchPriceDetailOverseaList(items: readonly KisItem[], options?: RunOptions): Promise<KisResult> {
    return this.#fetch(overseasDetailQuote, items, options);
  }

  /** The product behind each symbol, at home or overseas (`search-info`). Throws like `fetchPriceList`. */
  fetchStockInfoList(items: readonly KisItem[], options?: RunOptions): Promise<KisResult> {
    return this.#fetch(productQuote, items, options);
  }

  /** The basics of each domestic stock (`search-stock-info`). Throws like `fetchPriceList`. */
  fetchSearchStockInfoList(items: readonly KisItem[], options?: RunOptions): Promise<KisResult> {
    return this.#fetch(stockQuote, items, options);
  }

  /**
   * The price now of each domestic symbol, by requests for up to 30 of them. Where there are none (paper trading), and
   * for a symbol that is missing in the answer, by a request for each. `output` has the names of a single price, and
   * those of KIS for one of many beside them. Progress and `batchSize` count requests.
   *
   * Throws like `fetchPriceList`.
   */
  async fetchPrices(symbols: readonly string[], options?: RunOptions): Promise<KisResult> {
    if (!Array.isArray(symbols)) throw new InvalidOptionError('symbols', symbols, 'an array of symbols');
    const items = Array.from(symbols as readonly string[], (symbol): KisItem => [symbol, 'KR']);
    return this.#track(() => this.#fetchPrices(items, options));
  }

  /** What the engine does at this moment, and did since it was made. */
  stats(): EngineStats {
    return this.engine.stats();
  }

  /** End the client: what was taken on is finished, or with `mode: 'abort'` ended. Always comes back. */
  async close(options?: CloseOptions): Promise<void> {
    const { mode } = resolveCloseOptions(options);
    this.#isClosing = true;
    clearTimeout(this.#renewal);
    // What is to be finished may still need its second batch.
    if (mode === 'drain') await Promise.allSettled(this.#calls);
    await this.engine.close(options);
  }

  /** The same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #fetch(quote: KisQuote, items: readonly KisItem[], options: RunOptions | undefined): Promise<KisResult> {
    if (!Array.isArray(items)) throw new InvalidOptionError('items', items, 'an array of [symbol, market] pairs');
    // Array.from also fills holes, which would otherwise be items without an outcome.
    const own = Array.from(items as readonly KisItem[]);
    return this.#track(async () => ({ ...(await this.#run(own.map(quote), options)), items: own }));
  }

  async #run(requests: readonly KisRequest[], options: RunOptions | undefined): Promise<Omit<KisResult, 'items'>> {
    if ((this.#tokens.renewInMs ?? 1) <= 0) this.#renew();
    const { outcomes, ...rest } = await this.engine.run(requests, options);
    return { ...rest, outcomes: outcomes.map(bodyOutcome) };
  }

  /** Many at once; then, one by one, those that it takes that for. */
  async #fetchPrices(items: readonly KisItem[], options: RunOptions | undefined): Promise<KisResult> {
    const outcomes = new Array<Outcome<KisBody> | undefined>(items.length).fill(undefined);
    const summaries: BatchSummary[] = [];
    let aborted = false;

    const together = [...items.keys()].filter((at) => this.#hasMultiPrices && !symbolProblem(items[at]?.[0]));
    const groups = inGroups(together, MAX_MULTI_PRICES);
    if (groups.length > 0 || items.length === 0) {
      const symbolsOf = (group: readonly number[]) => group.map((at) => items[at]?.[0] ?? '');
      const result = await this.#run(
        groups.map((group) => multiPriceRequest(symbolsOf(group))),
        options,
      );
      if (result.outcomes.some(isNotOffered)) this.#hasMultiPrices = false;
      for (const [place, group] of groups.entries()) {
        const outcome = result.outcomes[place];
        for (const at of group) outcomes[at] = outcome && outcomeOfSymbol(outcome, items[at]?.[0] ?? '', at);
      }
      summaries.push(result.summary);
      aborted = result.aborted;
    }

    const alone = [...items.keys()].filter((at) => outcomes[at] === undefined);
    if (alone.length > 0) {
      const requests = alone.map((at) => priceQuote(items[at]));
      const result = await this.#run(requests, options).catch((error: unknown) => {
        // Closed between the two batches of this call.
        if (summaries.length > 0 && error instanceof EngineClosedError) return undefined;
        throw error;
      });
      for (const [place, at] of alone.entries()) {
        const outcome = result?.outcomes[place];
        outcomes[at] = outcome && { ...outcome, index: at };
      }
      if (result !== undefined) summaries.push(result.summary);
      aborted ||= result?.aborted ?? true;
    }
    const all = outcomes.map((outcome, at) => outcome ?? abortedOutcome(at, this.#describe));
    return { outcomes: all, summary: summaryOf(all, summaries), aborted, items };
  }

  async #track<T>(start: () => Promise<T>): Promise<T> {
    if (this.#isClosing) throw new EngineClosedError();
    const call = start();
    this.#calls.add(call);
    try {
      return await call;
    } finally {
      this.#calls.delete(call);
    }
  }

  async #credentials({ reason, signal }: RefreshRequest) {
    const token = await this.#tokens.get({ mustBeNew: reason !== 'initial', signal });
    this.#scheduleRenewal();
    return { headers: { authorization: `Bearer ${token}` } };
  }

  /** A batch may run for longer than its token lives. */
  #scheduleRenewal(): void {
    clearTimeout(this.#renewal);
    const { renewInMs } = this.#tokens;
    if (renewInMs === undefined || this.#isClosing) return;
    this.#renewal = setTimeout(
      () => {
        // Without work the next batch sees to it.
        if (this.#calls.size > 0) this.#renew();
      },
      Math.min(Math.max(0, renewInMs), MAX_TIMER_MS),
    ).unref();
  }

  /** Nothing starts until it is done; if it fails, the old token may do for a while. */
  #renew(): void {
    this.engine.refreshCredentials().catch(() => {});
  }
}

/**
 * Make a client of the KIS Open API. Its threads start at once; the access token is asked for when the first batch
 * starts. What is not given is taken from the environment: `KIS_APP_KEY`, `KIS_APP_SECRET` and the variables of
 * `createEngine`.
 *
 * @throws InvalidOptionError naming the option or variable, the value (unless it may be a secret) and what is allowed
 */
export function createKisClient(options?: KisClientOptions): KisClient {
  return new KisClient(resolveKisOptions(options, process.env));
}

function makeTokenManager(options: ResolvedKisOptions): TokenManager {
  const { appKey, appSecret, baseUrl, environment, http, timeoutMs, tokenFile, tokenIntervalMs } = options;
  const { origin } = new URL(baseUrl);
  return new TokenManager({
    post: (signal) => postToken({ baseUrl, appKey, appSecret, http, timeoutMs }, signal),
    file: tokenFile === undefined ? undefined : new TokenFile(tokenFile, { appKey, environment, origin }),
    intervalMs: tokenIntervalMs,
    warn: (message) => process.emitWarning(message, 'KisTokenWarning'),
  });
}

function inGroups<T>(values: readonly T[], size: number): T[][] {
  const groups: T[][] = [];
  for (let at = 0; at < values.length; at += size) groups.push(values.slice(at, at + size));
  return groups;
}
