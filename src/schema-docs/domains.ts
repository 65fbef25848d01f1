/**
 * The schemas in the order of the pictures, each with its color, which is dark enough for white text (WCAG 2.2, 4.5 to 1).
 */
export const DOMAINS: ReadonlyMap<string, string> = new Map([
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
