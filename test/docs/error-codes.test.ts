import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { OWN_SQLSTATES } from "../../src/request/public-error.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

// docs/api.md lists the codes of errors. A code that clients meet must be there, and none that no longer exists.

const read = (path: string) => readFileSync(join(PACKAGE_ROOT, path), "utf8");
function sourcesIn(folder: string, ending: string): string {
  return readdirSync(join(PACKAGE_ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(ending))
    .map((file) => read(join(folder, file)))
    .join("\n");
}
const unique = (values: Iterable<string>) => [...new Set(values)].sort();
const matches = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, found]) => found!);

const page = read("docs/api.md");
const section = page.slice(page.indexOf("\n## Errors\n")).split(/\n## (?!Errors)/)[0]!;
const rows = section
  .split("\n")
  .filter((line) => line.startsWith("| `"))
  .map((line) => line.split("|").slice(1, -1));

/** Codes in the sentence below the table, of requests that do not reach GraphQL. */
const outside = /A request that does not reach GraphQL fails with ([^.]*)\./.exec(section)?.[1] ?? "";
const documented = [...rows.map(([code]) => code!), outside].flatMap((text) =>
  matches(text, /`([A-Z_]{4,})`/g),
);

/** Codes for operators or callers in the server. mask-error.ts turns them into INTERNAL. */
const INTERNAL_CODES: Readonly<Record<string, string>> = {
  ADDRESS_IN_USE: "The port is taken when the server starts.",
  ADDRESS_NOT_ALLOWED: "The server may not listen on the address.",
  DATABASE_UNREACHABLE: "The server does not start without a database.",
  NOT_MIGRATED: "The server does not start on an empty database.",
  UNSEALABLE: "A sealed secret was tampered with.",
};

/** graphql-js and grafserv return these themselves. */
const FROM_LIBRARIES = ["GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"];

const FOLDERS = [
  "plugins",
  ...["accounts", "graphql", "http", "limits", "live", "payments", "request"].map((room) => `src/${room}`),
];
const code = FOLDERS.map((folder) => sourcesIn(folder, ".ts")).join("\n");
const returned = unique([
  ...matches(code, /new PlinthError\(\s*"([A-Z_]+)"/g),
  ...matches(code, /new HttpError\(\s*\d+,\s*"([A-Z_]+)"/g),
  ...matches(code, /\bcode(?: =|:) "([A-Z_]+)"/g),
  ...matches(code, /^ {2}\d{3}: "([A-Z_]+)"/gm),
  ...matches(code, /\? "([A-Z_]{4,})"\s*: "[A-Z_]{4,}"/g),
  ...Object.values(OWN_SQLSTATES),
  ...FROM_LIBRARIES,
]);

test("docs/api.md lists exactly the codes that the API returns", () => {
  expect(returned.length).toBeGreaterThan(15);
  const expected = returned.filter((name) => !(name in INTERNAL_CODES));
  expect(documented.toSorted()).toEqual(expected);
  expect(Object.keys(INTERNAL_CODES).filter((name) => !returned.includes(name))).toEqual([]);
});

test("docs/api.md names with each code exactly the SQLSTATEs that become it", () => {
  const named = rows.flatMap(([codes, states]) =>
    matches(states!, /`(PL\d{3})`/g).map((state) => [state, matches(codes!, /`(\w+)`/g)[0]]),
  );
  expect(Object.fromEntries(named)).toEqual(OWN_SQLSTATES);
});

test("functions raise exactly the SQLSTATEs that have a code", () => {
  const raised = unique(matches(sourcesIn("migrations/fixtures", ".sql"), /errcode = '(PL\w{3})'/g));
  expect(raised).toEqual(Object.keys(OWN_SQLSTATES).sort());
  const committed = unique(matches(sourcesIn("migrations/committed", ".sql"), /errcode = '(PL\w{3})'/g));
  expect(committed).toEqual(raised);
});

test("docs/api.md lists exactly the SQLSTATEs of PostgreSQL that have a code, or their classes", () => {
  const handled = matches(read("src/request/public-error.ts"), /case "(\w{2}|\w{5})":/g);
  const named = rows.flatMap(([, states]) => matches(states!, /`([0-9][0-9A-Z](?:\w{3})?)…?`/g));
  expect(unique(named)).toEqual(unique(handled));
});
