import { expect, test } from "@jest/globals";
import { buildSchema, parse } from "postgraphile/graphql";
import { differenceOf } from "./operations/compare-answers.ts";
import { inlined } from "./operations/inlined.ts";
import type { Operation } from "./operations/random-operation.ts";
import { shrink } from "./operations/shrink.ts";

const schema = buildSchema(`
  type Query { chat(id: ID!, at: Int = 1): Chat chats(filter: Filter, first: Int): [Chat!]! }
  type Chat { id: ID! title: String user: User }
  type User { id: ID! name: String chats(first: Int): [Chat!]! }
  input Filter { title: String not: Filter in: [String] }
`);

const operation = (text: string, variables: Record<string, unknown> = {}): Operation => ({
  text,
  document: parse(text),
  variables,
});

const answer = (text: string, status = 200) => ({ status, text });

test.each([
  ['{"data":{"a":1.0}}', '{"data":{"a":1.1}}', "$.data.a: 1 and 11e-1"],
  [
    '{"data":{"a":12345678901234567890}}',
    '{"data":{"a":12345678901234567891}}',
    "$.data.a: 12345678901234567890",
  ],
  ['{"data":{"a":1,"b":2}}', '{"data":{"b":2,"a":1}}', "$.data: keys a, b and b, a"],
  ['{"data":{"a":1,"a":1}}', '{"data":{"a":1}}', "$.data: keys a, a and a"],
  ['{"data":{"a":"1"}}', '{"data":{"a":1}}', '$.data.a: "1" and 1'],
  ['{"data":{"a":null}}', '{"data":{}}', "$.data: keys a and "],
  ['{"data":{"a":[1,2]}}', '{"data":{"a":[1]}}', "$.data.a: 2 items and 1"],
  ['{"data":{"a":[]}}', '{"data":{"a":{}}}', "$.data.a: a list of 0 and an object of 0"],
  ['{"data":null,"errors":[]}', '{"data":null}', "$: keys data, errors and data"],
  [
    '{"errors":[{"message":"x","extensions":{"code":"A"}}]}',
    '{"errors":[{"message":"x","extensions":{"code":"B"}}]}',
    '$.errors[0].extensions.code: "A" and "B"',
  ],
])("%s differs from %s", (a, b, expected) => {
  expect(differenceOf(answer(a), answer(b))).toContain(expected);
});

test.each([
  ["1.0", "1"],
  ["0.50", "5e-1"],
  ["-3E+2", "-300"],
  ["1e60", "10e59"],
  ["0.0", "-0"],
])("the number %s is the number %s", (a, b) => {
  expect(differenceOf(answer(`{"data":${a}}`), answer(`{"data":${b}}`))).toBeUndefined();
});

test("a status differs", () => {
  expect(differenceOf(answer("{}"), answer("{}", 400))).toBe("status 200 and 400");
});

test.each([
  ["spellings of a string", '{"data":"\\u0061\\/\\u2028"}', '{"data":"a/\u2028"}'],
  ["white space", '{"data": [ 1, { } ]}', '{"data":[1,{}]}'],
  ["places of keys that are indexes", '{"data":{"b":1,"10":2,"9":3}}', '{"data":{"9":3,"10":2,"b":1}}'],
  [
    "ids, positions and orders of errors",
    '{"errors":[{"path":["a"],"locations":[1],"extensions":{"errorId":"1"}},{"path":["b"]}]}',
    '{"errors":[{"path":["b"]},{"path":["a"],"extensions":{"errorId":"2"}}]}',
  ],
])("answers with different %s are equal", (_title, a, b) => {
  expect(differenceOf(answer(a), answer(b))).toBeUndefined();
});

test("inlines fragments, variables, defaults and values that were not sent", () => {
  const { text, variables } = inlined(
    schema,
    operation(
      `query ($id: ID!, $first: Int = 3, $none: Int, $filter: Filter, $on: Boolean!) {
         ...F
         chat(id: $id, at: $none) { id }
       }
       fragment F on Query { chats(first: $first, filter: { not: $filter, in: [$id, $id] }) { ...G @include(if: $on) } }
       fragment G on Chat { title }`,
      { id: "1", on: true },
    ),
  );
  expect(variables).toEqual({});
  expect(text.replace(/\s+/g, " ")).toBe(
    '{ ... on Query { chats(first: 3, filter: {in: ["1", "1"]}) { ... on Chat @include(if: true) { title } } } chat(id: "1") { id } }',
  );
});

test("shrinks an operation to the part that matters", async () => {
  const { text, variables } = await shrink(
    schema,
    operation(
      `query ($id: ID!, $first: Int) {
         a: chat(id: $id) { id title user { ...F } }
         chats(first: $first, filter: { title: "x", not: { in: ["a", "b"] } }) { id }
       }
       fragment F on User { id chats(first: $first) { id wrong: title } }`,
      { id: "1", first: 2 },
    ),
    async (candidate) => candidate.text.includes("title") && candidate.text.includes("chats"),
  );
  expect(text.replace(/\s+/g, " ")).toBe('{ chats(filter: {title: "x"}) { id } }');
  expect(variables).toEqual({});
});
