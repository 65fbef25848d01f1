/** Splits `rooms."My ""room"""` into its names. */
export function namesOf(qualified: string): string[] {
  return (qualified.match(/"(?:[^"]|"")*"|[^."]+/g) ?? []).map(unquoted);
}

export function unquoted(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name;
}

/** The address of an object on the page: its names, joined by points. */
export function idOf(...names: readonly string[]): string {
  return names.map((name) => encodeURIComponent(name).replaceAll(".", "%2E")).join(".");
}

export function namesOfId(id: string): string[] {
  return id.split(".").map(decodeURIComponent);
}
