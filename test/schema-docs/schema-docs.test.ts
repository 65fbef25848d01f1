import { Parser } from "@dbml/core";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { schemaDocs } from "../../src/schema-docs/files.ts";
import type { SchemaModel } from "../../src/schema-docs/model.ts";
import { readSchemaModel } from "../../src/schema-docs/read-model.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// A DBML file that dbdiagram.io imports, with tables grouped and coloured by domain, and pictures of the schema [S13].

let db: TestDatabase;
let model: SchemaModel;
let files: Map<string, string>;
beforeAll(async () => {
  db = await createTestDatabase();
  model = await withClient(db.url("owner"), (client) => readSchemaModel(client, db.rolePrefix));
  files = await schemaDocs(model);
});
afterAll(() => db.drop());

const tables = () => model.relations.filter(({ kind }) => kind === "table");
const counted = (sql: string) =>
  withClient(db.url("owner"), async (client) => Number((await client.query(sql)).rows[0].count));

test("the model contains every table and foreign key of the catalogue", async () => {
  const OURS = "('pg_catalog', 'information_schema', 'pg_toast', 'plinth_jobs', 'plinth_migrate')";
  expect(tables()).toHaveLength(
    await counted(`
      select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not in ${OURS}`),
  );
  expect(model.references).toHaveLength(
    await counted(`
      select count(*) from pg_constraint k join pg_class c on c.oid = k.conrelid and not c.relispartition
      join pg_namespace n on n.oid = c.relnamespace
      where k.contype = 'f' and k.conparentid = 0 and n.nspname not in ${OURS}`),
  );
});

test("comments are shown without the tags that are for the API and the jobs", () => {
  const shown = model.relations.flatMap(({ schema, name, comment, columns }) => [
    { at: `${schema}.${name}`, comment },
    ...columns.map((column) => ({ at: `${schema}.${name}.${column.name}`, comment: column.comment })),
  ]);
  expect(shown.filter(({ comment }) => /^@/m.test(comment))).toEqual([]);
  expect(files.get("README.md")).not.toMatch(/\| @[a-z]/);
});

describe("DBML [S13]", () => {
  let parsed: ReturnType<Parser["parse"]>;
  beforeAll(() => {
    parsed = new Parser().parse(files.get("plinth.dbml")!, "dbmlv2");
  });

  test("is read by dbdiagram.io's own parser with every table, column and foreign key", () => {
    const schemas = parsed.schemas.filter(({ tables }) => tables.length > 0);
    const found = schemas.flatMap(({ name, tables }) =>
      tables.map((table) => [`${name}.${table.name}`, table.fields.map((field) => field.name)]),
    );
    const wanted = tables().map(({ schema, name, columns }) => [
      `${schema}.${name}`,
      columns.map((one) => one.name),
    ]);
    expect(Object.fromEntries(found)).toEqual(Object.fromEntries(wanted));
    expect(parsed.schemas.flatMap(({ refs }) => refs)).toHaveLength(model.references.length);
  });

  test("groups and colours every table by domain, with its comment as a note", () => {
    for (const { tables } of parsed.schemas)
      for (const table of tables) {
        expect([table.name, table.group?.name]).toEqual([table.name, table.schema.name]);
        expect(table.headerColor).toMatch(/^#[0-9a-f]{6}$/i);
        expect(table.note).not.toBe("");
      }
  });
});

test("Mermaid names the tables and columns of each domain within its grammar", () => {
  for (const { schema, name, columns } of model.relations) {
    const text = files.get(`${schema}.mmd`)!;
    const body = text.slice(text.indexOf(`  "${schema}.${name}" {`)).split("\n  }")[0]!;
    const attributes = [...body.matchAll(/^ {4}([\w[\]()]+) (\w+)( (?:PK|FK|PK, FK))? "[^"]*"$/gm)];
    expect([name, attributes.map(([, , column]) => column)]).toEqual([name, columns.map((one) => one.name)]);
  }
});

describe("pictures [S13]", () => {
  test("show every table and view in its domain and in the overview", () => {
    for (const { schema, name } of model.relations)
      for (const file of [`${schema}.svg`, "all-domains.svg"])
        expect([file, name, files.get(file)!.includes(`>${name}`)]).toEqual([file, name, true]);
  });

  test("are the same each time, load no resource and contain no script", async () => {
    const again = await schemaDocs(model);
    for (const [name, text] of files) {
      expect([name, again.get(name) === text]).toEqual([name, true]);
      if (name.endsWith(".svg")) expect(text).not.toMatch(/<script|<image|href="http|url\(/);
    }
  });
});
