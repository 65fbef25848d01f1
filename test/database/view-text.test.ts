import { describe, expect, test } from "@jest/globals";
import { canonicalView } from "../../src/drift/view-text.ts";

// The texts that PostgreSQL 15 and later versions print for the same view.

test.each([
  [
    "of a single table",
    " SELECT p.id,\n    p.name\n   FROM llm.prompts p\n  WHERE p.id IS DISTINCT FROM p.parent_id;",
    " SELECT id,\n    name\n   FROM llm.prompts p\n  WHERE id IS DISTINCT FROM parent_id;",
  ],
  [
    "of a table without an alias",
    " SELECT prompts.id\n   FROM llm.prompts;",
    " SELECT id\n   FROM llm.prompts;",
  ],
  [
    "with a subquery that refers to it",
    " SELECT p.id,\n    ( SELECT count(*) AS count\n           FROM llm.models m\n          WHERE (m.id = p.model_id)) AS models\n   FROM llm.prompts p;",
    " SELECT id,\n    ( SELECT count(*) AS count\n           FROM llm.models m\n          WHERE (m.id = p.model_id)) AS models\n   FROM llm.prompts p;",
  ],
  [
    "of a function",
    " SELECT f.id\n   FROM llm.visible() f(id)\n  ORDER BY f.id;",
    " SELECT id\n   FROM llm.visible() f(id)\n  ORDER BY id;",
  ],
  [
    "of a query with a name",
    " WITH recent AS (\n         SELECT m.id\n           FROM llm.messages m\n        )\n SELECT recent.id\n   FROM recent;",
    " WITH recent AS (\n         SELECT m.id\n           FROM llm.messages m\n        )\n SELECT id\n   FROM recent;",
  ],
])("a view %s is the same for all versions", (_what, old, now) => {
  expect(canonicalView(old)).toBe(canonicalView(now));
});

test("a constant of a union is the same after a dump and restore", () => {
  const made = " SELECT a.n\n   FROM a\nUNION\n SELECT NULL::integer;";
  const restored = " SELECT a.n\n   FROM a\nUNION\n SELECT NULL::integer AS int4;";
  expect(canonicalView(restored)).toBe(canonicalView(made));
});

describe("differs for", () => {
  test.each([
    ["columns of two tables", "SELECT a.id FROM a JOIN b ON true;", "SELECT b.id FROM a JOIN b ON true;"],
    [
      "columns of the table and a subquery",
      "SELECT (SELECT b.x FROM b) FROM a;",
      "SELECT (SELECT a.x FROM b) FROM a;",
    ],
    ["conditions", "SELECT a.x FROM a WHERE a.y;", "SELECT a.x FROM a;"],
    ["names of columns", "SELECT a.x FROM a;", "SELECT a.x AS y FROM a;"],
    ["names of constants", "SELECT NULL::integer AS n FROM a;", "SELECT NULL::integer FROM a;"],
  ])("%s", (_what, one, other) => {
    expect(canonicalView(one)).not.toBe(canonicalView(other));
  });
});
