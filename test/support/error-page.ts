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

const errorPage = readFileSync(join(PACKAGE_ROOT, "docs/errors.md"), "utf8");

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

function codesIn(text: string): string[] {
  return [...text.matchAll(/`([A-Z_]+)`/g)].map(([, code]) => code!);
}

/** The code that the page gives for a SQLSTATE, also by its class (`22…`); undefined if it is not registered. */
export function registeredCodeOf(state: string): string | undefined {
  const names = [state, `${state.slice(0, 2)}…`].map((name) => `\`${name}\``);
  return errorEntries().find(({ states }) => names.some((name) => states.includes(name)))?.codes[0];
}
