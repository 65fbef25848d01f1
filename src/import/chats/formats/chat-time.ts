/** 1970 to 2100. */
const MAX_SECONDS = 4_102_444_800;

/** Converts a time in seconds or milliseconds since 1970, or in ISO 8601 (UTC if it has no zone), to milliseconds. */
export function timeOf(value: unknown): number | undefined {
  if (typeof value === "string") {
    if (/^\d+(\.\d+)?$/.test(value)) return timeOf(Number(value));
    if (!/^\d{4}-\d{2}-\d{2}/.test(value)) return undefined;
    const hasZone = /([zZ]|[+-]\d{2}:?\d{2})$/.test(value.slice(10)) || value.length === 10;
    return within(Date.parse(hasZone ? value : `${value}Z`));
  }
  if (typeof value !== "number") return undefined;
  return within(value < MAX_SECONDS ? value * 1000 : value);
}

function within(milliseconds: number): number | undefined {
  return milliseconds > 0 && milliseconds < MAX_SECONDS * 1000 ? milliseconds : undefined;
}

export function isoOf(time: number | undefined): string | null {
  return time === undefined ? null : new Date(time).toISOString();
}
