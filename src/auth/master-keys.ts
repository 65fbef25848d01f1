import { createSecretKey, type KeyObject, randomBytes } from "node:crypto";
import { PlinthError } from "../support/errors.ts";
import { decodeKey, looksRandom } from "./key-text.ts";

/**
 * The keys that encrypt other keys and small secrets. They are kept outside the database, in the environment or a file, so
 * that a database dump alone reveals nothing.
 */
export interface MasterKeys {
  /** The highest version, which seals. */
  readonly current: number;
  /** @throws PlinthError MASTER_KEY_MISSING */
  get(version: number): KeyObject;
  /** Lowest first. */
  readonly versions: readonly number[];
}

const KEY_BYTES = 32;
const VERSION = /^[1-9]\d{0,5}$/;
const HINT = "Create one with: plinth keys generate";

/**
 * Reads `version:base64url[,version:base64url…]`; blanks and line breaks around an entry are ignored. The highest version
 * seals, all unseal: to rotate, add one with a higher number, run `plinth keys rotate` and drop the old one.
 * @throws PlinthError INVALID_SETTING naming the entry by its position only
 */
export function parseMasterKeys(text: string): MasterKeys {
  const keys = new Map<number, KeyObject>();
  for (const [index, entry] of text.split(",").entries()) {
    const { version, key } = parseEntry(entry.trim(), index + 1);
    if (keys.has(version)) throw invalid(index + 1, "repeats the version of another key");
    if ([...keys.values()].some((other) => other.equals(key)))
      throw invalid(index + 1, "repeats the bytes of another key, so that nothing would be rotated");
    keys.set(version, key);
  }
  const versions = [...keys.keys()].sort((a, b) => a - b);
  return {
    current: versions.at(-1)!,
    versions,
    get(version) {
      const key = keys.get(version);
      if (key) return key;
      throw new PlinthError("MASTER_KEY_MISSING", `Master key version ${version} is missing.`, {
        hint: "Add it to PLINTH_MASTER_KEYS again; secrets sealed with it cannot be read without it.",
      });
    },
  };
}

/** Creates a `version:base64url` entry with 256 random bits. */
export function generateMasterKey(version: number): string {
  return `${version}:${randomBytes(KEY_BYTES).toString("base64url")}`;
}

/**
 * Returns the same keys and a new one with a higher version, which will seal.
 * @throws PlinthError INVALID_SETTING
 */
export function addMasterKey(text: string): string {
  return `${text.trim()},${generateMasterKey(parseMasterKeys(text).current + 1)}`;
}

function parseEntry(entry: string, position: number): { version: number; key: KeyObject } {
  const [version = "", encoded = "", ...rest] = entry.split(":");
  if (!VERSION.test(version) || !encoded || rest.length > 0)
    throw invalid(position, "is not of the form version:key");
  const bytes = decodeKey(encoded);
  if (!bytes) throw invalid(position, "is not valid base64url");
  if (bytes.length !== KEY_BYTES)
    throw invalid(position, `has ${bytes.length * 8} bits, but must have ${KEY_BYTES * 8}`);
  if (!looksRandom(bytes, encoded)) throw invalid(position, "is not random");
  return { version: Number(version), key: createSecretKey(bytes) };
}

function invalid(position: number, fault: string): PlinthError {
  return new PlinthError("INVALID_SETTING", `PLINTH_MASTER_KEYS: key number ${position} ${fault}.`, {
    hint: HINT,
  });
}
