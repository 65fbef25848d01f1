import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { readSurface, type Surface } from "../support/generated-fields.ts";

// A root field is called by a test, or it is generated and one of the walks beside this file calls it. A field that is
// neither is untested or not needed.

/** Fields whose name in a test proves nothing, each with its reason. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  "Query.query": "It returns the root itself, and its name is a keyword. graphile-build tests it.",
};

let db: TestDatabase;
let surface: Surface;
beforeAll(async () => {
  db = await createTestDatabase();
  surface = await readSurface(db);
});
afterAll(() => db.drop());

/** Strings and templates of the other tests; comments may name a field without calling it. */
const literals = readdirSync(join(PACKAGE_ROOT, "test"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts") && !file.endsWith("every-field.test.ts"))
  .map((file) => readFileSync(join(PACKAGE_ROOT, "test", file), "utf8"))
  .map((code) => code.replace(/^\s*(\/\/|\/?\*).*$/gm, ""))
  .flatMap((code) => code.match(/`(\\.|[^`\\])*`|"(\\.|[^"\\\n])*"|'(\\.|[^'\\\n])*'/gs) ?? [])
  .map((literal) => literal.slice(1, -1));

/** In an operation: `{ name(`, `alias: name {`; or passed to a helper: `name`, `name { id }`, `name(input: …)`. */
const callOf = (name: string) =>
  new RegExp(String.raw`^${name}( ?\{|\(|$)|[{}:)]\s*${name}\b(?!:)|\n\s*${name}\b(?!:)`);

test("each root field is called in a test by name or by a walk", () => {
  const { schema, generated } = surface;
  const walked = new Set(generated.map(({ name }) => name));
  const roots = [schema.getQueryType()!, schema.getMutationType()!, schema.getSubscriptionType()!];
  const fields = roots.flatMap((type) =>
    Object.keys(type.getFields()).map((name) => ({ place: `${type.name}.${name}`, name })),
  );
  const uncalled = fields
    .filter(({ name }) => !walked.has(name) && !literals.some((text) => callOf(name).test(text)))
    .map(({ place }) => place)
    .filter((place) => !(place in EXCEPTIONS));
  expect(uncalled).toEqual([]);
});

test.each([
  ["{ viewer { id } }", true],
  ["mutation { me: viewer { id } }", true],
  ["viewer { id }", true],
  ["viewer", true],
  ["{ viewers { id } }", false],
  ["{ viewer: user { id } }", false],
  ["returns the viewer", false],
])("%s calls the field viewer: %s", (text, isCall) => {
  expect(callOf("viewer").test(text)).toBe(isCall);
});
