import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { CODES_BY_STATUS } from "../../src/http/http-error.ts";
import { ConstraintFields } from "../../src/request/constraint-fields.ts";
import { OWN_SQLSTATES, PUBLIC_PLINTH_CODES, publicError } from "../../src/request/public-error.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

const page = readFileSync(join(PACKAGE_ROOT, "docs/api.md"), "utf8");
const section = page.slice(page.indexOf("\n## Errors\n"));
const rows = section.split("\n").flatMap((line) => {
  const [, codes, states] = line.startsWith("| `") ? line.split("|") : [];
  return codes ? [{ codes: namesIn(codes), states: states! }] : [];
});

function namesIn(text: string): string[] {
  return [...text.matchAll(/`([A-Z_]+)`/g)].map(([, name]) => name!);
}

function sourcesOf(folder: string, ending: string): string {
  return readdirSync(join(PACKAGE_ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(ending))
    .map((file) => readFileSync(join(PACKAGE_ROOT, folder, file), "utf8"))
    .join("\n");
}

/** Codes in what answers clients, wherever they are thrown; PlinthErrors that are not public become INTERNAL. */
function codesOfTheCode(): Set<string> {
  const source = [
    ...["plugins", "src/graphql", "src/http"].map((folder) => sourcesOf(folder, ".ts")),
    readFileSync(join(PACKAGE_ROOT, "src/request/public-error.ts"), "utf8"),
  ].join("\n");
  const thrown = source.matchAll(
    /(?:\bcode: |\bcode = [^;]*?|\bHttpError\(\s*\d+,\s*|\bwithCode\(\w+, |\bcoded\()"([A-Z_]+)"/g,
  );
  return new Set([
    ...PUBLIC_PLINTH_CODES,
    ...Object.values(CODES_BY_STATUS),
    ...[...thrown].map(([, code]) => code!),
  ]);
}

test("docs/api.md names each error code that a client can get, and no other", () => {
  // In prose: the codes of requests that do not reach GraphQL.
  const prose = section
    .split("\n")
    .filter((line) => !line.startsWith("|"))
    .join("\n");
  const documented = new Set([...rows.flatMap(({ codes }) => codes), ...namesIn(prose)]);
  expect([...documented].sort()).toEqual([...codesOfTheCode()].sort());
});

test("plugins throw public codes only, because others would be masked as INTERNAL", () => {
  const thrown = [...sourcesOf("plugins", ".ts").matchAll(/PlinthError\(\s*"([A-Z_]+)"/g)].map(
    ([, code]) => code!,
  );
  expect(thrown.length).toBeGreaterThan(0);
  expect(thrown.filter((code) => !PUBLIC_PLINTH_CODES.has(code))).toEqual([]);
});

test("the SQLSTATEs of our own that migrations raise are the documented ones, under their codes", () => {
  const raised = [...sourcesOf("migrations", ".sql").matchAll(/errcode = '(PL\d+)'/g)].map(
    ([, state]) => state!,
  );
  const documented = rows.flatMap(({ codes, states }) =>
    [...states.matchAll(/`(PL\d+)`/g)].map(([, state]) => [state!, codes[0]!]),
  );
  expect(Object.fromEntries(documented)).toEqual(OWN_SQLSTATES);
  expect([...new Set(raised)].sort()).toEqual(Object.keys(OWN_SQLSTATES).sort());
});

/** SQLSTATEs and classes (`22…`) that alone decide the code; `42501 of a visitor` depends on more. */
const unqualified = rows.flatMap(({ codes, states }) =>
  [...states.matchAll(/`([0-9A-Z]{2,5}…?)`(?! of)(?<!other `25006`)/g)].map(
    ([, state]) => [state!, codes[0]!] as const,
  ),
);

test.each(unqualified)("%s becomes %s", (state, code) => {
  const error = Object.assign(new Error("x"), { severity: "ERROR", code: state.replace("…", "000") });
  expect(publicError(error, new ConstraintFields(), "")?.code).toBe(code);
});

test("the documented SQLSTATEs are those that the code tells apart", () => {
  const source = readFileSync(join(PACKAGE_ROOT, "src/request/public-error.ts"), "utf8");
  const known = [...source.matchAll(/case "([0-9A-Z]{2,5})":/g)].map(([, state]) => state!);
  const documented = rows.flatMap(({ states }) =>
    [...states.matchAll(/`([0-9][0-9A-Z]{1,4})…?`/g)].map(([, state]) => state!),
  );
  expect([...new Set(documented)].sort()).toEqual([...new Set(known)].sort());
});
