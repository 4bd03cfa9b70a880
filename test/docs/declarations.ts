/**
 * Names of the members of an interface or class, as the compiler wrote it into a declaration file.
 * @throws Error if it is not there
 */
export function membersOf(declarations: string, name: string): string[] {
  const start = new RegExp(`^(?:export )?(?:declare )?(?:interface|class) ${name}\\b.*\\{$`, 'm').exec(declarations);
  if (start === null) throw new Error(`There is no ${name}.`);
  const body = declarations.slice(start.index + start[0].length);
  // Members stand at four spaces; what is inside of one stands deeper.
  const members = body.slice(0, body.indexOf('\n}')).matchAll(/^ {4}(?:readonly )?(\w+)[?]?[:(<]/gm);
  return [...new Set([...members].map(([, member = '']) => member))].filter((member) => member !== 'constructor');
}
