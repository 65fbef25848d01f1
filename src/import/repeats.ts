import { createHash } from "node:crypto";
import type { Item, Reading } from "./run-import.ts";

/**
 * Finds repeated names in one file. The first row of a name is imported, and an identical row is skipped. A different row of the
 * same name is rejected, because importing both would make each import change it twice.
 * @returns a function that classifies a row; `key` is its name among rows of all kinds
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
      ? { warning: { file, line, name, message: `is the same as line ${first.line} and was skipped` } }
      : {
          rejection: {
            file,
            line,
            name,
            message: `has the same name as line ${first.line} but different content`,
          },
        };
  };
}
