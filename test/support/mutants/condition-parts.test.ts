import { expect, test } from "@jest/globals";
import { withoutEachPart } from "./condition-parts.ts";

const variants = (condition: string) => withoutEachPart(condition).map(({ condition }) => condition);

test.each([
  ["a single part", "(user_id = 1)", []],
  ["two conjuncts", "((a = 1) AND (b = 2))", ["((b = 2))", "((a = 1))"]],
  ["three disjuncts", "(a OR b OR (c = 3))", ["(b OR (c = 3))", "(a OR (c = 3))", "(a OR b)"]],
  ["nested parts", "(a AND (b OR c))", ["((b OR c))", "(a)", "(a AND (c))", "(a AND (b))"]],
  ["a negated part", "(NOT (a AND b))", ["(NOT (b))", "(NOT (a))"]],
  [
    "the condition of a sub-select",
    "(EXISTS ( SELECT FROM t\n  WHERE (t.a = x) LIMIT 1))",
    ["(EXISTS ( SELECT FROM t\n  WHERE true LIMIT 1))"],
  ],
  [
    "the conditions of a sub-select and its join",
    "(id IN ( SELECT 1 FROM (t JOIN u ON ((t.a = u.a))) WHERE ((t.b = 1) AND u.c)))",
    [
      "(id IN ( SELECT 1 FROM (t JOIN u ON true) WHERE ((t.b = 1) AND u.c)))",
      "(id IN ( SELECT 1 FROM (t JOIN u ON ((t.a = u.a))) WHERE (u.c)))",
      "(id IN ( SELECT 1 FROM (t JOIN u ON ((t.a = u.a))) WHERE ((t.b = 1))))",
    ],
  ],
  [
    "the condition of a CASE",
    "CASE WHEN (a OR b) THEN c ELSE d END",
    ["CASE WHEN (b) THEN c ELSE d END", "CASE WHEN (a) THEN c ELSE d END"],
  ],
  [
    "array elements",
    "(a <> ALL (ARRAY['x'::text, 'y'::text]))",
    ["(a <> ALL (ARRAY['y'::text]))", "(a <> ALL (ARRAY['x'::text]))"],
  ],
])("removes each of: %s", (_, condition, expected) => {
  expect(variants(condition)).toEqual(expected);
});

test("names the removed part on one line", () => {
  expect(withoutEachPart("(a AND\n   (b  = 1))").map(({ removed }) => removed)).toEqual(["a", "(b = 1)"]);
});

test.each([
  ["a string", "((a = '(x AND ''y') AND b)", ["(b)", "((a = '(x AND ''y'))"]],
  ["an escape string", "((a = E'\\' OR \\\\') AND b)", ["(b)", "((a = E'\\' OR \\\\'))"]],
  ["a quoted name", '("x AND ""y(" AND b)', ["(b)", '("x AND ""y(")']],
  ["a name", "(brand_or AND band)", ["(band)", "(brand_or)"]],
])("does not split inside %s", (_, condition, expected) => {
  expect(variants(condition)).toEqual(expected);
});

test.each([
  ["a AND b OR c", "AND and OR share parentheses"],
  ["(a", '"(" is not closed'],
  ["a)", '")" closes nothing'],
  ["(a = 'x)", "a quote is not closed"],
  ["CASE WHEN a AND b THEN c END", "AND or OR without parentheses of its own"],
  ["(x IN (SELECT y FROM z WHERE a AND b))", "AND or OR without parentheses of its own"],
  ["(x BETWEEN 1 AND 2)", "AND or OR without parentheses of its own"],
])("refuses %s", (condition, reason) => {
  expect(() => withoutEachPart(condition)).toThrow(reason);
});
