import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type pg from "pg";
import { createTestDatabase, type TestDatabase, withClient, withNewClient } from "./database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

const kept = <T>(use: (client: pg.Client) => Promise<T>) => withClient(db.adminUrl, use);
const pidOf = async (client: pg.Client): Promise<number> =>
  (await client.query("select pg_backend_pid() as pid")).rows[0].pid;

test("a kept connection has the state of a new one", async () => {
  const state = `select current_user, session_user, current_setting('search_path') as path, current_setting('plinth.client_ip', true) as ip,
      (select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
      (select count(*)::int from pg_prepared_statements) as prepared, (select count(*)::int from pg_listening_channels()) as channels,
      to_regclass('pg_temp.own') is not null as has_table`;
  const first = await kept(async (client) => {
    const { rows } = await client.query(state);
    await client.query(`create temporary table own (); select pg_advisory_lock(1); listen own; prepare own as select 1;
      set search_path = plinth; set plinth.client_ip = '192.0.2.1'; set session authorization ${db.rolePrefix}_service`);
    return { pid: await pidOf(client), state: rows[0] };
  });
  const second = await kept(async (client) => ({
    pid: await pidOf(client),
    state: (await client.query(state)).rows[0],
  }));
  // PostgreSQL keeps the name of a setting of Plinth once it is set.
  expect(second).toEqual({ pid: first.pid, state: { ...first.state, ip: "" } });
});

test("a connection with an open transaction is not kept, and one that was ended is replaced", async () => {
  const open = await kept(async (client) => {
    await client.query("begin");
    return pidOf(client);
  });
  const next = await kept(pidOf);
  expect(next).not.toBe(open);
  await withNewClient(db.adminUrl, (client) => client.query("select pg_terminate_backend($1)", [next]));
  expect(await kept(pidOf)).not.toBe(next);
});
