import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from "@jest/globals";
import type { Config } from "../../src/config/config.ts";
import { startServer } from "../../src/http/server.ts";
import { serverOptions, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

let db: TestDatabase;
/** Number of resources that the server has opened. */
let opened: number;
/** Their numbers, in the order in which they were closed. */
let closed: number[];

beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

beforeEach(() => {
  opened = 0;
  closed = [];
  const { defer } = AsyncDisposableStack.prototype;
  jest.spyOn(AsyncDisposableStack.prototype, "defer").mockImplementation(function (
    this: AsyncDisposableStack,
    close,
  ) {
    const number = ++opened;
    defer.call(this, async () => {
      await close();
      closed.push(number);
    });
  });
});
afterEach(() => {
  jest.restoreAllMocks();
});

const start = (change: (config: Config) => Config = (config) => config, urls = {}) => {
  const options = serverOptions(db, { PLINTH_LOG_LEVEL: "silent" });
  return startServer({ ...options, config: change(options.config), ...urls });
};

/** The start fails where it reads this setting. */
function unreadable<TPart extends "auth" | "http" | "live" | "payments">(
  part: TPart,
  name: keyof Config[TPart] & string,
): (config: Config) => Config {
  return (config) => {
    const settings = Object.defineProperty({ ...config[part] }, name, {
      get: () => {
        throw new Error(`${name} is unreadable`);
      },
    });
    return { ...config, [part]: settings };
  };
}

const backwards = (count: number) => Array.from({ length: count }, (_, index) => count - index);

/** This test's database has no other server, so none of a server's connections may remain. */
async function expectNoConnections(): Promise<void> {
  await until(() =>
    withClient(db.adminUrl, async (client) => {
      const { rowCount } = await client.query(
        "select from pg_stat_activity where datname = current_database() and application_name like 'plinth-%'",
      );
      return rowCount === 0;
    }),
  );
}

describe("a start that fails closes what was opened, in reverse order", () => {
  test.each([
    ["before the password hasher", 0, unreadable("auth", "passwordHash")],
    ["in the last service", 8, unreadable("payments", "stripeSecretKey")],
    ["after the schema is built", 8, unreadable("live", "isSharing")],
    ["after the listener for news has started", 10, unreadable("http", "corsOrigins")],
    ["before the port is opened", 11, unreadable("http", "port")],
  ] as const)("%s (%i resources)", async (_when, count, change) => {
    await expect(start(change)).rejects.toThrow("is unreadable");
    expect(opened).toBe(count);
    expect(closed).toEqual(backwards(count));
    await expectNoConnections();
  });

  test("when the database rejects the connection (3 resources)", async () => {
    const url = new URL(db.url("authenticator"));
    url.password = "wrong";
    await expect(start(undefined, { authenticatorUrl: url.href })).rejects.toMatchObject({
      code: "DATABASE_UNREACHABLE",
    });
    expect(opened).toBe(3);
    expect(closed).toEqual(backwards(3));
    await expectNoConnections();
  });
});

test("a server closes its resources once, in reverse order", async () => {
  const server = await start();
  expect([opened, closed]).toEqual([12, []]);
  await Promise.all([server.close(), server.close()]);
  expect(closed).toEqual(backwards(12));
  await expectNoConnections();
});
