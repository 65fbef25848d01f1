import { expect, test } from "@jest/globals";
import { excerpt, splitStatements } from "../../src/migration-plan/statements.ts";

const split = (sql: string) => splitStatements(sql, "f.sql").map((statement) => statement.sql);

test.each([
  ["select 1;\nselect 2", ["select 1", "select 2"]],
  ["select ';', 'it''s;', e'\\';', \";\";", ["select ';', 'it''s;', e'\\';', \";\""]],
  ["do $$ begin; end $$; do $a$ $$;$$ $a$;", ["do $$ begin; end $$", "do $a$ $$;$$ $a$"]],
  ["select a$b$ from t; select c$b$", ["select a$b$ from t", "select c$b$"]],
  ["/* a; /* b; */ c; */ select 1; -- d;\n;;", ["select 1"]],
  ["create rule r as on insert to t do (select 1; select 2); select 3", undefined],
  ["create function f() returns int begin atomic select case when true then 1 end; end; select 1", undefined],
  ["begin; select case when true then 1 end; end;", ["begin", "select case when true then 1 end", "end"]],
])("splits %j", (sql, expected) => {
  expect(split(sql)).toEqual(
    expected ?? [sql.slice(0, sql.lastIndexOf(";")), sql.slice(sql.lastIndexOf(";") + 2)],
  );
});

test("gives the file and the line of each statement's first word, and an excerpt on one line", () => {
  expect(splitStatements("-- a\n\nselect\n  1;\n/* b\n */ select 2", "f.sql", 10)).toEqual([
    { sql: "select\n  1", file: "f.sql", line: 13 },
    { sql: "select 2", file: "f.sql", line: 16 },
  ]);
  expect(excerpt("select -- one\n  1,\n  2", 10)).toBe("select 1,…");
});
