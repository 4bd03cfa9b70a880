/**
 * The file that Piscina loads in each thread: CommonJS, because Piscina calls `require` first, and a thread that is
 * terminated while it requires an ES module can abort the whole process ("v8::Module::IsGraphAsync", Node 20). One that
 * is terminated during `import()` cannot.
 */
const entry = import('./entry.ts');
// If it fails, the first task tells.
entry.catch(() => {});

module.exports = async (task: Parameters<Awaited<typeof entry>['default']>[0]): Promise<number> =>
  (await entry).default(task);
