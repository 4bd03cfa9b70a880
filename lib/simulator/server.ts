import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { type Answer, type ApiRequest, MAX_KEPT_BODY_BYTES, refusalAnswer, send } from './answer.ts';
import type { ResolvedFault } from './fault-options.ts';
import { FaultPicker, type PickedFault } from './fault-picker.ts';
import { type ArrivalColumns, Journal } from './journal.ts';
import { KisService } from './kis/service.ts';
import { createLimiter, type Limiter, type LimiterSettings } from './limiters.ts';
import type { ResolvedOptions } from './options.ts';
import { plainAnswer } from './plain.ts';
import { drawMs, type Random, seededRandom } from './random.ts';
import { strike } from './strike.ts';
import type { FaultKind, Order, SimulatorStats } from './types.ts';

/** What `reset()` replaces. A request keeps the run that it arrived in. */
interface Run {
  readonly journal: Journal;
  readonly orders: Order[];
  readonly struck: Partial<Record<FaultKind, number>>;
  readonly serviceRandom: Random;
  limiter: Limiter;
  faults: FaultPicker;
  tokenRequests: number;
}

type Decision = 'accepted' | 'refused' | 'injected';

/** A request on its way through the server. */
interface Exchange {
  readonly run: Run;
  readonly response: ServerResponse;
  readonly decision: Decision;
  readonly fault: PickedFault | undefined;
  readonly n: number;
  readonly delayMs: number;
  timer: NodeJS.Timeout | undefined;
  isAnswered: boolean;
}

/** The HTTP server: counts, limits, spoils and answers requests. Runs in the thread that creates it. */
export class ApiServer {
  readonly #options: ResolvedOptions;
  readonly #originNs = process.hrtime.bigint();
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #kis: KisService | undefined;
  #connections = 0;
  #limiterSettings: LimiterSettings;
  #faults: readonly ResolvedFault[];
  #run: Run;

  constructor(options: ResolvedOptions) {
    this.#options = options;
    this.#limiterSettings = options.limiter;
    this.#faults = options.faults;
    this.#kis = options.kis && new KisService(options.kis, options.seed);
    this.#run = this.#newRun();
    // No time limits on requests: a client may be as slow as a test wants it to be.
    this.#server = createServer(
      { keepAliveTimeout: options.keepAliveMs, requestTimeout: 0, headersTimeout: 0 },
      (request, response) => this.#onRequest(request, response),
    );
    this.#server.on('connection', (socket: Socket) => {
      this.#connections++;
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  /** Listen on 127.0.0.1. Resolves to the port. */
  listen(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#options.port, '127.0.0.1', () => resolve((this.#server.address() as AddressInfo).port));
    });
  }

  stats(): SimulatorStats {
    const run = this.#run;
    return {
      ...run.journal.summary(this.#options.windowNs),
      faults: run.struck,
      orders: run.orders.length,
      tokenRequests: run.tokenRequests,
      tokensIssued: this.#kis?.tokensIssued ?? 0,
      openSockets: this.#sockets.size,
      connections: this.#connections,
    };
  }

  arrivals(): ArrivalColumns {
    return this.#run.journal.columns();
  }

  orders(): readonly Order[] {
    return this.#run.orders;
  }

  reset(): void {
    this.#run = this.#newRun();
  }

  setFaults(faults: readonly ResolvedFault[]): void {
    this.#faults = faults;
    this.#run.faults = this.#newFaultPicker();
  }

  setLimit(limit: number): void {
    const { algorithm, burst, limit: oldLimit } = this.#limiterSettings;
    // A bucket as large as the limit stays as large as the limit.
    const newBurst = algorithm === 'token-bucket' && burst === oldLimit ? limit : burst;
    this.#limiterSettings = { ...this.#limiterSettings, limit, burst: newBurst };
    this.#run.limiter = createLimiter(this.#limiterSettings);
  }

  expireTokens(): void {
    this.#kis?.expireTokens();
  }

  /** Destroy every socket and stop listening. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const socket of this.#sockets) socket.destroy();
    });
  }

  #newRun(): Run {
    return {
      journal: new Journal(this.#originNs, this.#options.maxArrivals),
      orders: [],
      struck: {},
      serviceRandom: seededRandom(this.#options.seed),
      limiter: createLimiter(this.#limiterSettings),
      faults: this.#newFaultPicker(),
      tokenRequests: 0,
    };
  }

  #newFaultPicker(): FaultPicker {
    // A sequence of its own: a fault more or less must not change the service times.
    return new FaultPicker(this.#faults, this.#options.seed ^ 0x5bd1e995);
  }

  #nowNs(): number {
    return Number(process.hrtime.bigint() - this.#originNs);
  }

  #onRequest(incoming: IncomingMessage, response: ServerResponse): void {
    const atNs = this.#nowNs();
    const run = this.#run;
    const method = incoming.method ?? 'GET';
    const target = incoming.url ?? '/';
    const queryAt = target.indexOf('?');
    const pathname = queryAt < 0 ? target : target.slice(0, queryAt);
    const headers = incoming.headers;
    const item = headers['x-item'];
    const key = Array.isArray(item) ? item[0] : item;

    const isCounted = !this.#kis?.isUncounted(pathname);
    let n = 0;
    if (isCounted) n = run.journal.arrive(atNs, method, target, key);
    else run.tokenRequests++;
    if (isCounted && n === this.#options.kis?.expireTokensAt) this.#kis?.expireTokens();
    const fault = run.faults.pick(n, method, pathname);
    const isSpared = fault?.after === 'arrival' || !isCounted;
    let decision: Decision = fault ? 'injected' : 'accepted';
    if (!isSpared && !run.limiter.admit(atNs)) decision = 'refused';
    if (isCounted) run.journal.decide(n, decision, !isSpared && decision !== 'refused');
    if (fault && decision === 'injected') {
      fault.use();
      run.struck[fault.effect.kind] = (run.struck[fault.effect.kind] ?? 0) + 1;
    }

    const exchange: Exchange = {
      run,
      response,
      decision,
      fault: decision === 'injected' ? fault : undefined,
      n,
      delayMs: this.#delayMs(run, isCounted, decision, fault),
      timer: undefined,
      isAnswered: false,
    };
    response.once('close', () => onGone(exchange));
    readBody(incoming, (body, bodyBytes) => {
      this.#work(exchange, { n, atNs, method, target, pathname, headers, body, bodyBytes, key });
    });
  }

  #delayMs(run: Run, isCounted: boolean, decision: Decision, fault: PickedFault | undefined): number {
    if (!isCounted) return 0;
    const isAtOnce = decision === 'refused' || (decision === 'injected' && fault?.after === 'arrival');
    return drawMs(isAtOnce ? this.#options.refusalTime : this.#options.serviceTime, run.serviceRandom);
  }

  #work(exchange: Exchange, request: ApiRequest): void {
    const answer = this.#answerTo(exchange, request);
    if (exchange.delayMs === 0) this.#finish(exchange, answer);
    else exchange.timer = setTimeout(() => this.#finish(exchange, answer), exchange.delayMs);
  }

  /** Executes the request, if it is to be. An order counts from here on, whatever becomes of the answer. */
  #answerTo({ run, decision, fault }: Exchange, request: ApiRequest): Answer {
    if (decision === 'refused') return refusalAnswer(this.#options.refusal, this.#options.windowNs);
    if (fault?.after === 'arrival') return plainAnswer(request);
    return this.#kis?.owns(request.pathname) ? this.#kis.answer(request, run.orders) : plainAnswer(request);
  }

  #finish(exchange: Exchange, answer: Answer): void {
    const { run, response, n, fault } = exchange;
    if (response.destroyed) return;
    exchange.isAnswered = true;
    const answeredAtNs = this.#nowNs();
    let status = answer.status;
    if (fault) {
      status = strike(fault.effect, response, answer, this.#options);
    } else {
      send(response, answer);
    }
    if (n > 0 && status > 0) run.journal.answer(n, status, answeredAtNs, exchange.decision === 'accepted');
  }
}

/** The response is closed: after its end, or because the client went away before. */
function onGone(exchange: Exchange): void {
  clearTimeout(exchange.timer);
  if (exchange.isAnswered) return;
  exchange.isAnswered = true;
  if (exchange.n > 0 && exchange.decision === 'accepted') exchange.run.journal.abort(exchange.n);
}

function readBody(incoming: IncomingMessage, done: (body: Buffer | undefined, bodyBytes: number) => void): void {
  const { 'content-length': length, 'transfer-encoding': encoding } = incoming.headers;
  if (encoding === undefined && (length === undefined || length === '0')) {
    done(undefined, 0);
    return;
  }
  const kept: Buffer[] = [];
  let bodyBytes = 0;
  incoming.on('data', (chunk: Buffer) => {
    if (bodyBytes < MAX_KEPT_BODY_BYTES) kept.push(chunk.subarray(0, MAX_KEPT_BODY_BYTES - bodyBytes));
    bodyBytes += chunk.length;
  });
  incoming.on('end', () => done(Buffer.concat(kept), bodyBytes));
}
