import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * Run a module in a process of its own, which nothing has warmed up.
 *
 * @param flags of Node, before the module
 * @returns what it printed, as JSON
 * @throws Error if it fails
 */
export async function runInChild<Result>(module: URL, args: readonly string[], flags: readonly string[] = []) {
  const { stdout } = await run(process.execPath, [...flags, fileURLToPath(module), ...args]);
  return JSON.parse(stdout) as Result;
}
