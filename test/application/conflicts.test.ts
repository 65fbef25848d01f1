import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { loadConfig } from "../../src/config/config.ts";
import { roleName } from "../../src/config/roles.ts";
import { readSchema } from "../../src/graphql/read-schema.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

/** The limits of the pool only end what hangs. */
const config = () =>
  loadConfig({
    PLINTH_ROLE_PREFIX: db.rolePrefix,
    PLINTH_POOL_CONNECTION_TIMEOUT_MS: "300000",
    PLINTH_STATEMENT_TIMEOUT_MS: "300000",
  });

/** Builds the API with an application whose schema `shop` contains these objects. */
async function build(sql: string) {
  const user = roleName(db.rolePrefix, "user");
  await withClient(db.url("owner"), (client) =>
    client.query(`
      drop schema if exists shop cascade;
      create schema shop;
      grant usage on schema shop to ${user};
      ${sql};
      grant select on all tables in schema shop to ${user};
      grant execute on all functions in schema shop to ${user}`),
  );
  return readSchema(config(), db.url("authenticator"), { schemas: ["shop"] });
}

test("a table with the name of one of Plinth's is reported with the smart tag to set, which then renames it", async () => {
  const sql = "create table shop.messages (id integer primary key)";
  await expect(build(sql)).rejects.toMatchObject({
    code: "NAME_CONFLICT",
    message: "The API has another object named messages, so shop.messages needs another name there.",
    hint: expect.stringContaining("comment on table shop.messages is E'@name shop_messages\\n…'"),
  });
  const schema = await build(`${sql}; comment on table shop.messages is '@name shop_messages'`);
  expect(Object.keys(schema.getQueryType()!.getFields())).toEqual(
    expect.arrayContaining(["messages", "shopMessages"]),
  );
});

test("a schema that does not exist, or that users may not use, is reported", async () => {
  const read = () => readSchema(config(), db.url("authenticator"), { schemas: ["warehouse"] });
  await expect(read()).rejects.toMatchObject({
    code: "SCHEMA_MISSING",
    message: "The application's schema warehouse does not exist.",
  });
  await withClient(db.url("owner"), (client) => client.query("create schema warehouse"));
  await expect(read()).rejects.toMatchObject({
    code: "SCHEMA_CLOSED",
    hint: expect.stringContaining("grant usage on schema warehouse to :PLINTH_ANONYMOUS, :PLINTH_USER;"),
  });
});

test.each([
  ["a view", "create view shop.profiles as select 1 as id", "object named profiles", "@name shop_profiles"],
  [
    "a table with the same singular",
    "create table shop.chat (id integer primary key)",
    "type named Chat",
    "@name",
  ],
  [
    "a function with the name of a mutation",
    "create function shop.login() returns integer language sql as 'select 1'",
    "type named LoginInput",
    "@name",
  ],
  [
    "a relation to users",
    `create table shop.items (id integer primary key, user_id uuid unique references identity.users);
     comment on constraint items_user_id_fkey on shop.items is '@foreignFieldName chats'`,
    "field named chats",
    "@foreignFieldName",
  ],
])("%s with a name that the API has already is reported", async (_what, sql, named, tag) => {
  await expect(build(sql)).rejects.toMatchObject({
    code: "NAME_CONFLICT",
    message: `The API has another ${named}, so an object in the schema shop needs another name there.`,
    hint: expect.stringContaining(tag),
  });
});
