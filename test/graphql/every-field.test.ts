import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { readSurface, type Surface } from "../support/generated-fields.ts";

// A root field is called in a test, or it is generated and one of the walks beside this file calls it. A field that is
// neither is either not tested or not needed.

let db: TestDatabase;
let surface: Surface;
beforeAll(async () => {
  db = await createTestDatabase();
  surface = await readSurface(db);
});
afterAll(() => db.drop());

const tests = readdirSync(join(PACKAGE_ROOT, "test"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => readFileSync(join(PACKAGE_ROOT, "test", file), "utf8"))
  .join("\n");

/** As it stands in an operation (`{ name(`, `alias: name {`), or as a helper is told: `run("name", …)`, `run("name { id }")`. */
const isCalled = (name: string) =>
  new RegExp(
    String.raw`(?:[{:}]|\n|\) )\s*${name}(?:\(\s*(?:\w+:|\$)|\s*[{}]|\s+\w+|\s*\n)|\w\([^"'\`()]*["'\`]${name}(?:["'\`][,)]|\(| \{)`,
  ).test(tests);

test("each root field is called in a test by name or by a walk", () => {
  const { schema, generated } = surface;
  const walked = new Set(generated.map(({ name }) => name));
  const roots = [schema.getQueryType()!, schema.getMutationType()!, schema.getSubscriptionType()!];
  const fields = roots.flatMap((type) =>
    Object.keys(type.getFields()).map((name) => ({ place: `${type.name}.${name}`, name })),
  );
  const uncalled = fields
    .filter(({ name }) => !walked.has(name) && !isCalled(name))
    .map(({ place }) => place);
  expect(uncalled).toEqual([]);
});
