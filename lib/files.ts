/*
 * Where the files stand that threads load. All in one module, in the folder of the package's own entry point: published
 * code is put together in fewer, larger modules, which stand in that folder, too, so that these addresses hold there.
 */

/** What Piscina loads in each thread. */
export const THREAD_FILE = new URL('../workers/main.cjs', import.meta.url);
/** The built-in HTTP handler. */
export const HTTP_HANDLER = new URL('../workers/http.js', import.meta.url);
/** The handler of the KIS client. */
export const KIS_HANDLER = new URL('../workers/kis.js', import.meta.url);
/** The server of the simulator. */
export const SIMULATOR_FILE = new URL('./simulator/server-thread.js', import.meta.url);
