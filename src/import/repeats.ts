import { createHash } from "node:crypto";
import type { Item, Reading } from "./run-import.ts";

/**
 * Looks after the names of one file: the first row of a name is taken and the same again is left out. Another one of that
 * name is rejected, because taking both would make every import change it twice.
 * @returns what becomes of a row; `key` is its name among rows of all kinds
 */
export function createRepeatFinder(): (item: Item & { readonly line: number }, key?: string) => Reading {
  const seen = new Map<string, { readonly line: number; readonly digest: string }>();
  return (item, key = item.name) => {
    const { file, line, name, payload } = item;
    const digest = createHash("sha256").update(JSON.stringify(payload)).digest("base64");
    const first = seen.get(key);
    if (!first) {
      seen.set(key, { line, digest });
      return { item };
    }
    return first.digest === digest
      ? { warning: { file, line, name, message: `is the same as line ${first.line}, and was left out` } }
      : {
          rejection: { file, line, name, message: `has the name of line ${first.line}, but says otherwise` },
        };
  };
}
