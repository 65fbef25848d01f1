import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { watchLocks } from "../../src/database/locks/watch-locks.ts";
import { until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// The second connection, which sees what a migration waits for and interrupts it, may fail while the migration waits.

const NAME = "watch of the test";

let db: TestDatabase;
let waiting: pg.Client;
/** Refuses the first connection. */
let proxy: Server;
let through: string;
beforeAll(async () => {
  db = await createTestDatabase();
  waiting = new pg.Client(db.url("owner"));
  await waiting.connect();
  const server = new URL(db.url("owner"));
  let connections = 0;
  proxy = createServer((socket) => {
    socket.on("error", () => {});
    if (++connections === 1) return void socket.destroy();
    const onward = connect(Number(server.port), server.hostname).on("error", () => socket.destroy());
    socket.on("close", () => onward.destroy()).pipe(onward);
    onward.on("close", () => socket.destroy()).pipe(socket);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const { port } = proxy.address() as AddressInfo;
  through = Object.assign(new URL(server), { hostname: "127.0.0.1", port: String(port) }).href;
});
afterAll(async () => {
  proxy.close();
  await waiting.end();
  await db.drop();
});

test("connects again after a failure, and interrupts after another one", async () => {
  const { rows } = await waiting.query<{ pid: number }>("select pg_backend_pid() as pid");
  const controller = new AbortController();
  await withClient(db.url("owner"), async (holder) => {
    await holder.query("begin; lock table llm.chats");
    const outcome = waiting.query("select from llm.chats").catch((error) => error);
    const watch = watchLocks({
      connectionString: through,
      applicationName: NAME,
      pid: rows[0]!.pid,
      pauseMs: 10,
      signal: controller.signal,
    });
    try {
      await until(() => watch.last !== undefined);
      expect(watch.last).toMatchObject({ relation: "llm.chats", holders: [{ mode: "ACCESS EXCLUSIVE" }] });
      await withClient(db.adminUrl, (admin) =>
        admin.query(
          "select pg_terminate_backend(pid, 60000) from pg_stat_activity where datname = current_database() and application_name = $1",
          [NAME],
        ),
      );
      controller.abort();
      expect(await outcome).toMatchObject({ code: "57014" });
    } finally {
      await watch.stop();
      await holder.query("rollback");
    }
  });
});

test("interrupts work that was to be interrupted before the watch began", async () => {
  const { rows } = await waiting.query<{ pid: number }>("select pg_backend_pid() as pid");
  const outcome = waiting.query("select pg_sleep(600)").catch((error) => error);
  const watch = watchLocks({
    connectionString: db.url("owner"),
    pid: rows[0]!.pid,
    pauseMs: 10,
    signal: AbortSignal.abort(),
  });
  expect(await outcome).toMatchObject({ code: "57014" });
  await watch.stop();
});
