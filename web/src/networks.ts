// What networks are called on the page: without a prefix (`timm:`) wherever the rest of the name tells them apart.

let short = new Map<string, string>();

const PREFIX = /^([\w.+-]+:)(?=.)/;
export const prefixOf = (name: string): string => PREFIX.exec(name)?.[1] ?? "";

/** Settle the names for all networks of a bundle: bare ones, unless two would be called alike. */
export function nameNetworks(names: string[]): void {
  const bare = names.map((name) => name.slice(prefixOf(name).length));
  short = new Map(names.map((name, k) => [name, bare.indexOf(bare[k]) === bare.lastIndexOf(bare[k]) ? bare[k] : name]));
}

/** The name to print; anything that is no network's name stays as it is. */
export const displayName = (name: string): string => short.get(name) ?? name;

/** Networks by their prefix, in the order of their first one: each prefix is printed once. */
export function byPrefix(names: string[]): [string, string[]][] {
  const groups = new Map<string, string[]>();
  for (const name of names) {
    const prefix = displayName(name) === name ? "" : prefixOf(name);
    groups.set(prefix, [...(groups.get(prefix) ?? []), name]);
  }
  return [...groups];
}
