import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { databaseUrl } from "../../src/database/scratch-database.ts";
import { type RestoreRowsOptions, restoreRows } from "../../src/restore-rows/restore-rows.ts";
import type { Scope } from "../../src/restore-rows/root.ts";
import { cli, databaseEnv, startCli } from "../cli/run-cli.ts";
import { IDS, withIds } from "../support/access-probes/ids.ts";
import { SEED } from "../support/access-probes/seed.ts";
import { until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { endKeptConnections } from "../support/kept-connections.ts";
import { brokenLawsAt } from "../support/ledger.ts";
import { untilWaiting } from "../support/waiting.ts";
import { hashesOfTables } from "../support/whole-database.ts";

// A live database and a copy of its past. The tests run in order: each deletes something and brings it back.

let db: TestDatabase;
let copyUrl: string;
beforeAll(async () => {
  db = await createTestDatabase();
  await sql(SEED);
  await sql("delete from identity.account_deletions; delete from private.turns");
  for (const user of ["ada", "bob"])
    await sql(`select private.record_usage(:${user}, null, 20, 5, '${randomUUID()}')`);
  const name = `${db.name}_copy`;
  copyUrl = databaseUrl(db.adminUrl, name);
  await endKeptConnections(db.name);
  await withClient(databaseUrl(db.adminUrl, "postgres"), (client) =>
    client.query(`create database ${pg.escapeIdentifier(name)} template ${pg.escapeIdentifier(db.name)}`),
  );
});
afterAll(async () => {
  if (copyUrl)
    await withClient(databaseUrl(db.adminUrl, "postgres"), (client) =>
      client.query(`drop database if exists ${pg.escapeIdentifier(`${db.name}_copy`)} with (force)`),
    );
  await db?.drop();
});

const sql = (text: string, role: "owner" | "worker" = "owner") =>
  withClient(db.url(role), (client) => client.query(withIds(text)));

const restore = (scope: Scope, options: Partial<RestoreRowsOptions> = {}) =>
  restoreRows({
    ownerUrl: db.url("owner"),
    copyUrl,
    rolePrefix: db.rolePrefix,
    scope,
    plan: false,
    overwrite: false,
    // Tests hold locks until others wait for them.
    lockTimeoutMs: 600_000,
    signal: new AbortController().signal,
    onProgress: () => {},
    ...options,
  });

/** The tables whose rows differ between two moments. */
async function changedSince(before: Map<string, string>): Promise<string[]> {
  const after = await hashesOfTables(db);
  return [...after].flatMap(([table, hash]) => (before.get(table) === hash ? [] : [table]));
}

const isLog = (table: string) =>
  /^(security\.(audit_trail|security_audit_log)|private\.audit_commitments)/.test(table);

test("brings back deleted rows of one table, changes no other, and does nothing when run again", async () => {
  const before = await hashesOfTables(db);
  await sql(
    "delete from rooms.room_message_reactions where user_id = :ada; delete from learning.content_ratings",
  );
  const scope = { table: "rooms.room_message_reactions", where: `user_id = '${IDS.ada}'` };
  const plan = await restore(scope, { plan: true });
  expect(plan.tables).toEqual([expect.objectContaining({ table: scope.table, missing: 1, same: 0 })]);
  const result = await restore(scope);
  expect(result.tables).toEqual(plan.tables);
  await restore({ table: "learning.content_ratings" });
  const changed = await changedSince(before);
  expect(changed).not.toContain("rooms.room_message_reactions");
  expect(changed).not.toContain("learning.content_ratings");
  const { rows: items } = await sql(
    "select from learning.content_items i where rating_count <> (select count(*) from learning.content_ratings r where r.item_id = i.id)",
  );
  expect(items).toEqual([]);
  const between = await hashesOfTables(db);
  expect((await restore(scope)).correlationId).toBeNull();
  expect(await changedSince(between)).toEqual([]);
});

test("leaves changed rows as they are, and gives them their old values with overwrite", async () => {
  await sql(`update identity.user_settings set preferences = '{"x": 1}' where user_id = :ada`);
  const scope = { table: "identity.user_settings" };
  expect((await restore(scope)).correlationId).toBeNull();
  const [row] = (await restore(scope, { overwrite: true })).tables;
  expect(row).toMatchObject({ changed: 1, missing: 0 });
  expect((await restore(scope)).tables[0]).toMatchObject({ changed: 0 });
});

test("brings back a room that was deleted, and no row outside it changes [C12]", async () => {
  const before = await hashesOfTables(db);
  await sql("delete from rooms.chat_rooms where id = :own");
  const outbox = await sql("select from private.mail_outbox");
  const result = await restore({ room: IDS.own! });
  expect(result.tables.find(({ table }) => table === "rooms.room_messages")?.missing).toBeGreaterThan(0);
  expect(result.leftOut).toEqual([]);
  expect((await sql("select from private.mail_outbox")).rowCount).toBe(outbox.rowCount);
  const changed = (await changedSince(before)).filter(
    (table) => !isLog(table) && !/tallies|counters/.test(table),
  );
  expect(changed).toEqual([]);
  const log = await sql(
    `select from security.security_audit_log where event_type = 'rows_restored' and correlation_id = '${result.correlationId}'`,
  );
  expect(log.rowCount).toBe(1);
});

test("a writer of the same table waits for the restore, loses nothing, and its triggers run", async () => {
  await sql("delete from learning.content_ratings");
  const [restored, written] = await withClient(db.url("owner"), async (blocker) => {
    // The check of the foreign key waits for this lock, after the restore has inserted the row without triggers.
    await blocker.query("begin");
    await blocker.query(withIds("select from identity.users where id = :ada for update"));
    const restored = restore({ table: "learning.content_ratings", where: `user_id = '${IDS.ada}'` });
    await untilWaiting(db, 1);
    const written = sql(
      "insert into learning.content_ratings (item_id, user_id, rating) values (:shown, :bob, 1)",
    );
    await untilWaiting(db, 2);
    await blocker.query("commit");
    return Promise.all([restored, written]);
  });
  expect(restored.tables).toEqual([expect.objectContaining({ missing: 1 })]);
  expect(written.rowCount).toBe(1);
  const { rows } = await sql(
    `select i.rating_count::integer as counted, array_agg(r.rating::integer order by r.user_id) as ratings
     from learning.content_items i join learning.content_ratings r on r.item_id = i.id group by i.id`,
  );
  expect(rows).toEqual([{ counted: 2, ratings: [5, 1] }]);
});

test("kill -9 in the middle of a restore changes nothing, and triggers stay enabled", async () => {
  await sql("delete from rooms.room_message_mentions where user_id = :bob");
  const before = await hashesOfTables(db);
  const args = [
    "restore",
    "rows",
    "--from",
    copyUrl,
    "--table",
    "rooms.room_message_mentions",
    "--yes",
    "--json",
  ];
  const env = { ...databaseEnv(db), PLINTH_MIGRATION_LOCK_TIMEOUT_MS: "600000" };
  const sessions = async (condition: string) =>
    (
      await sql(
        `select from pg_stat_activity
         where application_name = 'plinth restore rows' and datname = current_database() and ${condition}`,
      )
    ).rowCount;
  await withClient(db.url("owner"), async (blocker) => {
    // The check of the foreign key waits for this lock, after the rows are inserted.
    await blocker.query("begin");
    await blocker.query(withIds("select from identity.users where id = :bob for update"));
    const child = startCli(args, env);
    const ended = new Promise((resolve) => child.once("close", resolve));
    await until(async () => (await sessions("wait_event_type = 'Lock'")) === 1, { timeoutMs: 240_000 });
    child.kill("SIGKILL");
    await ended;
    await blocker.query("rollback");
  });
  await until(async () => (await sessions("true")) === 0, { timeoutMs: 240_000 });
  expect(await changedSince(before)).toEqual([]);
  expect((await sql("select from pg_trigger where not tgisinternal and tgenabled = 'D'")).rowCount).toBe(0);
  const outcome = await cli(args, { env });
  expect(outcome.stderr).toBe("");
  expect(JSON.parse(outcome.stdout).tables).toEqual([expect.objectContaining({ missing: 1 })]);
});

test("brings back a user who was deleted in SQL, with a ledger whose sums hold and without sessions", async () => {
  const others = await hashesOfTables(db);
  await sql("delete from identity.users where id = :ada");
  const result = await restore({ user: "ada" }, { overwrite: false });
  expect(result.tables.find(({ table }) => table === "private.user_keys")?.missing).toBe(1);
  expect(result.accounts).toEqual([IDS.ada]);
  expect(await brokenLawsAt(db.url("owner"))).toEqual([]);
  const { rows } = await sql(
    "select (select count(*)::int from identity.user_sessions where user_id = :ada and ended_at is null) as sessions, (select lifetime_tokens::int from billing.usage_tracking where user_id = :ada) as tokens",
  );
  expect(rows).toEqual([{ sessions: 0, tokens: 27 }]);
  const unchanged = [
    "llm.chats",
    "llm.messages",
    "llm.memories",
    "private.user_keys",
    "billing.usage_events",
    "billing.daily_usage",
  ];
  expect((await changedSince(others)).filter((table) => unchanged.includes(table))).toEqual([]);
  expect((await restore({ user: "ada" })).correlationId).toBeNull();
});

test("refuses a user whom the deletion job erased, unless a reason is given, which the audit log keeps", async () => {
  await sql(
    "insert into identity.account_deletions (user_id, due_at, next_attempt_at) values (:bob, now(), now())",
  );
  await sql("select private.delete_due_account()", "worker");
  await expect(restore({ user: "bob" })).rejects.toMatchObject({ code: "USER_WAS_ERASED" });
  await expect(restore({ table: "identity.users" })).rejects.toMatchObject({ code: "USER_WAS_ERASED" });
  // Rows that the erased user wrote or owned do not return with other rows.
  await sql("delete from rooms.chat_rooms where id = :own");
  const room = await restore({ room: IDS.own! });
  const { rows } = await sql("select from rooms.room_messages where sender_id = :bob");
  expect(rows).toEqual([]);
  expect(room.leftOut).toContainEqual(expect.objectContaining({ target: "identity.users" }));
  const result = await restore({ user: "bob" }, { erasedReason: "court order 7" });
  const log = await sql(
    `select event_data ->> 'reason' as reason from security.security_audit_log where correlation_id = '${result.correlationId}' and event_type = 'rows_restored'`,
  );
  expect(log.rows).toEqual([{ reason: "court order 7" }]);
});

test("refuses the live database itself, a copy of another schema, and tables whose rows would act again", async () => {
  const scope = { user: "ada" };
  await expect(restore(scope, { copyUrl: db.url("owner") })).rejects.toMatchObject({
    code: "RESTORE_FROM_ITSELF",
  });
  await expect(restore({ table: "private.mail_outbox" })).rejects.toMatchObject({
    code: "TABLE_NOT_RESTORED",
  });
  await withClient(copyUrl, (client) =>
    client.query(
      "delete from plinth_migrate.migrations where filename = (select max(filename) from plinth_migrate.migrations)",
    ),
  );
  await expect(restore(scope)).rejects.toMatchObject({ code: "COPY_NOT_MIGRATED" });
});
