import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import {
  buildSchema,
  type DocumentNode,
  Kind,
  type OperationDefinitionNode,
  parse,
  validate,
} from "postgraphile/graphql";

// Every example in the README and in docs/ is valid against the API.

const root = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");
const schema = buildSchema(read("migrations/schema/schema.graphql"));
const pages = [
  "README.md",
  ...readdirSync(new URL("docs/", root))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

/** Blocks of GraphQL and the JSON in arguments of curl; an example with … is not for pasting. */
function examplesOf(page: string): string[] {
  const text = read(page);
  const blocks = [...text.matchAll(/```graphql\n(.*?)```/gs)].map(([, block]) => block!);
  const queries = [...text.matchAll(/"query": ?("(?:\\.|[^"\\])*")/g)]
    // The shell inserts a value here: '$NAME'.
    .map(([, json]) => json!.replace(/'(\$\w+)'/g, "00000000-0000-7000-8000-000000000000"))
    .map((json) => JSON.parse(json) as string);
  return [...blocks, ...queries].filter((example) => !example.includes("…"));
}

/** A document per operation: a page shows several unnamed operations in one block. */
function operationsOf(example: string): DocumentNode[] {
  const { kind, definitions } = parse(example);
  const isOperation = (node: (typeof definitions)[number]): node is OperationDefinitionNode =>
    node.kind === Kind.OPERATION_DEFINITION;
  const others = definitions.filter((node) => !isOperation(node));
  return definitions.filter(isOperation).map((node) => ({ kind, definitions: [node, ...others] }));
}

const withExamples = pages.filter((page) => examplesOf(page).length > 0);

test("the pages contain examples", () => {
  expect(withExamples).toEqual(expect.arrayContaining(["README.md", "docs/api.md", "docs/learning.md"]));
});

describe.each(withExamples)("%s", (page) => {
  test.each(examplesOf(page))("is valid: %s", (example) => {
    const errors = operationsOf(example).flatMap((document) => validate(schema, document));
    expect(errors.map(({ message }) => message)).toEqual([]);
  });
});
