import { expect, test } from "@jest/globals";
import { documentsInGraphqlFiles } from "../../src/documents/graphql-files.ts";

const documentsIn = (...texts: string[]) =>
  documentsInGraphqlFiles(texts.map((text, i) => ({ path: `${i}.graphql`, text })));

test("each operation becomes a document with the fragments it uses, in the order of their first use", () => {
  const { documents, faults } = documentsIn(
    "query A { a { ...F } ...G }  mutation B { b }",
    "fragment G on Query { g }\nfragment Unused on Query { u }",
    "fragment F on A { x { ...H ...F2 } }  fragment H on X { h { ...F2 } }  fragment F2 on X { f }",
  );
  expect(faults).toEqual([]);
  const names = documents.map(({ source, text }) => [source, [...text.matchAll(/^\w+ \w+/gm)].flat()]);
  expect(names).toEqual([
    ["0.graphql: A", ["query A", "fragment F", "fragment G", "fragment H", "fragment F2"]],
    ["0.graphql: B", ["mutation B"]],
  ]);
});

test("an operation without a name becomes a document if it is alone in its file", () => {
  expect(documentsIn("{ a }")).toEqual({
    documents: [{ source: "0.graphql: query", text: "{\n  a\n}" }],
    faults: [],
  });
  expect(documentsIn("{ a } query B { b }").faults).toEqual([
    { source: "0.graphql", message: "Name each operation of a file that has several." },
  ]);
});

test("white space and comments do not change the text", () => {
  const [plain, spaced] = documentsIn("query A{a(b:1)}", "# why\nquery A {\n\n a( b : 1, ) }").documents;
  expect(spaced!.text).toBe(plain!.text);
});

test("fragments that use each other in a circle end", () => {
  const { documents } = documentsIn(
    "query A { ...F }  fragment F on Query { ...G }  fragment G on Query { ...F }",
  );
  expect(documents).toHaveLength(1);
});

test("the same fragment in two files is one; another one of its name is a fault", () => {
  const fragment = "fragment F on Query { a }";
  expect(documentsIn(`query A { ...F } ${fragment}`, fragment).faults).toEqual([]);
  expect(documentsIn(fragment, "fragment F on Query { b }").faults).toEqual([
    { source: "1.graphql", message: "0.graphql has another fragment F." },
  ]);
});

test.each([
  ["a syntax error", "query A {", "Line 1, column 10: Syntax Error: Expected Name, found <EOF>."],
  ["an empty file", "", "Line 1, column 1: Syntax Error: Unexpected <EOF>."],
  ["a schema", "type A { a: Int }", "A document consists of operations and fragments only."],
  ["too deep nesting", "{a".repeat(100_000), "The document is nested too deeply."],
])("%s is a fault", (_what, text, message) => {
  expect(documentsIn(text)).toEqual({ documents: [], faults: [{ source: "0.graphql", message }] });
});
