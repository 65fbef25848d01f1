import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { watchLocks } from "../../src/database/locks/watch-locks.ts";
import { until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withNewClient } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

/** Closes its first connection as a busy server does, and passes the others on. */
function startRefusingOnce({ hostname: host, port }: URL): {
  readonly server: Server;
  readonly accepted: Socket[];
} {
  const accepted: Socket[] = [];
  const server = createServer((socket) => {
    accepted.push(socket.on("error", () => {}));
    if (accepted.length === 1) return void socket.destroy();
    const upstream = connect({ host, port: Number(port) }).on("error", () => {});
    socket.pipe(upstream).pipe(socket);
  });
  return { server, accepted };
}

test("a watch whose connection fails connects again and names the holder", async () => {
  const url = new URL(db.url("owner"));
  const { server, accepted } = startRefusingOnce(new URL(url));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url.hostname = "127.0.0.1";
  url.port = String((server.address() as AddressInfo).port);
  await withNewClient(db.url("owner"), (holder) =>
    withNewClient(db.url("owner"), async (waiter) => {
      const pidOf = async (client: typeof waiter) =>
        (await client.query<{ pid: number }>("select pg_backend_pid() as pid")).rows[0]!.pid;
      const [held, waiting] = [await pidOf(holder), await pidOf(waiter)];
      await holder.query("begin; lock table identity.users");
      const blocked = waiter.query("delete from identity.users");
      const watch = watchLocks({ connectionString: url.href, pid: waiting, pauseMs: 1 });
      await until(() => watch.last !== undefined);
      expect(accepted.length).toBeGreaterThan(1);
      expect(watch.last).toMatchObject({ relation: "identity.users", holders: [{ pid: held }] });
      await watch.stop();
      await holder.query("rollback");
      await blocked;
    }),
  );
  server.close();
});
