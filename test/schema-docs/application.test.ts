import { Parser } from "@dbml/core";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { schemaDocs } from "../../src/schema-docs/files.ts";
import { readApplicationModel } from "../../src/schema-docs/model.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { SHOP } from "../support/shop.ts";

// The schema page of an application: its own schemas, with their relations to Plinth's tables.

let db: TestDatabase;
let files: Map<string, string>;
beforeAll(async () => {
  db = await createTestDatabase();
  const model = await withClient(db.url("owner"), async (client) => {
    await client.query(`${SHOP}
      create schema depot;
      create table depot."Shelf & <Co>" (id uuid primary key, "the ""place""" uuid references llm.chats, free text);
      comment on column depot."Shelf & <Co>".free is 'Free text.'`);
    return readApplicationModel(client, ["shop", "depot"]);
  });
  files = await schemaDocs(model);
});
afterAll(() => db.drop());

test("draws the application's schemas only", () => {
  expect([...files.keys()].sort()).toEqual([
    "README.md",
    "all-domains.svg",
    "application.dbml",
    "depot.mmd",
    "depot.svg",
    "shop.mmd",
    "shop.svg",
  ]);
});

test("shows relations to Plinth's tables, with their keys, in groups of their own", () => {
  const { schemas } = new Parser().parse(files.get("application.dbml")!, "dbmlv2");
  const tables = schemas.flatMap(({ tables }) => tables);
  const group = (name: string) => tables.find((table) => table.name === name)!;
  expect(tables.map(({ name }) => name).sort()).toEqual(
    [
      ...["Shelf & <Co>", "chats", "offers", "order_lines", "orders", "parcels", "products"],
      ...["reviews", "risk_scores", "subscribers", "users", "visits"],
    ].sort(),
  );
  expect(group("users").fields.map(({ name }) => name)).toEqual(["id"]);
  expect(group("users").group.name).toBe("identity");
  expect(group("orders").group.name).toBe("shop");
  const colors = new Set(["users", "orders", "Shelf & <Co>", "chats"].map((name) => group(name).headerColor));
  expect(colors.size).toBe(4);
  expect(schemas.flatMap(({ refs }) => refs)).toHaveLength(11);
  for (const picture of ["shop.svg", "all-domains.svg"])
    expect(files.get(picture)).toContain(picture === "shop.svg" ? ">identity.users<" : ">users<");
});

test("shows comments, and names that need quotes", () => {
  expect(files.get("README.md")).toContain("| `orders` | One row per order. |");
  expect(files.get("depot.svg")).toContain("Free text.");
  expect(files.get("depot.svg")).toContain(">Shelf &amp; &lt;Co&gt;<");
  expect(files.get("depot.mmd")).toMatch(/^ {4}uuid the__place_ FK ""$/m);
});
