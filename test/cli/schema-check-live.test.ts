import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { roleName, rolePlaceholders } from "../../src/config/roles.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import { databaseUrl, type ScratchDatabase } from "../../src/database/scratch-database.ts";
import { checkLive, type LiveCheck } from "../../src/drift/mend/live-check.ts";
import { printMend } from "../../src/drift/mend/print.ts";
import { QUEUES } from "../../src/jobs/index.ts";
import { createEmptyTestDatabase, testSetup } from "../support/database.ts";
import type { Fault } from "../support/drift-faults/fault.ts";
import { FAULTS } from "../support/drift-faults/faults.ts";
import { cli, databaseEnv } from "./run-cli.ts";
import { runHere } from "./run-here.ts";

// With its own roles: roles belong to the server, and some faults change them. All changes are rolled back, so one database serves all
// cases. A check reads the whole catalogue, so the faults are made in few rounds of many.

let db: ScratchDatabase;
let admin: pg.Client;
beforeAll(async () => {
  db = await createEmptyTestDatabase();
  await migrateDatabase({ ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, queues: QUEUES });
  admin = new pg.Client({ connectionString: databaseUrl(testSetup().adminUrl, db.name) });
  await admin.connect();
});
afterAll(async () => {
  await admin.end();
  await db.drop();
});

function inSql(text: string): string {
  const { rolePrefix } = db;
  const names = {
    ...rolePlaceholders(rolePrefix, roleName(rolePrefix, "owner")),
    ":PLINTH_STRANGER": `${rolePrefix}_stranger`,
  };
  return Object.entries(names).reduce((sql, [placeholder, name]) => sql.replaceAll(placeholder, name), text);
}

const check = async (): Promise<LiveCheck> => (await checkLive(admin, db.rolePrefix))!;

async function rolledBack<T>(use: () => Promise<T>): Promise<T> {
  await admin.query("begin");
  try {
    return await use();
  } finally {
    await admin.query("rollback");
  }
}

async function asOwner(sql: string): Promise<void> {
  await admin.query(inSql("set local role :PLINTH_OWNER"));
  await admin.query(inSql(sql));
  await admin.query("reset role");
}

/** Runs the printed file as the owner. */
async function runAsOwner(text: string): Promise<void> {
  await asOwner(text);
  await admin.query("set local search_path to default");
}

const notRun = (text: string) =>
  text
    .split("\n")
    .filter((line) => line.startsWith("--! "))
    .map((line) => line.slice(4))
    .join("\n");

interface Outcome {
  readonly before: LiveCheck;
  readonly text: string;
  readonly after: LiveCheck;
}

/** Changes the database, and runs the printed file as the owner. */
async function mended(
  change: () => Promise<void>,
  { andTheRest = false }: { andTheRest?: boolean } = {},
): Promise<Outcome> {
  return rolledBack(async () => {
    await change();
    const before = await check();
    const text = printMend(before);
    await runAsOwner(text);
    if (andTheRest) await admin.query(notRun(text));
    return { before, text, after: await check() };
  });
}

/** The objects that the findings of a fault name. */
const objectsOf = ({ findings }: Fault) =>
  findings.flatMap(([, , ...details]) =>
    details.map((detail) =>
      inSql(
        detail
          .replace(/^(table or view|type) /, "")
          .split(/: | (?:belongs to|is|may|bypasses|inherits) /)[0]!
          .replaceAll(/plinth_(?!jobs\b|migrate\b)/g, `${db.rolePrefix}_`)
          .replaceAll("the owner", ":PLINTH_OWNER"),
      ),
    ),
  );

/** Faults of other objects share a round; a fault that fails because of an earlier one is left for the next round. */
async function makeFaults(waiting: readonly Fault[]): Promise<{ made: Fault[]; rest: Fault[] }> {
  const made: Fault[] = [];
  const rest: Fault[] = [];
  const taken = new Set<string>();
  for (const fault of waiting) {
    const objects = objectsOf(fault);
    const isFree = objects.every((object) => [...taken].every((other) => !overlap(object, other)));
    if (isFree && (await makeFault(fault))) {
      made.push(fault);
      for (const object of objects) taken.add(object);
    } else rest.push(fault);
  }
  return { made, rest };
}

/** A relation overlaps with its own parts. */
function overlap(one: string, other: string): boolean {
  const [relation, otherRelation] = [one, other].map((object) => object.split(" ").at(-1));
  const areParts = [one, other].every((object) => / (on|of) /.test(object));
  return one === other || (!areParts && relation === otherRelation);
}

async function makeFault({ sql, by }: Fault): Promise<boolean> {
  await admin.query("savepoint fault");
  try {
    if (by) await admin.query(inSql(sql));
    else await asOwner(sql);
    return true;
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error;
    await admin.query("rollback to savepoint fault");
    return false;
  }
}

/** Debian's, as in CI. */
const PSQL = "/usr/lib/postgresql/15/bin/psql";

const ALL = Object.values(FAULTS).flat();
const MOST_ROUNDS = 6;

/** Makes all faults in rounds, and names the objects that a round did not report. */
async function inRounds(
  faults: readonly Fault[],
  mend: (make: () => Promise<void>) => Promise<Omit<Outcome, "text">>,
): Promise<void> {
  let waiting = faults;
  for (let round = 1; waiting.length > 0; round++) {
    expect(round).toBeLessThanOrEqual(MOST_ROUNDS);
    let made: readonly Fault[] = [];
    const { before, after } = await mend(async () => {
      const { made: first, rest } = await makeFaults(waiting);
      [made, waiting] = [first, rest];
    });
    const described = before.differences.map(({ description }) => description).join("\n");
    expect(made.flatMap(objectsOf).filter((object) => !described.includes(object))).toEqual([]);
    expect(after.differences).toEqual([]);
  }
}

describe("the printed SQL mends", () => {
  test("each change that doctor names and the owner can make, with the lines that lose rows", async () => {
    const faults = ALL.filter(({ by }) => by === undefined);
    expect(faults.length).toBeGreaterThan(80);
    await inRounds(faults, (make) => mended(make, { andTheRest: true }));
  });

  test("each change that needs an administrator, with the lines for an administrator", async () => {
    const faults = ALL.filter(({ by }) => by === "an administrator" || (by && testSetup().adminIsSuperuser));
    expect(faults.length).toBeGreaterThan(8);
    await inRounds(faults, (make) =>
      rolledBack(async () => {
        await make();
        const before = await check();
        await admin.query(printMend(before).replaceAll(/^--! /gm, ""));
        await admin.query("reset role; set local search_path to default");
        return { before, after: await check() };
      }),
    );
  });

  test("dropped schemas, with everything that used them, in an order that runs", async () => {
    const { before, text, after } = await mended(
      () => asOwner("drop schema learning cascade; drop schema plinth cascade; drop schema security cascade"),
      { andTheRest: true },
    );
    expect(before.differences.length).toBeGreaterThan(300);
    expect(text).toContain("The rows of learning.content_items must come from a backup.");
    expect(after.differences).toEqual([]);
  });
});

describe("the owner's part of the printed SQL", () => {
  const hostile = '"x\n; grant select on private.user_passwords to public; --"';
  let text: string;
  let after: LiveCheck;
  beforeAll(async () => {
    ({ text, after } = await mended(() =>
      asOwner(`
        create view analytics.of_users as select id, username from identity.users;
        create or replace view identity.profiles with (security_barrier) as
          select u.id, u.username, s.display_name, s.avatar_url, u.created_at
          from identity.users u
          left join identity.user_settings s on s.user_id = u.id;
        create schema reports;
        create view reports.people as select username from identity.profiles;

        drop function identity.unlock_account(uuid);
        create function identity.unlock_account(user_id uuid) returns boolean language sql as 'select true';
        create policy narrower on llm.chats as restrictive to :PLINTH_USER using (identity.unlock_account(user_id));
        alter table llm.chats alter column is_archived set default identity.unlock_account(null);

        alter table private.token_blacklist rename to blacklist;

        do $$
        declare
          v_source text := pg_get_viewdef('analytics.user_security_status'::regclass);
          v_view text := pg_get_viewdef('analytics.account_security'::regclass);
        begin
          drop view
            analytics.account_security, analytics.user_security_status, analytics.users, identity.user_security_status;
          alter table identity.users alter column failed_login_attempts type bigint;
          execute 'create view analytics.user_security_status as ' || v_source;
          execute 'create view analytics.account_security with (security_barrier = true) as ' || v_view;
        end
        $$;

        alter table billing.subscription_changes drop column credit_cents cascade;

        create table private.${hostile} (id integer);
        alter table identity.users add column note text;
        alter table private.room_passwords drop column password_hash;
        alter table private.mail_outbox alter column attempts drop default, alter column attempts type numeric`),
    ));
  });

  test("replaces a view that a report of others uses, and drops an added one", () => {
    expect(text).toContain("create or replace view identity.profiles");
    expect(text).toContain("drop view analytics.of_users");
    expect(text).not.toContain("reports.people");
  });

  test("creates a function with another result again, and mends what depends on it first", () => {
    const places = [
      "drop policy if exists narrower",
      "drop function identity.unlock_account",
      "create or replace function identity.unlock_account",
    ].map((part) => text.indexOf(part));
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    expect(places[0]).toBeGreaterThan(0);
  });

  test("changes a type back under an unchanged view, and adds computed columns after their sources", () => {
    const places = [
      "drop view analytics.account_security;",
      "alter column failed_login_attempts type integer;",
      "create view analytics.account_security ",
      "add column credit_cents ",
      "add column amount_cents ",
    ].map((part) => text.indexOf(part));
    expect(places.every((place) => place > 0)).toBe(true);
    expect([places.slice(0, 3), places.slice(3)]).toEqual([
      places.slice(0, 3).toSorted((a, b) => a - b),
      places.slice(3).toSorted((a, b) => a - b),
    ]);
  });

  test("renames a renamed table, which keeps its rows", () => {
    expect(text).toContain("alter table private.blacklist rename to token_blacklist;");
    expect(text).not.toMatch(/(create|drop) table private.(token_)?blacklist/);
  });

  test("leaves what loses or needs rows, and runs no name that would end a comment", () => {
    expect(after.differences.map(({ object }) => object).sort()).toEqual([
      "column attempts of private.mail_outbox",
      "column note of identity.users",
      "column password_hash of private.room_passwords",
      "constraint mail_outbox_attempts_is_not_negative on private.mail_outbox",
      `table private.${hostile}`,
    ]);
    for (const line of text
      .split("\n")
      .filter((each) => /grant select on private|drop (table|column)/.test(each)))
      expect(line).toMatch(/^--/);
  });

  test("says what must come from a backup, and what may change values", () => {
    expect(text).toContain("-- The values of private.room_passwords.password_hash must come from a backup.");
    expect(text).toContain("--! alter table private.room_passwords alter column password_hash set not null;");
    expect(text).toMatch(/^--! alter table private\.mail_outbox alter column attempts type integer;$/m);
  });
});

describe("plinth schema check --live", () => {
  const live = (...args: string[]) =>
    runHere(["schema", "check", "--live", ...args], { env: databaseEnv(db) });

  (existsSync(PSQL) ? test : test.skip)("prints a file for psql, and nothing once that has run", async () => {
    await admin.query(
      inSql(`set role :PLINTH_OWNER;
        alter policy select_own on identity.users using (true);
        drop function identity.logout();
        reset role`),
    );
    // Any role reads the catalogue.
    const { PLINTH_ANALYST_URL = "", PLINTH_ROLE_PREFIX = "" } = databaseEnv(db);
    const env = { PLINTH_ANALYST_URL, PLINTH_ROLE_PREFIX };
    const { code, stdout, stderr } = await cli(["schema", "check", "--live"], { env });
    expect([code, stdout, stderr]).toEqual([
      1,
      expect.stringContaining("differs from its migrations in 2 objects"),
      expect.stringContaining("If migrations are pending, run plinth migrate first."),
    ]);
    const folder = await mkdtemp(join(tmpdir(), "plinth-test-mend-"));
    try {
      await writeFile(join(folder, "mend.sql"), stdout);
      const run = ["-X", "-1", "-v", "ON_ERROR_STOP=1", "-f", join(folder, "mend.sql"), db.url("owner")];
      await promisify(execFile)(PSQL, run);
    } finally {
      await rm(folder, { recursive: true });
    }
    const after = await live("--json");
    expect([after.code, JSON.parse(after.stdout)]).toEqual([0, { differences: [], statements: [] }]);
  });

  test("asks for pending migrations first", async () => {
    const options = { ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, queues: QUEUES };
    const { rolledBack: names } = await rollback({ ...options, steps: 1 });
    const { code, stdout, stderr } = await live();
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toContain(`The database lacks 1 migration: ${names[0]}.\nhint: Run plinth migrate first`);
    await migrateDatabase(options);
    expect((await check()).differences).toEqual([]);
  });
});
