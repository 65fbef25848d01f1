import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { archiveDueMonths } from "../../src/archive/archive-due-months.ts";
import { readArchive } from "../../src/archive/archive-file.ts";
import { attachArchive, detachArchive } from "../../src/archive/attach-archive.ts";
import { eraseArchives } from "../../src/archive/erase-archives.ts";
import { listArchives } from "../../src/archive/registered-archives.ts";
import { verifyArchives } from "../../src/archive/verify-archives.ts";
import type { ArchiveWriter } from "../../src/archive/write-open-archives.ts";
import { publicKeySet } from "../../src/auth/jwks.ts";
import { generateAsymmetricSigningKey, parseSigningKeys } from "../../src/auth/signing-keys.ts";
import { deleteDueAccounts } from "../../src/jobs/delete-due-accounts.ts";
import type { Statement } from "../../src/privacy/certificate.ts";
import { certificatesSince } from "../../src/privacy/certificate-files.ts";
import { eraseAccount } from "../../src/privacy/erase-account.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { cli, databaseEnv } from "../cli/run-cli.ts";
import { runHere } from "../cli/run-here.ts";
import { IDS, withIds } from "../support/access-probes/ids.ts";
import { SEED } from "../support/access-probes/seed.ts";
import { grantRole, registerUser } from "../support/accounts.ts";
import { until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { tablesWith } from "../support/whole-database.ts";

// A single database and a single story: holds, then archives and certificates, then a restore.

const key = randomBytes(32);
const signingKey = generateAsymmetricSigningKey();
const folder = mkdtempSync(join(tmpdir(), "plinth-erasure-"));
const directory = join(folder, "archives");

let db: TestDatabase;
let owner: pg.Client;
let worker: pg.Client;
beforeAll(async () => {
  db = await createTestDatabase();
  owner = await connected(db.url("owner"));
  worker = await connected(db.url("worker"));
  mkdirSync(directory);
});
afterAll(async () => {
  await worker?.end();
  await owner?.end();
  await db?.drop();
  rmSync(folder, { recursive: true });
});

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client(url);
  await client.connect();
  return client;
}

const writer = (client: pg.Client): ArchiveWriter => ({
  client,
  directory,
  keys: [key],
  signal: new AbortController().signal,
  log: () => {},
});

const env = () => ({
  ...databaseEnv(db),
  PLINTH_ARCHIVES: directory,
  PLINTH_BACKUPS: folder,
  PLINTH_BACKUP_KEY: key.toString("base64url"),
  PLINTH_JWT_KEYS: signingKey,
});

const plinth = async (...args: string[]) => {
  const { code, stdout, stderr } = await runHere(args, { env: env() });
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
};

const runJob = () =>
  deleteDueAccounts({
    query: async (sql, values) => (await worker.query(sql, values)).rows,
    signal: new AbortController().signal,
  });

async function statementOf(id: string): Promise<Statement> {
  const { rows } = await owner.query("select statement from security.erasure_certificates where id = $1", [
    id,
  ]);
  return rows[0].statement;
}

describe("a legal hold [C11]", () => {
  test("keeps an account from every deletion, says only that it is delayed, and lets it go after the release", async () => {
    const held = await registerUser(db, "held");
    const { id } = await plinth("privacy", "hold", "held", "--reason", "Case 4711", "--json");
    const { holds } = await plinth("privacy", "hold", "--list", "--json");
    expect(holds).toMatchObject([{ id, username: "held", reason: "Case 4711" }]);
    const again = await runHere(["privacy", "hold", "held", "--reason", "x"], { env: env() });
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining("has a legal hold already")]);

    await expect(owner.query("delete from identity.users where id = $1", [held])).rejects.toMatchObject({
      code: "PL409",
      message: "The deletion of this account is delayed.",
    });
    const erased = await runHere(["privacy", "erase", "held"], { env: env() });
    expect([erased.code, erased.stderr]).toEqual([1, expect.stringContaining("A legal hold keeps it")]);
    await owner.query(
      `insert into identity.account_deletions (user_id, requested_at, due_at, next_attempt_at)
       values ($1, now() - interval '2 days', now() - interval '1 day', now() - interval '1 day')`,
      [held],
    );
    expect(await runJob()).toEqual({ deleted: 0, postponed: 1, canceled: 0 });
    // Neither the account's own export nor its audit trail shows the hold, and no copy of the failure is for its owner.
    expect(
      (
        await owner.query(
          `select private.data_export_query(table_oid, condition) ~ 'last_failure' as is_exported
           from private.data_export_sources() where table_name = 'identity.account_deletions'`,
        )
      ).rows,
    ).toEqual([{ is_exported: false }]);
    expect(readFileSync(join(PACKAGE_ROOT, "migrations/schema/schema.graphql"), "utf8")).not.toContain(
      "lastFailure",
    );
    const { rows } = await owner.query(
      `select (select count(*)::int from private.data_export_sources() where table_name like '%legal_holds') as sources,
         (select count(*)::int from security.audit_trail
          where table_name = 'security.legal_holds' and (user_id is not null or new_values::text ~ $1 or row_key::text ~ $1)) as shown,
         (select count(*)::int from security.audit_trail where table_name = 'security.legal_holds') as recorded`,
      [held],
    );
    expect(rows).toEqual([{ sources: 0, shown: 0, recorded: 1 }]);

    await plinth("privacy", "hold", held, "--release", "--json");
    expect(await runJob()).toEqual({ deleted: 1, postponed: 0, canceled: 0 });
    expect((await owner.query("select from security.legal_holds")).rowCount).toBe(0);
  });
});

/** Tables that must name an account until its last access token has expired. */
const UNTIL_TOKENS_EXPIRE = ["private.token_blacklist"];

describe("a certificate [C11]", () => {
  test("counts exactly what one statement deleted of each of two accounts, whichever tables the rows are in", async () => {
    await owner.query(withIds(SEED));
    await owner.query("delete from security.erasure_certificates where subject = 'probe'");
    const twin = await registerUser(db, "twin");
    await owner.query(
      `create table public.parcels (owner_id uuid references identity.users on delete cascade, note text);
       comment on column public.parcels.note is '@personalData content'`,
    );
    await owner.query("insert into public.parcels values ($1, 'a'), ($1, 'b'), ($2, 'c')", [IDS.ada, twin]);
    const tables = await countedTables();
    const before = await countAll(tables);
    await owner.query("delete from identity.users where id in ($1, $2)", [IDS.ada, twin]);
    const { rows } = await owner.query<{ statement: Statement }>(
      "select statement from security.erasure_certificates order by id desc limit 2",
    );
    const after = await countAll(tables);
    const statements = rows.map(({ statement }) => statement);
    const deleted: Record<string, number> = {};
    for (const { tables: counted } of statements)
      for (const { table, deleted: count } of counted) deleted[table] = (deleted[table] ?? 0) + count;
    // Inserts by triggers are not part of a certificate, so only tables that shrank are compared, and every one of them.
    const shrunk = tables.filter((table) => after[table]! < before[table]!);
    expect(shrunk.length).toBeGreaterThan(30);
    expect(shrunk.filter((table) => deleted[table]! < before[table]! - after[table]!)).toEqual([]);
    expect(deleted["identity.users"]).toBe(2);
    expect(deleted["llm.chats"]).toBe(before["llm.chats"]! - after["llm.chats"]!);
    expect(
      statements
        .map(({ tables: counted }) => counted.find(({ table }) => table === "public.parcels"))
        .sort((a, b) => a!.deleted - b!.deleted),
    ).toEqual([
      { table: "public.parcels", deleted: 1, cleared: 0, classes: ["content"] },
      { table: "public.parcels", deleted: 2, cleared: 0, classes: ["content"] },
    ]);
    for (const { classes } of statements) expect(classes.contact!.deleted).toBeGreaterThan(2);
    expect((await owner.query("select from private.erasures_in_progress")).rowCount).toBe(0);
    // The fixture gives rows of two logs and a message the same id.
    const ids = ["rooms.general_chat_messages", expect.stringMatching(/^security\.error_logs_/)];
    expect(await tablesWith(db, IDS.ada!)).toEqual([...UNTIL_TOKENS_EXPIRE, ...ids]);
  });

  async function countedTables(): Promise<string[]> {
    const { rows } = await owner.query<{ name: string }>(
      `select format('%s.%s', n.nspname, c.relname) as name
       from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^(pg_|information|plinth_)'
       order by 1`,
    );
    return rows.map(({ name }) => name);
  }

  async function countAll(tables: readonly string[]): Promise<Record<string, number>> {
    const { rows } = await owner.query<{ name: string; n: number }>(
      tables
        .map((table) => `select '${table}' as name, count(*)::int as n from ${table}`)
        .join(" union all "),
    );
    return Object.fromEntries(rows.map(({ name, n }) => [name, n]));
  }
});

describe("archives [A14, C11]", () => {
  const NAME = "canary7c1f";
  const ADDRESS = "203.0.113.77";
  let ada: string;
  let bob: string;
  let certificate: string;

  /** A row of every log in a month that its policy has left behind. */
  async function fill(): Promise<void> {
    ada = await registerUser(db, NAME);
    bob = await registerUser(db, "other-person");
    const at = "2012-02-15 12:00:00.123456+00";
    await owner.query(
      `insert into security.login_attempts (user_id, email, ip_address, user_agent, status, created_at) values
         ($1, $3 || '@example.com', $4, $3, 'success', $5),
         (null, $3, $4, $3, 'failed', $5),
         ($2, 'kept@example.com', '192.0.2.2', 'kept', 'success', $5)`,
      [ada, bob, NAME, ADDRESS, at],
    );
    await owner.query(
      `insert into security.security_audit_log (user_id, actor_id, event_type, event_data, ip_address, user_agent, created_at) values
         ($1, $1, 'probe', jsonb_build_object('name', $3::text), $4, $3, $5),
         (null, null, 'login_failed', '{}', $4, $3, $5),
         ($2, $1, 'probe', '{"kept": true}', $4, $3, $5),
         ($1, $2, 'probe', jsonb_build_object('name', $3::text), '192.0.2.2', 'kept', $5)`,
      [ada, bob, NAME, ADDRESS, at],
    );
    await owner.query(
      `insert into security.audit_trail
         (user_id, actor_id, table_name, operation, changed_columns, row_key, old_values, new_values, transaction_number, source, ip_address, created_at) values
         ($1, $1, 't', 'UPDATE', '{a}', jsonb_build_object('user_id', $1::uuid), jsonb_build_object('n', $3::text), '{}', 1, 's', $4, $5),
         ($2, $1, 't', 'UPDATE', '{a}', '{}', null, jsonb_build_object('granted_by', $1::uuid), 1, 's', $4, $5)`,
      [ada, bob, NAME, ADDRESS, at],
    );
    await owner.query(
      `insert into security.personal_data_reads
         (read_id, user_id, actor_id, api_token_id, origin, source, operation, relations, subject_count, reason, ip_address, user_agent,
          correlation_id, created_at) values
         ($2, $1, $2, $2, 'api', 's', 'ReadByBob', '{identity.users}', 1, $3, '192.0.2.2', 'reader-bob', null, $5),
         ($2, $2, $1, $1, 'api', 's', $3, '{identity.users}', 1, 'about-bob', $4, $3, $3, $5)`,
      [ada, bob, NAME, ADDRESS, at],
    );
    await owner.query("select private.record_usage($1, null, 1000, 7, $2, at => $3::timestamptz)", [
      ada,
      NAME,
      at,
    ]);
    await owner.query("select private.record_usage($1, null, 500, 7, 'kept', at => $2::timestamptz)", [
      bob,
      at,
    ]);
    await owner.query(
      `with category as (
         insert into learning.content_categories (name, slug) values ('Erased', 'erased') returning id
       ), item as (
         insert into learning.content_items (content_type, title, slug, category_id)
         select 'lesson', 'Erased', 'erased', id from category returning id
       )
       insert into learning.content_consumption
         (user_id, item_id, version, started_at, last_activity_at, active_seconds, heartbeat_count, covered, active, created_at)
       select u.id, item.id, 1, $2, $2, 60, 2, '{[0,60)}', '{}', $2 from item, unnest($1::uuid[]) u (id)`,
      [[ada, bob], at],
    );
    await owner.query(
      `with room as (insert into rooms.chat_rooms (name, creator_id) values ('Erased', $1) returning id)
       insert into rooms.room_changes (room_id, sequence, kind, user_id, created_at)
       select id, 1000, 'room_changed', $1, $2 from room`,
      [ada, at],
    );
  }

  const files = () => readdirSync(directory).filter((name) => !name.endsWith(".manifest.json"));

  async function linesOfFiles(): Promise<string[]> {
    const lines: string[] = [];
    for (const name of files())
      for await (const line of readArchive({ directory, name, keys: [key] })) lines.push(line);
    return lines;
  }

  const totals = async () =>
    (
      await owner.query(
        `select (select sum(total_tokens) from billing.usage_events) as live,
           (select jsonb_agg(to_jsonb(d) - 'user_id' order by d.id) from billing.daily_usage d) as daily,
           (select jsonb_agg(jsonb_build_array(p.amount_cents, p.status)) from billing.payments p) as payments`,
      )
    ).rows[0];

  const tokensIn = (lines: readonly string[]) =>
    lines.reduce((sum, line) => sum + Number(JSON.parse(line).total_tokens ?? 0), 0);

  async function killedAt(step: string): Promise<void> {
    const script = join(PACKAGE_ROOT, "test/support/archive-process.ts");
    const child = spawn(
      process.execPath,
      [script, db.url("worker"), directory, key.toString("hex"), step, "erase"],
      { stdio: ["ignore", "ignore", "inherit"] },
    );
    expect([step, ...(await once(child, "exit"))]).toEqual([step, null, "SIGKILL"]);
    // The next one waits some seconds for its lock, which ends with the session.
    await until(async () => {
      const { rowCount } = await owner.query(
        `select from pg_locks l join pg_database d on d.oid = l.database
         where l.locktype = 'advisory' and d.datname = current_database()`,
      );
      return rowCount === 0;
    });
  }

  test("lose a deleted account although the process is killed after each step; amounts and other people stay", async () => {
    await fill();
    await archiveDueMonths({ ...writer(worker), url: db.url("worker") });
    const archives = (await listArchives(owner)).filter(({ state }) => state === "archived");
    expect(new Set(archives.map(({ log }) => log)).size).toBe(7);
    const attached = archives.find(({ log }) => log === "security.security_audit_log")!;
    await attachArchive(writer(owner), attached.id);
    const before = await linesOfFiles();
    expect(before.filter((line) => line.includes(NAME)).length).toBeGreaterThan(5);
    const totalsBefore = await totals();

    await owner.query("begin");
    await owner.query("delete from identity.users where id = $1", [ada]);
    certificate = (await owner.query("select current_setting('plinth.erasure_certificate') as id")).rows[0]
      .id;
    await owner.query("commit");
    for (const step of [": wrote", ": registered", ": erased"]) await killedAt(step);
    const done = await eraseArchives(writer(worker));
    expect(done.accounts).toBe(1);
    expect(await eraseArchives(writer(worker))).toEqual({ accounts: 0, rows: 0, files: 0 });

    const after = await linesOfFiles();
    const traces = [NAME, ADDRESS, ada];
    expect(after.filter((line) => traces.some((trace) => line.includes(trace)))).toEqual([]);
    expect(files()).toHaveLength(archives.length);
    const verified = await verifyArchives(await listArchives(owner), writer(owner));
    expect(verified.map(({ fault }) => fault)).toEqual(verified.map(() => null));
    // A row that belongs to the account went, and nothing else.
    expect(before.length - after.length).toBe(1);
    expect(after.filter((line) => line.includes("kept")).length).toBe(
      before.filter((line) => line.includes("kept") && !line.includes(NAME)).length + 2,
    );
    // A read is about two people: each keeps what is theirs.
    const reads = after.map((line) => JSON.parse(line)).filter((row) => "read_id" in row);
    expect(
      reads.map((row) => [row.user_id, row.actor_id, row.operation, row.reason, row.user_agent]),
    ).toEqual([
      [null, bob, "ReadByBob", null, "reader-bob"],
      [bob, null, null, "about-bob", null],
    ]);
    expect(tokensIn(after)).toBe(tokensIn(before));
    expect(await totals()).toEqual(totalsBefore);
    await detachArchive(writer(owner), attached.id);
    expect((await linesOfFiles()).filter((line) => traces.some((trace) => line.includes(trace)))).toEqual([]);
    for (const trace of [NAME, ADDRESS]) expect(await tablesWith(db, trace)).toEqual([]);
    expect(await tablesWith(db, ada)).toEqual(UNTIL_TOKENS_EXPIRE);
    const life = await owner.query(
      "select expires_at - created_at <= interval '1 day 5 minutes' as is_short from private.token_blacklist where subject_id = $1",
      [ada],
    );
    expect(life.rows).toEqual([{ is_short: true }]);
    await owner.query("update private.token_blacklist set expires_at = now() where subject_id = $1", [ada]);
    await worker.query("select private.delete_expired_sign_in_data()");
    expect(await tablesWith(db, ada)).toEqual([]);
    const { rows } = await owner.query(
      "select archived_rows::int as rows from security.erasure_certificates where id = $1",
      [certificate],
    );
    expect(rows).toEqual([{ rows: expect.any(Number) }]);
    expect(rows[0].rows).toBeGreaterThan(7);
  });

  test("the certificate is signed afterwards, verifies with the public key alone, and names the account only to its owner", async () => {
    const early = await runHere(["privacy", "certificate", certificate], { env: env() });
    expect([early.code, early.stderr]).toEqual([1, expect.stringContaining("plinth privacy finish")]);
    expect(await plinth("privacy", "finish", "--json")).toMatchObject({ signed: 4, waiting: 0 });
    const { signed } = await plinth("privacy", "certificate", certificate, "--json");
    const file = join(folder, "certificate.jws");
    const keys = join(folder, "jwks.json");
    writeFileSync(file, signed);
    writeFileSync(keys, JSON.stringify(publicKeySet(parseSigningKeys(signingKey))));
    const offline = (...args: string[]) => runHere(["privacy", "verify", ...args], { env: {} });
    const valid = await offline(file, "--key", keys, "--account", ada, "--json");
    expect(JSON.parse(valid.stdout)).toMatchObject({
      valid: true,
      statement: { certificate, requestedBy: "database_role" },
      backups: { kept: 7, expireBy: expect.stringMatching(/T03:00:00/) },
    });
    expect(valid.stdout).not.toContain(ada);
    expect(JSON.parse(valid.stdout).statement).toEqual(await statementOf(certificate));

    const [header, payload, signature] = signed.split(".");
    const forged = Buffer.from(payload!, "base64url").toString().replace('"deleted":1', '"deleted":2');
    writeFileSync(`${file}.forged`, [header, Buffer.from(forged).toString("base64url"), signature].join("."));
    writeFileSync(
      `${keys}.other`,
      JSON.stringify(publicKeySet(parseSigningKeys(generateAsymmetricSigningKey()))),
    );
    for (const [args, message] of [
      [[`${file}.forged`, "--key", keys], "Its signature does not match"],
      [[file, "--key", `${keys}.other`], "The certificate is signed with the key"],
      [[file, "--key", keys, "--account", bob], "for another account"],
      [[file, "--key", file], "not a JSON Web Key Set"],
    ] as const) {
      const { code, stderr } = await offline(...args);
      expect([code, stderr]).toEqual([1, expect.stringContaining(message)]);
    }
    // A changed row of the database is noticed, too.
    expect(await plinth("privacy", "verify", certificate, "--json")).toMatchObject({ valid: true });
    await owner.query(
      `update security.erasure_certificates set statement = replace(statement::text, '"deleted"', '"deleted" ')::json where id = $1`,
      [certificate],
    );
    const changed = await runHere(["privacy", "verify", certificate], { env: env() });
    expect(changed.stderr).toContain("not the one that was signed");
  });

  test("a plan changes nothing, and an account that a restore brought back is erased by its certificate", async () => {
    const eve = await registerUser(db, "eve");
    const planned = await plinth("privacy", "erase", "eve", "--plan", "--json");
    expect((await owner.query("select from identity.users where id = $1", [eve])).rowCount).toBe(1);
    // The certificate is kept, so what it refers to must not name the account.
    for (const reference of ["Ticket-of-EVE-7", "eve@example.com", "4711 Eve"]) {
      const refused = await runHere(["privacy", "erase", "eve", "--reference", reference], { env: env() });
      expect([refused.code, refused.stderr]).toEqual([
        1,
        expect.stringMatching(/A reference (must not|has)/),
      ]);
    }
    const { erasures, finished } = await plinth(
      "privacy",
      "erase",
      "eve",
      "--reference",
      "REQ-2026/17",
      "--json",
    );
    expect(erasures[0].statement.tables).toEqual(planned.erasures[0].statement.tables);
    expect([planned, { erasures }].map((each) => each.erasures[0].statement.reference)).toEqual([
      null,
      "REQ-2026/17",
    ]);
    expect(finished).toMatchObject({ signed: 1, waiting: 0 });

    const certificates = join(folder, "erasures");
    expect(readdirSync(certificates)).toContain(`${erasures[0].certificate}.jws`);
    expect(certificatesSince(certificates, new Date(erasures[0].statement.erasedAt))).toBe(0);
    expect(certificatesSince(certificates, new Date(0))).toBe(5);
    await owner.query("insert into identity.users (id, username) values ($1, 'eve'), (default, 'frank')", [
      eve,
    ]);
    const again = await plinth("privacy", "erase", "--from-certificates", certificates, "--json");
    expect(again.erasures.map(({ accountId }: { accountId: string }) => accountId)).toEqual([eve]);
    expect(
      (await owner.query("select username from identity.users where username in ('eve', 'frank')")).rows,
    ).toEqual([{ username: "frank" }]);

    // A second restore: two certificates are about the account now. A damaged one stops nothing but their use.
    await owner.query("insert into identity.users (id, username) values ($1, 'eve')", [eve]);
    const damaged = join(certificates, "damaged.jws");
    writeFileSync(damaged, "e30.e30");
    expect(certificatesSince(certificates, new Date(0))).toBe(6);
    const refused = await runHere(["privacy", "erase", "--from-certificates", certificates], { env: env() });
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("damaged.jws")]);
    rmSync(damaged);
    const third = await plinth("privacy", "erase", "--from-certificates", certificates, "--json");
    expect(third.erasures).toHaveLength(1);
  });

  test("does not name a requester whom a database role claims to be, and a plan checks deferred constraints", async () => {
    const id = await registerUser(db, "claimed");
    await owner.query(
      "create table public.leases (holder uuid references identity.users deferrable initially deferred)",
    );
    await owner.query("insert into public.leases values ($1)", [id]);
    await expect(eraseAccount(owner, id, { isPlan: true })).rejects.toMatchObject({
      code: "CONFLICT",
      message: "The table public.leases keeps the account.",
    });
    await owner.query("drop table public.leases");
    for (const claimed of [id, IDS.bob!]) {
      await owner.query("begin");
      await owner.query("select set_config('jwt.claims.user_id', $1, true)", [claimed]);
      await owner.query("delete from identity.users where id = $1", [id]);
      const { rows } = await owner.query(
        "select requested_by from security.erasure_certificates order by id desc limit 1",
      );
      await owner.query("rollback");
      expect(rows).toEqual([{ requested_by: "database_role" }]);
    }
    await owner.query("delete from identity.users where id = $1", [id]);
    await expect(eraseAccount(owner, id)).rejects.toMatchObject({ code: "USER_NOT_FOUND" });
  });

  test("deletes the jobs that name the account, and none of an address that only contains its own", async () => {
    const kept = ["na@x.example", "n.a@x.example", "a@x.example.org", "a@x.example-inc.org", "a@xyexample"];
    const gone = [
      "A@x.example",
      "mailto:a@x.example?x",
      "Ann <a@x.example>",
      "To\na@x.example.",
      "tel:+4912345678",
    ];
    await owner.query("begin");
    await owner.query(
      "insert into plinth_jobs.job (name, data) select 'maintain-tables', jsonb_build_object('to', t) from unnest($1::text[]) t",
      [[...kept, ...gone, "+49123456789"]],
    );
    await owner.query(
      "insert into identity.users (username, email, phone_number, phone_verified_at) values ('short', 'a@x.example', '+4912345678', now())",
    );
    await owner.query("delete from identity.users where username = 'short'");
    const { rows } = await owner.query(
      "select data ->> 'to' as \"to\" from plinth_jobs.job where data ? 'to'",
    );
    await owner.query("rollback");
    expect(rows.map(({ to }) => to).sort()).toEqual([...kept, "+49123456789"].sort());
  });
});

test("the last administrator is refused by the command as well", async () => {
  const chief = await registerUser(db, "chief-of-all");
  await grantRole(db, chief, "admin");
  await owner.query(
    "delete from access.user_roles where role_id = (select id from access.roles where role_name = 'admin') and user_id <> $1",
    [chief],
  );
  const { code, stderr } = await cli(["privacy", "erase", "chief-of-all"], { env: env() });
  expect([code, stderr]).toEqual([1, expect.stringMatching(/administrator/)]);
});

test("the record of processing has each class with tables, retention, protection and recipients [C11]", async () => {
  const { activities } = await plinth("privacy", "record", "--json");
  const find = (table: string, name: string) =>
    activities.find((each: { table: string; class: string }) => each.table === table && each.class === name);
  expect(find("identity.users", "contact")).toMatchObject({
    columns: expect.arrayContaining(["username", "email"]),
    kept: "life of the account",
    recipients: expect.arrayContaining([`${db.rolePrefix}_user`]),
  });
  expect(find("security.login_attempts", "contact")).toMatchObject({ kept: "2 years, then archived" });
  expect(find("private.user_keys", "credential")).toMatchObject({
    protection: expect.stringContaining("closed schema"),
    recipients: [],
  });
  expect(find("public.parcels", "content")).toMatchObject({ columns: ["note"] });
  const csv = await runHere(["privacy", "record", "--csv"], { env: env() });
  expect(csv.stdout.split("\r\n")).toHaveLength(activities.length + 2);
});
