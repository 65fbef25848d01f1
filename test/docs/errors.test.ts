import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { CODES_BY_STATUS } from "../../src/http/http-error.ts";
import { ConstraintFields } from "../../src/request/constraint-fields.ts";
import { OWN_SQLSTATES, PUBLIC_PLINTH_CODES, publicError } from "../../src/request/public-error.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { errorEntries, registeredCodeOf } from "../support/error-page.ts";

const entries = errorEntries();
const publicErrorSource = readFileSync(join(PACKAGE_ROOT, "src/request/public-error.ts"), "utf8");

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
    publicErrorSource,
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

test("docs/errors.md lists each error code that a client can get, and no other, once", () => {
  const documented = entries.flatMap(({ codes }) => codes);
  expect(documented.sort()).toEqual([...codesOfTheCode()].sort());
});

test("each code has a cause, something that the client does, and fields", () => {
  const incomplete = entries.filter(
    ({ status, cause, remedy, fields }) => !/^\d{3}/.test(status) || !(cause && remedy && fields),
  );
  expect(incomplete).toEqual([]);
});

test("the HTTP statuses are those that the server sends", () => {
  const thrown = [...sourcesOf("src/http", ".ts").matchAll(/HttpError\(\s*(\d{3}),\s*"([A-Z_]+)"/g)].map(
    ([, status, code]) => [code!, status!],
  );
  expect(thrown.length).toBeGreaterThan(10);
  const sent = [...thrown, ...Object.entries(CODES_BY_STATUS).map(([status, code]) => [code, status])];
  const missing = sent.filter(
    ([code, status]) =>
      !entries.some((entry) => entry.codes.includes(code!) && entry.status.includes(status!)),
  );
  expect(missing).toEqual([]);
});

test("the fields that docs/errors.md names are in the schema", () => {
  const schema = readFileSync(join(PACKAGE_ROOT, "migrations/schema/schema.graphql"), "utf8");
  const named = entries.flatMap(({ fields }) => [...fields.matchAll(/`(\w+)`/g)].map(([, name]) => name!));
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((name) => !new RegExp(`^  ${name}[(:]`, "m").test(schema))).toEqual([]);
});

test("plugins throw public codes only, because others would be masked as INTERNAL", () => {
  const thrown = [...sourcesOf("plugins", ".ts").matchAll(/PlinthError\(\s*"([A-Z_]+)"/g)].map(
    ([, code]) => code!,
  );
  expect(thrown.length).toBeGreaterThan(0);
  expect(thrown.filter((code) => !PUBLIC_PLINTH_CODES.has(code))).toEqual([]);
});

test("every exception that the fixtures raise has a registered SQLSTATE", () => {
  const raised = sourcesOf("migrations/fixtures", ".sql").match(/\braise exception\b(?:'[^']*'|[^';])*;/g)!;
  expect(raised.length).toBeGreaterThan(250);
  const unregistered = raised.filter((statement) => {
    const [, state] = /errcode = '(\w{5})'/.exec(statement) ?? [];
    return !state || registeredCodeOf(state) === undefined;
  });
  expect(unregistered).toEqual([]);
});

test("the SQLSTATEs of our own that migrations raise are the documented ones, under their codes", () => {
  const raised = [...sourcesOf("migrations", ".sql").matchAll(/errcode = '(PL\d+)'/g)].map(
    ([, state]) => state!,
  );
  const documented = entries.flatMap(({ codes, states }) =>
    [...states.matchAll(/`(PL\d+)`/g)].map(([, state]) => [state!, codes[0]!]),
  );
  expect(Object.fromEntries(documented)).toEqual(OWN_SQLSTATES);
  expect([...new Set(raised)].sort()).toEqual(Object.keys(OWN_SQLSTATES).sort());
});

/** SQLSTATEs and classes (`22…`) that alone decide the code; `42501 of a visitor` depends on more. */
const unqualified = entries.flatMap(({ codes, states }) =>
  [...states.matchAll(/`([0-9A-Z]{2,5}…?)`(?! of)(?<!other `25006`)/g)].map(
    ([, state]) => [state!, codes[0]!] as const,
  ),
);

test.each(unqualified)("%s becomes %s", (state, code) => {
  const error = Object.assign(new Error("x"), { severity: "ERROR", code: state.replace("…", "000") });
  expect(publicError(error, new ConstraintFields(), "")?.code).toBe(code);
});

test("the documented SQLSTATEs are those that the code tells apart", () => {
  const known = [...publicErrorSource.matchAll(/case "([0-9A-Z]{2,5})":/g)].map(([, state]) => state!);
  const documented = entries.flatMap(({ states }) =>
    [...states.matchAll(/`([0-9][0-9A-Z]{1,4})…?`/g)].map(([, state]) => state!),
  );
  expect([...new Set(documented)].sort()).toEqual([...new Set(known)].sort());
});
