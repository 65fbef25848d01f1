/** The schemas in the order of the pictures, each with its color. */
export type Domains = ReadonlyMap<string, string>;

/** Plinth's own. Each color is dark enough for white text (WCAG 2.2, 4.5 to 1). */
export const DOMAINS: Domains = new Map([
  ["identity", "#1b5e9e"],
  ["access", "#6d3fb0"],
  ["billing", "#8a5a00"],
  ["llm", "#0b6e4f"],
  ["rooms", "#a8326e"],
  ["learning", "#9c3d1c"],
  ["security", "#a11d2b"],
  ["analytics", "#356475"],
  ["plinth", "#4a4a4a"],
  ["private", "#2f3b4b"],
]);

/** Colors that none of Plinth's schemas has, as dark; more schemas begin again. */
const COLORS_OF_APPLICATIONS = ["#1f6f3a", "#7a4a00", "#00647a", "#8a1f5c", "#4b4fa8", "#5d5d00"];

/** For schemas that belong to neither. */
const OTHER = "#57606a";

/** The domains of an application: its schemas, and those that its tables refer to. */
export function domainsWith(schemas: readonly string[], others: readonly string[]): Domains {
  return new Map([
    ...schemas.map((name, i) => [name, COLORS_OF_APPLICATIONS[i % COLORS_OF_APPLICATIONS.length]!] as const),
    ...others.map((name) => [name, DOMAINS.get(name) ?? OTHER] as const),
  ]);
}
