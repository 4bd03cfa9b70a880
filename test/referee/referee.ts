import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** One request in a referee's own access log. */
export interface Arrival {
  readonly item: string;
  readonly status: number;
  /** What tells its connection from the others. */
  readonly connection: string;
}

/** A rate limiter that is not ours, in a process of its own. */
export interface Referee {
  readonly url: string;
  /** Requests to here are neither limited nor logged. */
  readonly warmUrl: string;
  readonly pid: number;
  /** Requests that its limiter has counted, by its own table; undefined if it has none that can be read. */
  counted(): Promise<number | undefined>;
  /** End it; what its access log says. */
  stop(): Promise<Arrival[]>;
  /** End it at once, whatever state it is in, and remove its files. */
  destroy(): Promise<void>;
}

/** Where Debian puts them; not always in the PATH of a user. */
const FOLDERS = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];

/** The path of an installed program. */
export function findProgram(name: string): string | undefined {
  return FOLDERS.map((folder) => join(folder, name)).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Where a referee listens: no other program, and no outgoing connection, uses an address of its own. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

async function ownAddress(): Promise<Address> {
  const part = () => 1 + Math.floor(Math.random() * 254);
  const host = `127.${part()}.${part()}.${part()}`;
  const server = net.createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return { host, port };
}

/** How to start a program as a referee. */
export interface Plan {
  /** Write what it needs into the folder; returns its arguments. */
  prepare(folder: string, address: Address): string[];
  /** Asks it to finish what it does, and end. */
  readonly stopSignal: NodeJS.Signals;
}

/** A running program with a folder of its own. */
export class Program {
  readonly folder = mkdtempSync(join(tmpdir(), 'sluicegate-referee-'));
  readonly #child: ChildProcess;
  readonly #stopSignal: NodeJS.Signals;
  readonly #ended: Promise<unknown>;
  #stdout = '';
  #stderr = '';

  private constructor(path: string, address: Address, plan: Plan) {
    this.#stopSignal = plan.stopSignal;
    this.#child = spawn(path, plan.prepare(this.folder, address), { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    // After its end, and with all that it wrote.
    this.#ended = once(this.#child, 'close').catch((error: unknown) => {
      this.#stderr += String(error);
    });
    // Should this process end without its hooks.
    process.once('exit', this.#kill);
  }

  /** Start it, and resolve when it takes connections. */
  static async start(path: string, plan: Plan): Promise<{ program: Program; address: Address }> {
    const address = await ownAddress();
    const program = new Program(path, address, plan);
    try {
      await program.#accepts(address);
    } catch (error) {
      await program.destroy();
      throw error;
    }
    return { program, address };
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Resolves to all that it wrote to its standard output, when it has ended. */
  async stop(): Promise<string> {
    this.#child.kill(this.#stopSignal);
    await this.#ended;
    return this.#stdout;
  }

  async destroy(): Promise<void> {
    this.#kill();
    await this.#ended;
    process.off('exit', this.#kill);
    rmSync(this.folder, { recursive: true, force: true });
  }

  readonly #kill = (): void => {
    this.#child.kill('SIGKILL');
  };

  /** Nobody says when a server is ready: ask until it answers, or has ended. */
  async #accepts({ host, port }: Address): Promise<void> {
    let isOver = false;
    void this.#ended.then(() => {
      isOver = true;
    });
    for (;;) {
      const socket = net.connect(port, host);
      try {
        await once(socket, 'connect');
        return;
      } catch {
        if (isOver) throw new Error(`The referee has not started: ${this.#stderr}${this.#stdout}`);
        await sleep(5);
      } finally {
        socket.destroy();
      }
    }
  }
}
