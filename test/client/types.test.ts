import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { buildSchema, parse, validate } from "postgraphile/graphql";
import * as auth from "../../client/auth/documents.ts";
import * as chat from "../../client/chat/documents.ts";
import { graphql } from "../../client/graphql.ts";
import { clientTypes } from "../../src/schema-dump/client-types.ts";
import { PACKAGE_ROOT, SCHEMA_FOLDER } from "../../src/support/paths.ts";

const SDL = readFileSync(join(SCHEMA_FOLDER, "schema.graphql"), "utf8");

test("client/schema matches the GraphQL schema (otherwise: plinth schema dump)", () => {
  const file = join(PACKAGE_ROOT, "client/schema/introspection.ts");
  expect(readFileSync(file, "utf8") === clientTypes(SDL)).toBe(true);
});

describe("the documents of the client", () => {
  const schema = buildSchema(SDL, { assumeValid: true });
  const documents = Object.entries({ ...auth, ...chat });

  test.each(documents)("%s is valid", (_name, text) => {
    expect(validate(schema, parse(text))).toEqual([]);
  });

  test("in docs/client.md are valid", () => {
    const page = readFileSync(join(PACKAGE_ROOT, "docs/client.md"), "utf8");
    const texts = [...page.matchAll(/graphql\(`([^`]+)`\)/g)].map(([, text]) => text!);
    expect(texts.length).toBeGreaterThanOrEqual(2);
    for (const text of texts) expect(validate(schema, parse(text))).toEqual([]);
  });
});

const NAME = graphql("fragment Name on Profile { username displayName }");

test("a document contains each of its fragments once", () => {
  const twice = graphql("query { a: profiles { nodes { ...Name } } }", [NAME, NAME]);
  expect(String(twice)).toBe(`query { a: profiles { nodes { ...Name } } }\n${NAME}`);
});
