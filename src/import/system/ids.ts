import { createHash, randomBytes } from "node:crypto";

/** A new UUIDv7 (RFC 9562) of a time, so that imported rows sort among the others by their age. */
export function uuidV7At(time: unknown): string {
  const milliseconds = typeof time === "string" ? Date.parse(time) : Number.NaN;
  const at = milliseconds >= 0 ? milliseconds : Date.now();
  const bytes = randomBytes(16);
  bytes.writeUIntBE(at, 0, 6);
  return formatted(bytes, 7);
}

/** The id in plinth.external_ids of a row that has none of its own, made from its key. */
export function uuidOfKey(system: string, relation: string, key: string): string {
  return formatted(createHash("sha256").update(`${system}\n${relation}\n${key}`).digest(), 8);
}

function formatted(bytes: Buffer, version: number): string {
  bytes[6] = (bytes[6]! & 0x0f) | (version << 4);
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString("hex", 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
