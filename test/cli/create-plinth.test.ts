import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { generateMasterKey } from "../../src/auth/master-keys.ts";
import { generateSigningKey } from "../../src/auth/signing-keys.ts";
import { LOGIN_ROLES } from "../../src/config/roles.ts";
import { createPlinth, type Plinth, PlinthError } from "../../src/index.ts";
import { ask } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// The library's entry: what `plinth start` does, inside another program.

let db: TestDatabase;
let dataDirectory: string;
beforeAll(async () => {
  db = await createTestDatabase();
  dataDirectory = await mkdtemp(join(tmpdir(), "plinth-library-"));
});
afterAll(async () => {
  await db.drop();
  await rm(dataDirectory, { recursive: true });
});

const start = (
  options: Parameters<typeof createPlinth>[0] = {},
  auth: object = { jwtKeys: generateSigningKey(), masterKeys: generateMasterKey(1) },
): Promise<Plinth> =>
  createPlinth({
    settings: {
      databaseUrls: Object.fromEntries(LOGIN_ROLES.map((role) => [role, db.url(role)])),
      rolePrefix: db.rolePrefix,
      dataDirectory,
      http: { port: 0 },
      auth,
      logLevel: "silent",
    },
    ...options,
  });

test("serves an existing database until it is closed, without demo data unless requested", async () => {
  const plinth = await start();
  expect(plinth.demoAccounts).toEqual([]);
  expect(await ask(plinth.url, "{ __typename }")).toMatchObject({
    status: 200,
    data: { __typename: "Query" },
  });
  await Promise.all([plinth.close(), plinth.close()]);
  await expect(fetch(`${plinth.url}/healthz`)).rejects.toThrow();
  const left = await withClient(db.adminUrl, (client) =>
    client.query(
      `select application_name from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`,
    ),
  );
  expect(left.rows).toEqual([]);
});

test("starts nothing and leaves nothing open without a signing key", async () => {
  const error = await start({}, {}).catch((cause) => cause);
  expect(error).toBeInstanceOf(PlinthError);
  expect(error).toMatchObject({ code: "SIGNING_KEYS_MISSING" });
});

test.each([
  [{ modules: ["chats"] }, "The module chats requires the module billing."],
  [{ listen: false, prefix: "api/" }, 'prefix is "api/", but must be a path such as /api'],
])("rejects %j before it starts anything", async (options, message) => {
  // Without keys, a start would fail for another reason.
  const error = await start(options, {}).catch((cause) => cause);
  expect(error).toMatchObject({ code: "INVALID_SETTING", message: expect.stringContaining(message) });
});

test("fills an empty database with demo data once, if requested", async () => {
  const count = () =>
    withClient(db.url("owner"), async (client) => {
      const { rows } = await client.query(
        `select
           (select count(*)::integer from identity.users) as users,
           (select count(*)::integer from llm.chats) as chats,
           (select count(*)::integer from llm.messages) as messages,
           (select count(*)::integer from llm.prompts) as prompts`,
      );
      return rows[0];
    });
  const accounts = [];
  const counts = [];
  for (let round = 0; round < 2; round += 1) {
    const plinth = await start({ demo: true });
    accounts.push(plinth.demoAccounts);
    counts.push(await count());
    await plinth.close();
  }
  expect(accounts[0]!.map(({ username, role }) => [username, role])).toEqual([
    ["ada", "user"],
    ["grace", "admin"],
  ]);
  expect(counts[0]).toMatchObject({ users: 26, chats: 3, prompts: 13 });
  expect(accounts[1]).toEqual(accounts[0]);
  expect(counts[1]).toEqual(counts[0]);
});
