import { Parser } from "@dbml/core";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { schemaDocs } from "../../src/schema-docs/files.ts";
import { readApplicationModel } from "../../src/schema-docs/read-model.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { pageDataOf } from "../support/schema-page.ts";
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
      comment on column depot."Shelf & <Co>".free is 'Free text.';
      comment on table depot."Shelf & <Co>" is '</script><script>alert(1)</script>'`);
    return readApplicationModel(client, ["shop", "depot"], db.rolePrefix);
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
    "index.html",
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

test("the page begins with the application's schemas and shows Plinth's, too", () => {
  const html = files.get("index.html")!;
  const { title, schemas, relations } = pageDataOf(html);
  expect(title).toBe("Application");
  expect(schemas.map(({ name }) => name).slice(0, 2)).toEqual(["shop", "depot"]);
  expect(schemas.map(({ name }) => name)).toEqual(expect.arrayContaining(["identity", "billing", "private"]));
  const shelf = relations.find(({ schema }) => schema === "depot")!;
  expect(shelf).toMatchObject({ name: "Shelf & <Co>", primaryKey: ["id"] });
  expect(shelf.references).toMatchObject([{ columns: ['the "place"'], to: "llm.chats", toColumns: ["id"] }]);
  const orders = relations.find(({ name }) => name === "orders")!;
  expect(orders).toMatchObject({ comment: "One row per order.", hasRowSecurity: true });
  expect(orders.columns.find(({ name }) => name === "note")!.comment).toBe("A note of the shop.");
});

test("the page shows markup in comments as text", () => {
  const html = files.get("index.html")!;
  expect(html).not.toContain("<script>alert");
  expect(pageDataOf(html).relations.find(({ schema }) => schema === "depot")!.comment).toBe(
    "</script><script>alert(1)</script>",
  );
});
