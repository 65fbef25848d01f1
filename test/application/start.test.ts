import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { LOGIN_ROLES } from "../../src/config/roles.ts";
import { createPlinth } from "../../src/index.ts";
import { ask, collectLog, MASTER_KEYS, SIGNING_KEYS, signUp } from "../support/api.ts";
import { shop } from "../support/application/shop.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

const start = () =>
  createPlinth({
    ...shop,
    logger: collectLog([]),
    settings: {
      databaseUrls: Object.fromEntries(LOGIN_ROLES.map((role) => [role, db.url(role)])),
      rolePrefix: db.rolePrefix,
      http: { port: 0 },
      // These limits only end what hangs.
      pool: { connectionTimeoutMs: 300_000, statementTimeoutMs: 300_000 },
      auth: { jwtKeys: SIGNING_KEYS, masterKeys: MASTER_KEYS },
    },
  });

test("createPlinth migrates, serves and schedules an application, and a restart keeps its rows", async () => {
  const first = await start();
  const api = { ask: (query: string, options?: Parameters<typeof ask>[2]) => ask(first.url, query, options) };
  const ada = await signUp(api, "ada");
  await withClient(db.url("owner"), (client) =>
    client.query(
      `with p as (insert into shop.products (product_name, price_cents) values ('Lamp', 100) returning id)
       insert into shop.orders (user_id, product_id, quantity) select $1, id, 1 from p`,
      [ada.userId],
    ),
  );
  await first.close();

  const second = await start();
  const { data } = await ask(second.url, "{ orders { nodes { product { productName } } } }", {
    token: ada.token,
  });
  expect(data.orders.nodes).toEqual([{ product: { productName: "Lamp" } }]);
  await second.close();
  const rows = await withClient(
    db.url("owner"),
    async (client) =>
      (await client.query("select name from plinth_jobs.schedule where name = 'close-old-orders'")).rows,
  );
  expect(rows).toHaveLength(1);
});

test("createPlinth rejects an application that is not valid before it opens a database", async () => {
  await expect(createPlinth({ schemas: ["identity"] })).rejects.toMatchObject({
    code: "INVALID_APPLICATION",
    message: "The schema identity is not the application's own.",
  });
});
