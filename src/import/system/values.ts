import { unstorable } from "../import.ts";
import type { Kind } from "./mapping.ts";

/** 1970 to 2100 in seconds; a larger number is in milliseconds. */
const MAX_SECONDS = 4_102_444_800;
const TIME =
  /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2}(?:\.\d{1,9})?)?\s?(Z|[+-]\d{2}(?::?\d{2})?)?)?$/i;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const TRUE = new Set(["true", "t", "1", "yes", "y", "on"]);
const FALSE = new Set(["false", "f", "0", "no", "n", "off"]);

/** The words of an error for a value of another form. */
export const EXPECTED: Readonly<Record<Kind, string>> = {
  id: "a key",
  uuid: "a UUID",
  text: "text",
  integer: "a whole number",
  number: "a number",
  boolean: "true or false",
  time: "a time such as 2026-01-31 08:00:00",
  json: "JSON",
  bytes: "bytes",
};

/** Reads a value as the kind of its column; undefined if it has another form. */
export function readValue(kind: Kind, raw: unknown): unknown {
  if (raw === null || raw === undefined) return null;
  return READERS[kind](raw);
}

const READERS: Readonly<Record<Kind, (raw: unknown) => unknown>> = {
  id(raw) {
    const text = textOf(raw);
    const isKey = text !== undefined && text.length > 0 && text.length <= 200 && !unstorable(text);
    return isKey ? text : undefined;
  },
  uuid(raw) {
    const text = textOf(raw);
    return text !== undefined && UUID.test(text) ? text.toLowerCase() : undefined;
  },
  text: textOf,
  integer(raw) {
    const number = numberOf(raw);
    return Number.isSafeInteger(number) ? number : undefined;
  },
  number: numberOf,
  boolean(raw) {
    const text = String(raw).toLowerCase();
    if (TRUE.has(text)) return true;
    return FALSE.has(text) ? false : undefined;
  },
  time: timeOf,
  json(raw) {
    if (typeof raw !== "string") return raw instanceof Uint8Array ? undefined : raw;
    try {
      return JSON.parse(raw) as unknown;
    } catch {
      return undefined;
    }
  },
  bytes(raw) {
    if (raw instanceof Uint8Array) return Buffer.from(raw);
    if (typeof raw !== "string") return undefined;
    if (/^\\x([0-9a-f]{2})*$/i.test(raw)) return Buffer.from(raw.slice(2), "hex");
    return /^[A-Za-z0-9+/_-]+={0,2}$/.test(raw) ? Buffer.from(raw, "base64") : undefined;
  },
};

function textOf(raw: unknown): string | undefined {
  if (typeof raw === "string") return raw;
  return typeof raw === "number" || typeof raw === "bigint" ? String(raw) : undefined;
}

function numberOf(raw: unknown): number | undefined {
  const text = textOf(raw);
  if (text === undefined || text.trim() === "") return undefined;
  const number = Number(text);
  return Number.isFinite(number) ? number : undefined;
}

/** The text is kept, because a Date would lose microseconds. */
function timeOf(raw: unknown): string | undefined {
  const text = textOf(raw)?.trim();
  if (text === undefined) return undefined;
  if (/^-?\d+(\.\d+)?$/.test(text)) {
    const number = Number(text);
    const date = new Date(Math.abs(number) < MAX_SECONDS ? number * 1000 : number);
    return Number.isNaN(date.getTime()) ? undefined : storable(date.toISOString());
  }
  const [, day, minute = "00:00", second = ":00", zone = "Z"] = TIME.exec(text) ?? [];
  if (day === undefined) return undefined;
  const iso = `${day}T${minute}${second}${zoneOf(zone)}`;
  if (Number.isNaN(Date.parse(iso))) return undefined;
  // Date parses the 30th of February as a day in March.
  return new Date(`${day}T00:00:00Z`).toISOString().startsWith(day) ? storable(iso) : undefined;
}

/** PostgreSQL has neither a year 0 nor zones beyond 15 hours, and years of five digits are mistakes. */
function storable(iso: string): string | undefined {
  return /^(?!0000)\d{4}-.*(Z|[+-](0\d|1[0-5]):\d{2})$/.test(iso) ? iso : undefined;
}

function zoneOf(zone: string): string {
  if (zone.toUpperCase() === "Z") return "Z";
  const [sign, hours, minutes] = [zone[0], zone.slice(1, 3), zone.slice(3).replace(":", "") || "00"];
  return `${sign}${hours}:${minutes}`;
}
