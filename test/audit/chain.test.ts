import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { archiveDueMonths } from "../../src/archive/archive-due-months.ts";
import { readArchive, writeArchive } from "../../src/archive/archive-file.ts";
import { attachArchive, detachArchive } from "../../src/archive/attach-archive.ts";
import { eraseArchives } from "../../src/archive/erase-archives.ts";
import { listArchives } from "../../src/archive/registered-archives.ts";
import { parseAnchors, readAnchor } from "../../src/audit/anchor.ts";
import type { AuditFault } from "../../src/audit/fault.ts";
import { type AuditVerification, type VerifySettings, verifyAudit } from "../../src/audit/verify.ts";
import { AUDIT_LOGS, type AuditLog } from "../../src/audit/verify-rows.ts";
import {
  generateAsymmetricSigningKey,
  generateSigningKey,
  parseSigningKeys,
} from "../../src/auth/signing-keys.ts";
import { LOGIN_ROLES, roleName } from "../../src/config/roles.ts";
import { cli, databaseEnv } from "../cli/run-cli.ts";
import { runHere } from "../cli/run-here.ts";
import { registerUser } from "../support/accounts.ts";
import { killArchiving } from "../support/archive-kill.ts";
import { createTestDatabase, inRolledBackTransaction, type TestDatabase } from "../support/database.ts";

// A single database and story: the tests run in order. Edits are planted in a transaction that is rolled back, as a superuser,
// who can do more than the owner.

const folder = mkdtempSync(join(tmpdir(), "plinth-audit-"));
const signal = new AbortController().signal;
const archives = { directory: join(folder, "archives"), keys: [randomBytes(32)] };

let db: TestDatabase;
let owner: pg.Client;
let intruder: pg.Client;
let ada: string;
beforeAll(async () => {
  db = await createTestDatabase();
  owner = new pg.Client(db.url("owner"));
  await owner.connect();
  intruder = new pg.Client(db.adminIsSuperuser ? db.adminUrl : db.url("owner"));
  await intruder.connect();
  ada = await registerUser(db, "ada");
  await registerUser(db, "bob");
  await owner.query("insert into security.security_audit_log (event_type) values ('visit')");
  // A row of each log in which no column is null that an edit could not find.
  await owner.query(
    `insert into security.security_audit_log
       (user_id, actor_id, event_type, event_data, severity, source, ip_address, user_agent, correlation_id, metadata,
        actor_kind, acting_role, api_token_id, session_id, job_name, migration, has_ignored_claims)
     values ($1, $1, 'probe', '{"a": 1, "b": 2}', 'info', 's', '192.0.2.1', 'agent', 'c', '{"a": 1}',
       'user', 'r', $1, $1, 'j', 'm', false)`,
    [ada],
  );
  await owner.query(
    `insert into security.audit_trail
       (table_name, operation, row_key, user_id, actor_id, changed_columns, old_values, new_values, transaction_number, source,
        correlation_id, ip_address, actor_kind, acting_role, api_token_id, session_id, job_name, migration, has_ignored_claims)
     values ('probe', 'UPDATE', '{"id": 1}', $1, $1, '{a}', '{"a": 1}', '{"a": 2}', 1, 's', 'c', '192.0.2.1',
       'user', 'r', $1, $1, 'j', 'm', false)`,
    [ada],
  );
  await closeBlocks();
});
afterAll(async () => {
  await intruder?.end();
  await owner?.end();
  await db?.drop();
  rmSync(folder, { recursive: true });
});

const closeBlocks = async (entries = 10_000): Promise<number> =>
  (await owner.query<{ n: number }>("select private.close_audit_block($1) as n", [entries])).rows[0]!.n;

const settings: VerifySettings = { anchors: [], folder: undefined, signal, onProgress: () => {} };

/** Verifies as of now; in the transaction of a planted edit if `client` has one. */
const verify = (more: Partial<VerifySettings> = {}): Promise<AuditVerification> =>
  verifyAudit(owner, { ...settings, ...more });

/** Plants an edit, verifies and undoes it. Without triggers, so that nothing but the chain can notice. */
async function findingsAfter(
  edit: string,
  { withTriggers = false, ...more }: Partial<VerifySettings> & { withTriggers?: boolean } = {},
): Promise<AuditVerification> {
  await intruder.query("begin isolation level repeatable read");
  try {
    if (!withTriggers) for (const statement of withoutTriggers()) await intruder.query(statement);
    await intruder.query(edit);
    return await verifyAudit(inSavepoint(intruder), { ...settings, ...more });
  } finally {
    await intruder.query("rollback");
  }
}

/** A superuser needs no change of the tables. */
const withoutTriggers = (): string[] =>
  db.adminIsSuperuser
    ? ["set local session_replication_role = replica"]
    : AUDIT_LOGS.map((log) => `alter table ${log} disable trigger _800_commit_audit_row`);

/** A verification's own transaction becomes a part of the edit's. */
function inSavepoint(client: pg.Client): pg.Client {
  const query = (sql: string, values?: unknown[]) => {
    if (sql.startsWith("begin")) return client.query("savepoint verification");
    if (sql === "rollback") return client.query("rollback to savepoint verification");
    return client.query(sql, values);
  };
  return { query } as unknown as pg.Client;
}

const first = ({ faults }: AuditVerification): AuditFault => faults[0]!;

const probe = (log: AuditLog) =>
  log === "security.audit_trail" ? "table_name = 'probe'" : "event_type = 'probe'";

const idOf = async (log: AuditLog): Promise<string> =>
  (await owner.query<{ id: string }>(`select id from ${log} where ${probe(log)}`)).rows[0]!.id;

const clean = (rows = expect.any(Number) as unknown) =>
  expect.objectContaining({ faultCount: 0, rows, faults: [] });

describe("the chain of the audit logs [C6, H11, A5]", () => {
  test("finds nothing in untouched logs, and counts what no block contains yet", async () => {
    const before = await verify();
    expect(before).toEqual(clean());
    expect(before.rows).toBeGreaterThan(2);
    expect(before.entries).toBe(before.rows);
    expect(before.pending).toEqual({ entries: 0, since: null });
    await owner.query("begin");
    await owner.query("update identity.users set username = 'ada2' where id = $1", [ada]);
    const { rows } = await owner.query<{ id: string }>(
      "select id from security.audit_trail order by id desc limit 1",
    );
    await owner.query("commit");
    const after = await verify();
    expect(after).toEqual(clean(before.rows + 1));
    expect(after.pending).toEqual({ entries: 1, since: expect.any(String) });
    // It is protected by its commitment before it is in a block.
    const altered = await findingsAfter(
      `update security.audit_trail set source = 'x' where id = '${rows[0]!.id}'`,
    );
    expect(first(altered)).toMatchObject({ kind: "altered", id: rows[0]!.id });
    expect(await closeBlocks()).toBe(1);
    expect(await closeBlocks()).toBe(0);
  });

  test.each(AUDIT_LOGS)(
    "finds an edit of any column of %s, to another value, to null or by its owner",
    async (log) => {
      const id = await idOf(log);
      const { rows: columns } = await owner.query<{
        name: string;
        type: string;
        is_required: boolean;
        value: unknown;
      }>(
        `select a.attname as name, format_type(a.atttypid, null) as type, a.attnotnull as is_required, to_jsonb(t) -> a.attname as value
       from pg_attribute a, ${log} t
       where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped and t.id = $2
       order by a.attnum`,
        [log, id],
      );
      expect(columns.length).toBeGreaterThan(20);
      const other: Record<string, string> = {
        uuid: "gen_random_uuid()",
        text: "c || 'x'",
        jsonb: `'{"a": 3}'`,
        inet: "'192.0.2.9'",
        boolean: "not c",
        bigint: "c + 1",
        "text[]": "'{x}'",
        "timestamp with time zone": "c + interval '1 microsecond'",
      };
      for (const { name, type, is_required, value } of columns) {
        expect({ name, value }).not.toEqual({ name, value: null });
        // Values that a constraint restricts have another allowed one.
        const allowed = {
          severity: "'debug'",
          operation: "'DELETE'",
          actor_kind: "'job'",
          user_id: `(select id from identity.users where username = 'bob')`,
          actor_id: `(select id from identity.users where username = 'bob')`,
        }[name];
        const changed = allowed ?? other[type]!.replaceAll(/\bc\b/g, name);
        const also = name === "operation" ? ", changed_columns = null, new_values = null" : "";
        const edits = [`${name} = ${changed}${also}`];
        if (!is_required && name !== "changed_columns") edits.push(`${name} = null`);
        for (const edit of edits)
          for (const withTriggers of [false, true]) {
            const found = await findingsAfter(`update ${log} set ${edit} where id = '${id}'`, {
              withTriggers,
            });
            const faults = found.faults.filter((fault) => fault.id === id || name === "id");
            expect({ edit, withTriggers, faults: faults.length }).not.toMatchObject({ faults: 0 });
            expect({ edit, log: first(found).log }).toEqual({ edit, log });
          }
      }
    },
  );

  test.each(AUDIT_LOGS)(
    "names a deleted, an inserted, a backdated and two exchanged rows of %s",
    async (log) => {
      const id = await idOf(log);
      const copied = (columns: string, values: string) =>
        `insert into ${log} select (jsonb_populate_record(t, jsonb_build_object(${columns}, ${values}))).* from ${log} t where id = '${id}'`;
      const newId = "00000000-0000-7000-8000-000000000001";
      const cases: [string, AuditFault["kind"], string, boolean][] = [
        [`delete from ${log} where id = '${id}'`, "missing", id, true],
        [copied("'id'", `'${newId}'`), "inserted", newId, false],
        [copied("'id'", `'${newId}', 'created_at', t.created_at + interval '1 s'`), "backdated", newId, true],
        [copied("'created_at'", "t.created_at + interval '1 s'"), "altered", id, true],
      ];
      for (const [edit, kind, row, withTriggers] of cases) {
        const found = await findingsAfter(edit, { withTriggers });
        expect({ edit, fault: first(found) }).toEqual({
          edit,
          fault: expect.objectContaining({ kind, log, id: row, block: null }),
        });
      }
      const swapped = await findingsAfter(`
      create temp table swapped as select * from ${log} order by id desc limit 2;
      delete from ${log} where id in (select id from swapped);
      insert into ${log} select (jsonb_populate_record(s, jsonb_build_object('id', o.id, 'created_at', o.created_at))).*
      from swapped s join swapped o on o.id <> s.id;`);
      expect(swapped.faults.map(({ kind }) => kind)).toEqual(["altered", "altered"]);
    },
  );

  test("finds values that were cleared or replaced as if an account had been deleted", async () => {
    const id = await idOf("security.security_audit_log");
    const replaced = await findingsAfter(`
      set local timezone = 'UTC';
      update security.security_audit_log set user_id = null, actor_id = null, event_data = '{"a": 9}' where id = '${id}';
      insert into private.audit_commitments (row_id, log, version, row_created_at, fixed_hash, content_hash)
      select c.row_id, c.log, 1, c.row_created_at, c.fixed_hash, private.audit_row_hash(c.log, to_jsonb(l), true)
      from security.security_audit_log l join private.audit_commitments c on c.row_id = l.id and c.version = 0
      where l.id = '${id}';`);
    expect(first(replaced)).toMatchObject({ kind: "cleared", id });
    const cleared = await findingsAfter(
      `insert into security.security_audit_log (event_type, user_agent) values ('visit', 'burglar');
       update security.security_audit_log set user_agent = null where user_agent = 'burglar';`,
      { withTriggers: true },
    );
    expect(cleared.faults.map(({ kind }) => kind)).toEqual(["cleared"]);
  });

  test("accepts the earlier times of imported rows where an event announces them, and finds their edits", async () => {
    const imported = (time: string) =>
      `insert into security.security_audit_log (id, event_type, created_at) values ('00000000-0000-7000-8000-00000000000a', 'login', '${time}');`;
    const announced =
      "select private.announce_audit_import('other'), private.announce_audit_import('other');";
    const before = await verify();
    // Before the chain, at its start, and at a time to come, which no other system's log has.
    for (const [time, kinds] of [
      ["1999-12-31 23:59:59.999999Z", []],
      [before.since!, []],
      ["2999-01-01", ["backdated"]],
    ] as const) {
      const found = await findingsAfter(announced + imported(time), { withTriggers: true });
      expect(found.faults.map(({ kind }) => kind)).toEqual(kinds);
      expect(found).toMatchObject({ rows: before.rows + 2, imported: 1 - kinds.length });
      const silent = await findingsAfter(imported(time), { withTriggers: true });
      expect(silent.faults.map(({ kind }) => kind)).toEqual(["backdated"]);
    }
    const [time, id] = ["1999-12-31", "00000000-0000-7000-8000-00000000000a"];
    for (const [edit, kind] of [
      [`update security.security_audit_log set event_type = 'logout' where id = '${id}'`, "altered"],
      [`delete from security.security_audit_log where id = '${id}'`, "missing"],
    ] as const) {
      const found = await findingsAfter(announced + imported(time) + edit, { withTriggers: true });
      expect(first(found)).toMatchObject({ kind, id });
    }
    // An announcement is an event itself: without its row it is missed.
    const hidden = await findingsAfter(
      `${announced}${imported(time)}delete from security.security_audit_log where event_type = 'audit_log_imported'`,
      { withTriggers: true },
    );
    expect(first(hidden)).toMatchObject({ kind: "missing" });
    // A row from before the chain without a commitment is not covered.
    expect(await findingsAfter(imported(time))).toEqual(clean(before.rows));
  });

  test("finds altered and deleted commitments, blocks and tails, and with an anchor a chain that was computed again", async () => {
    await owner.query("update identity.users set username = 'ada' where id = $1", [ada]);
    await closeBlocks();
    const [key] = parseSigningKeys(generateSigningKey());
    const anchor = await readAnchor(owner, key!);
    const last = anchor.number;
    expect(last).toBeGreaterThanOrEqual(3);
    const found = async (edit: string, more = {}) => {
      const { kind, block } = first(await findingsAfter(edit, more));
      return `${kind} ${block}`;
    };
    const ofLast = `(select row_id from private.audit_commitments where block_number = ${last} limit 1)`;
    expect(
      await found(`update private.audit_blocks set closed_at = closed_at + '1 s' where number = 1`),
    ).toBe("block_rewritten 1");
    expect(await found("delete from private.audit_blocks where number = 2")).toBe("block_missing 2");
    expect(await found("delete from private.audit_blocks where number = 0")).toBe("block_missing 0");
    expect(await found(`delete from private.audit_blocks where number = ${last}`)).toBe(
      `block_missing ${last}`,
    );
    // The row and its commitment are gone, so that only the block knows.
    const cut = `
      delete from security.audit_trail where id in ${ofLast};
      delete from private.audit_commitments where block_number = ${last};`;
    expect(await found(cut)).toBe(`commitments ${last}`);
    const cutTail = `${cut} delete from private.audit_blocks where number = ${last};`;
    expect(await findingsAfter(cutTail)).toEqual(clean());
    expect(await found(cutTail, { anchors: [anchor] })).toBe(`block_missing ${last}`);
    // Everything after the edit is computed again, as the owner of the database could.
    const again = `
      ${cut}
      update private.audit_blocks b set entry_count = r.entry_count, root = r.root,
        hash = private.audit_block_hash(b.number, b.previous_hash, r.root, r.entry_count, b.closed_at)
      from private.audit_root(${last}) r where b.number = ${last};`;
    expect(await findingsAfter(again)).toEqual(clean());
    expect(await found(again, { anchors: [anchor] })).toBe(`block_rewritten ${last}`);
    expect(await verify({ anchors: [anchor] })).toEqual(clean());
  });

  test("accepts only anchors whose signature is right, with keys of both kinds", async () => {
    const keys = parseSigningKeys(`${generateSigningKey()},${generateAsymmetricSigningKey()}`);
    for (const key of keys) {
      const anchor = await readAnchor(owner, key);
      expect(parseAnchors(`${JSON.stringify(anchor)}\n\n`, keys)).toEqual([anchor]);
      const forged = { ...anchor, hash: "0".repeat(64) };
      const refusal = expect.objectContaining({
        code: "ANCHOR_INVALID",
        message: expect.stringContaining("Line 2"),
      });
      for (const text of [JSON.stringify(forged), "{}", "null", "x"])
        expect(() => parseAnchors(`${JSON.stringify(anchor)}\n${text}`, keys)).toThrow(
          refusal as unknown as Error,
        );
      expect(() => parseAnchors(JSON.stringify(anchor), [])).toThrow("which is not set");
    }
  });

  test("lets writers pass each other and a closing, which takes late commits into a later block", async () => {
    const writers = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const client = new pg.Client(db.url("service"));
        await client.connect();
        return client;
      }),
    );
    const ids: string[] = [];
    for (const [n, client] of writers.entries()) {
      await client.query("begin");
      // A writer that waited for another one would fail, because no transaction ends before the last statement.
      await client.query("set local lock_timeout = '60s'");
      const { rows } = await client.query<{ id: string }>(
        "select private.register_user($1, null, null, $2, 'argon2id') as id",
        [
          `writer-${n}`,
          "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
        ],
      );
      ids.push(rows[0]!.id);
    }
    await owner.query("set lock_timeout = '60s'");
    expect(await closeBlocks()).toBe(0);
    await writers[1]!.query("commit");
    const early = await closeBlocks();
    expect(early).toBeGreaterThan(0);
    for (const client of writers) await client.query("commit");
    expect(await closeBlocks()).toBe(7 * early);
    await owner.query("reset lock_timeout");
    await Promise.all(writers.map((client) => client.end()));
    const found = await verify();
    expect(found).toEqual(clean());
    expect(found.pending.entries).toBe(0);
  });

  test("stays whole when the process that closes a block is killed before it commits", async () => {
    await registerUser(db, "grace");
    const before = await verify();
    expect(before.pending.entries).toBeGreaterThan(0);
    const child = spawn(process.execPath, [
      join(import.meta.dirname, "../support/audit-process.ts"),
      db.url("worker"),
    ]);
    const [code, killedBy] = await once(child, "exit");
    expect({ code, killedBy }).toEqual({ code: null, killedBy: "SIGKILL" });
    const after = await verify();
    expect(after).toEqual(before);
    expect(await closeBlocks(1)).toBe(1);
    while ((await closeBlocks(1)) > 0);
    expect(await verify()).toEqual(clean(before.rows));
  });

  test("lets no role but the owner write, change or read commitments and blocks", async () => {
    for (const role of LOGIN_ROLES.filter((each) => each !== "owner"))
      for (const table of ["private.audit_commitments", "private.audit_blocks"])
        for (const statement of [
          `select from ${table}`,
          `delete from ${table}`,
          `insert into ${table} default values`,
        ])
          await inRolledBackTransaction(db, async (tx) => {
            await tx.client.query(
              `set local ${db.adminIsSuperuser ? "session authorization" : "role"} "${roleName(db.rolePrefix, role)}"`,
            );
            await expect(tx.attempt(statement)).rejects.toMatchObject({ code: "42501" });
          });
  });
});

/** Before the months that are due; the database is a copy of the template. */
const beginChainIn2021 = () =>
  owner.query(`
    delete from private.audit_blocks where number > 0;
    delete from private.audit_commitments;
    delete from security.security_audit_log;
    delete from security.audit_trail;
    update private.audit_blocks b set closed_at = '2021-01-15 00:00Z',
      hash = private.audit_block_hash(0, b.previous_hash, b.root, 0, '2021-01-15 00:00Z')`);

describe("lawful changes of the audit logs [C6, S14]", () => {
  test("leave the chain whole when an account is deleted, which a later edit of the row does not survive", async () => {
    const id = await registerUser(db, "erased");
    await owner.query(
      `insert into security.security_audit_log (user_id, event_type, event_data, ip_address)
       values ($1, 'probe_erased', '{"name": "erased"}', '192.0.2.1')`,
      [id],
    );
    await closeBlocks();
    const before = await verify();
    await owner.query("delete from identity.users where id = $1", [id]);
    const after = await verify();
    expect(after).toEqual(clean());
    expect(after.erased).toBeGreaterThan(before.erased + 1);
    await closeBlocks();
    expect(await verify()).toEqual(clean(after.rows));
    const { rows } = await owner.query<{ row_id: string; log: AuditLog }>(
      "select distinct row_id, log from private.audit_commitments where version > 0",
    );
    for (const { row_id, log } of rows) {
      const restored =
        log === "security.audit_trail" ? `row_key = '{"id": 7}'` : `event_data = '{"name": "other"}'`;
      for (const edit of ["source = 'x'", restored])
        expect(first(await findingsAfter(`update ${log} set ${edit} where id = '${row_id}'`))).toMatchObject({
          kind: "altered",
          id: row_id,
        });
    }
    // Nothing of the account is left to try guesses on: both the content and its salt are gone.
    const { rows: salts } = await owner.query(
      `select from security.security_audit_log l join private.audit_commitments c on c.row_id = l.id and c.version = 0
       where l.event_type = 'probe_erased' and c.content_hash = private.audit_row_hash(
         c.log, to_jsonb(l) || jsonb_build_object('user_id', $1::uuid, 'event_data', '{"name": "erased"}'::jsonb, 'ip_address', '192.0.2.1'), true
       )`,
      [id],
    );
    expect(salts).toEqual([]);
  });

  test("leave it whole when a month is archived, read from its file, attached, detached and dropped", async () => {
    await beginChainIn2021();
    await owner.query(`
      insert into security.security_audit_log (event_type, event_data, created_at)
        values ('old', '{"n": 1.50, "text": "ä\\u0001\\"x"}', '2021-02-03 04:05:06.789Z'), ('dropped', '{}', '2021-04-04Z');
      insert into security.security_audit_log (user_id, event_type, event_data, created_at)
        select id, 'old_of_ada', '{"a": 1}', '2021-02-05' from identity.users where username = 'ada';
      update private.audit_commitments set created_at = row_created_at;
      select from private.ensure_partitions(0);`);
    await closeBlocks();
    // The policies' own changes are in the trail of today.
    const verifyOld = (more = {}) => verify({ until: "2022-01-01", ...more });
    expect(await verifyOld()).toEqual(clean(3));

    const worker = new pg.Client(db.url("worker"));
    await worker.connect();
    const writer = { ...archives, signal, log: () => {} };
    const run = () => archiveDueMonths({ ...writer, client: worker, url: db.url("worker") });
    await owner.query(
      "update security.retention_policies set kept_for = '100 months' where log like 'security.%'",
    );
    const keptFor = (months: string) =>
      owner.query(
        `update security.retention_policies set kept_for = age(date_trunc('month', now()), $1::timestamptz), action = $2
         where log = 'security.security_audit_log'`,
        months.split(" "),
      );
    // No row is of March, so that the turn of a month in between makes no other one due.
    await keptFor("2021-03-01 archive");
    expect(await run()).toMatchObject({ archived: 1, archivedRows: 2 });

    const unread = await verifyOld();
    expect(unread).toEqual(clean(1));
    expect(unread).toMatchObject({
      unread: 2,
      archives: [{ month: "2021-02", isVerified: false, reason: "PLINTH_ARCHIVES is not set." }],
    });
    const read = await verifyOld({ folder: archives });
    expect(read).toEqual(clean(3));
    expect(read.archives).toEqual([expect.objectContaining({ isVerified: true, reason: null })]);

    // The account goes while the month is archived.
    const [archive] = await listArchives(owner);
    await owner.query("delete from identity.users where username = 'ada'");
    await closeBlocks();
    await attachArchive({ ...writer, client: owner }, archive!.id);
    const attached = await verifyOld({ folder: archives });
    expect(attached).toEqual(clean(3));
    expect(attached).toMatchObject({ unread: 0, erased: 1 });
    const missing = await findingsAfter("delete from security.security_audit_log where event_type = 'old'");
    expect(first(missing)).toMatchObject({ kind: "missing", at: expect.stringContaining("2021-02-03") });
    await detachArchive({ ...writer, client: owner }, archive!.id);
    await closeBlocks();
    expect(await verifyOld({ folder: archives })).toEqual(clean(3));

    await keptFor("2021-05-01 drop");
    expect(await run()).toMatchObject({ dropped: 1, droppedRows: 1 });
    await worker.end();
    const dropped = await verifyOld({ folder: archives });
    expect(dropped).toEqual(clean(2));
    expect(dropped.unread).toBe(1);
  });
});

test("prints anchors and findings, and exits with 1 for an altered row [C6]", async () => {
  const env = {
    ...databaseEnv(db),
    PLINTH_ARCHIVES: archives.directory,
    PLINTH_JWT_KEYS: generateSigningKey(),
    PLINTH_BACKUP_KEY: archives.keys[0]!.toString("base64url"),
  };
  const run = (...args: string[]) => runHere(["audit", ...args], { env });
  const file = join(folder, "anchors.jsonl");
  expect(await run("anchor", "--output", file)).toMatchObject({ code: 0, stdout: "" });
  const verified = await run("verify", "--anchors", file);
  expect(verified).toMatchObject({ code: 0, stdout: expect.stringContaining("Nothing was altered.") });
  expect(verified.stderr).toContain("Archived, not verified: security.security_audit_log 2021-04");
  writeFileSync(file, readFileSync(file, "utf8").replace(/"hash":"../, '"hash":"zz'));
  expect(await run("verify", "--anchors", file)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("Line 1 of the anchors has an invalid signature."),
  });
  const { rows } = await owner.query<{ id: string }>(
    "select id from security.audit_trail order by id limit 1",
  );
  await owner.query("update security.audit_trail set source = 'x' where id = $1", [rows[0]!.id]);
  const altered = await cli(["audit", "verify", "--json"], { env });
  expect(altered.code).toBe(1);
  expect(JSON.parse(altered.stdout).faults[0]).toMatchObject({ kind: "altered", id: rows[0]!.id });
});

describe("an erasure from archives [C6, C11]", () => {
  test("leaves the chain whole although its runs are killed at each step, and an edit of a file is found", async () => {
    const [bob, eve] = [await userId("bob"), await registerUser(db, "eve")];
    await beginChainIn2021();
    for (const [id, name] of Object.entries({ [bob]: "bob", [eve]: "eve" })) {
      await owner.query(
        `insert into security.security_audit_log (user_id, actor_id, event_type, event_data, ip_address, api_token_id, created_at)
         values ($1, $1, 'of_' || $2, jsonb_build_object('n', 1.50, 'name', $2::text), '192.0.2.1', $1, '2021-05-03 04:05:06.789Z')`,
        [id, name],
      );
      await owner.query(
        `insert into security.audit_trail
           (user_id, actor_id, table_name, operation, row_key, new_values, transaction_number, source, session_id, created_at)
         values ($1, $1, 'of_' || $2, 'INSERT', jsonb_build_object('id', $1::uuid), '{"a": "ä"}', 1, 's', $1, '2021-05-04Z')`,
        [id, name],
      );
    }
    await owner.query(`
      insert into security.security_audit_log (event_type, created_at) values ('of_visitor', '2021-05-05Z');
      update private.audit_commitments set created_at = row_created_at;
      update security.retention_policies set kept_for = age(date_trunc('month', now()), '2021-06-01'), action = 'archive'
        where log in ('security.security_audit_log', 'security.audit_trail');
      select from private.ensure_partitions(0);`);
    await closeBlocks();
    const worker = new pg.Client(db.url("worker"));
    await worker.connect();
    const writer = { ...archives, signal, log: () => {} };
    const verifyMay = () => verify({ from: "2021-05-01", until: "2021-06-01", folder: archives });
    try {
      const run = await archiveDueMonths({ ...writer, client: worker, url: db.url("worker") });
      expect(run).toMatchObject({ archived: 2, archivedRows: 5 });
      expect(await verifyMay()).toEqual(clean(5));

      await owner.query("delete from identity.users where id = $1", [bob]);
      for (const step of [": wrote", ": registered", ": erased"]) {
        const ended = await killArchiving(archives, { url: db.url("worker"), step, command: ["erase"] });
        expect({ step, ...ended }).toEqual({ step, code: null, killedBy: "SIGKILL" });
        expect({ step, ...(await verifyMay()) }).toEqual(clean(5));
      }
      expect(await eraseArchives({ ...writer, client: worker })).toMatchObject({ accounts: 1 });
      const erased = { faultCount: 0, rows: 5, erased: 2, unread: 0 };
      expect(await verifyMay()).toMatchObject(erased);
      expect((await linesOfMay()).join()).not.toContain(bob);
      await closeBlocks();

      const [{ id: archive } = { id: "" }] = await archivesOfMay();
      await attachArchive({ ...writer, client: owner }, archive);
      expect(await verifyMay()).toMatchObject(erased);
      await detachArchive({ ...writer, client: owner }, archive);
      expect(await verifyMay()).toMatchObject(erased);

      // An erased row, a row of an account and a row without an account, each in a file that the register knows.
      for (const [original, altered] of [
        ["of_bob", "of_rob"],
        ['"n": 1.50', '"n": 1.51'],
        ["of_visitor", "of_visitos"],
      ] as const) {
        await alterFile(original, altered);
        const [fault, ...others] = (await verifyMay()).faults;
        expect([fault?.kind, others]).toEqual(["altered", []]);
        await alterFile(altered, original);
        expect(await verifyMay()).toEqual(clean(5));
      }
      // An erasure does not commit to the row of an altered file.
      await alterFile('"n": 1.50', '"n": 1.51');
      await owner.query("delete from identity.users where id = $1", [eve]);
      expect(await eraseArchives({ ...writer, client: worker })).toMatchObject({ accounts: 1, rows: 2 });
      expect((await verifyMay()).faults).toEqual([
        expect.objectContaining({ kind: "altered", log: "security.security_audit_log" }),
      ]);
    } finally {
      await worker.end();
    }
  });

  const userId = async (name: string): Promise<string> =>
    (await owner.query<{ id: string }>("select id from identity.users where username = $1", [name])).rows[0]!
      .id;

  const archivesOfMay = async () =>
    (await listArchives(owner)).filter(
      ({ log, month }) => log === "security.security_audit_log" && month === "2021-05",
    );

  async function linesOfMay(): Promise<string[]> {
    const [{ fileName } = { fileName: "" }] = await archivesOfMay();
    const lines: string[] = [];
    for await (const line of readArchive({ ...archives, name: fileName! })) lines.push(line);
    return lines;
  }

  /** As a person could who has the database, the disk and the key. */
  async function alterFile(text: string, other: string): Promise<void> {
    const lines = await linesOfMay();
    expect(lines.filter((line) => line.includes(text))).toHaveLength(1);
    const [archive] = await archivesOfMay();
    const altered = ReadableStream.from(lines.map((line) => line.replace(text, other)));
    const { sha256, bytes } = await writeArchive({ ...archives, name: archive!.fileName! }, altered);
    await owner.query("update security.archives set sha256 = $2, file_bytes = $3 where id = $1", [
      archive!.id,
      sha256,
      bytes,
    ]);
  }
});
