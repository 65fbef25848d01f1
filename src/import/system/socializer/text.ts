import type { Loss } from "../mapping.ts";

/** Collects the columns of a row that did not come along as they were. */
export function createLosses() {
  const losses: Loss[] = [];
  return { losses, lose: (column: string, reason: string): void => void losses.push({ column, reason }) };
}

export type Lose = ReturnType<typeof createLosses>["lose"];

/** Returns the text without the end that its column here has no room for. */
export function fitted(text: string, maxBytes: number, column: string, lose: Lose): string {
  if (Buffer.byteLength(text) <= maxBytes) return text;
  lose(column, `was shortened to ${maxBytes} bytes`);
  // A character that was cut in two becomes U+FFFD.
  return Buffer.from(text).subarray(0, maxBytes).toString().replace(/�+$/, "");
}

/** Returns the number, or the nearest bound. */
export function bounded(value: number, [from, to]: [number, number], column: string, lose: Lose): number {
  const within = Math.min(Math.max(value, from), to);
  if (within !== value) lose(column, `was limited to ${from} to ${to}`);
  return within;
}
