/** Whether a name of the configuration, perhaps with a wildcard at its end, is that of an interface. */
export function covers(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}
