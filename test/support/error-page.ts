import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

/** A row of the table in docs/errors.md. */
export interface ErrorEntry {
  readonly codes: readonly string[];
  /** The cell of SQLSTATEs, as written. */
  readonly states: string;
  readonly status: string;
  readonly cause: string;
  readonly remedy: string;
  readonly fields: string;
}

export const errorPage = readFileSync(join(PACKAGE_ROOT, "docs/errors.md"), "utf8");

/** Every error code that a client can get. */
export function errorEntries(): readonly ErrorEntry[] {
  return errorPage
    .split("\n")
    .filter((line) => /^\| `[A-Z]/.test(line))
    .map((line) => {
      const [codes, states, status, cause, remedy, fields] = line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim());
      return {
        codes: codesIn(codes!),
        states: states!,
        status: status!,
        cause: cause!,
        remedy: remedy!,
        fields: fields!,
      };
    });
}

export function codesIn(text: string): string[] {
  return [...text.matchAll(/`([A-Z_]+)`/g)].map(([, code]) => code!);
}
