import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type pg from "pg";
import type { Explanation } from "../../src/cli/explanation-lines.ts";
import { roleName } from "../../src/config/roles.ts";
import { IDS } from "../support/access-probes/ids.ts";
import { seedActors } from "../support/access-seed.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
} from "../support/database.ts";

// The verdicts of access.explain_access about policies of every form: on tables made for the purpose, compared with the statement
// itself, run as the user.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
  await seedActors(db);
});
afterAll(() => db.drop());

const ADA = IDS.ada!;
const BOB = IDS.bob!;

/** A transaction of the owner with the schema odd, which users may use. */
async function inOdd<T>(sql: string, use: (tx: Transaction, user: string) => Promise<T>): Promise<T> {
  return inRolledBackTransaction(db, async (tx) => {
    const user = roleName(db.rolePrefix, "user");
    await tx.client.query(
      `create schema odd; grant usage on schema odd to ${user}; ${sql.replaceAll(":user", user)}`,
    );
    return use(tx, user);
  });
}

interface Question {
  readonly op: string;
  readonly on?: string;
  readonly userId?: string | null;
  readonly key?: unknown;
  readonly values?: unknown;
  readonly returning?: boolean;
}

async function explain(tx: Transaction, question: Question): Promise<Explanation> {
  const { op, on = "odd.t", userId = ADA, key, values, returning = false } = question;
  const json = (value: unknown) => (value === undefined ? null : JSON.stringify(value));
  const [found] = await tx.attempt<{ explanation: Explanation }>(
    "select to_jsonb(e) as explanation from access.explain_access($1, $2, $3, $4, $5, returns_row => $6) e",
    [op, on, userId, json(key), json(values), returning],
  );
  return found!.explanation;
}

/** Rows that the statement of a user touches, or the SQLSTATE. */
async function attempt(tx: Transaction, sql: string, userId = ADA): Promise<number | string> {
  await tx.asUser(userId);
  await tx.client.query("savepoint attempt");
  const result = await tx.client.query(sql).then(
    ({ rowCount }) => rowCount ?? 0,
    ({ code }: pg.DatabaseError) => code!,
  );
  await tx.client.query("rollback to savepoint attempt; release savepoint attempt");
  await tx.asOwner();
  return result;
}

const outcomes = ({ policies }: Explanation, name: string) =>
  policies
    .find(({ policy }) => policy === name)!
    .parts.map(
      ({ depth, operator, condition, outcome }) => `${" ".repeat(depth)}${operator ?? condition}: ${outcome}`,
    );

const TABLE = `create table odd.t (id integer primary key, owner uuid, state text, "Odd ""AND"" name" text);
  alter table odd.t enable row level security;
  grant select, insert, update, delete on odd.t to :user;
  insert into odd.t values (1, '${ADA}', 'a OR b', 'x'), (2, '${BOB}', 'it''s \\ AND (', 'y'), (3, null, null, null);`;

test("splits a condition at AND, OR and NOT, and at nothing within strings, names, CASE, arrays and sub-selects", async () => {
  await inOdd(
    `${TABLE} create table odd.t2 (id integer); insert into odd.t2 values (1); grant select on odd.t2 to :user;
      create policy p on odd.t for select to :user using (
        ((state = 'a OR b' or "Odd ""AND"" name" = E'it''s \\\\ AND (') and not (id = any (array[7, 8]) or state is null))
        and case when owner is null and id > 1 then false else true end
        and exists (select from odd.t2 where t2.id = t.id and (t2.id > 0 or t2.id < 0))
        and id between 1 and 5);`,
    async (tx) => {
      expect(outcomes(await explain(tx, { op: "select", key: 1 }), "p")).toEqual([
        "and: true",
        " or: true",
        "  state = 'a OR b': true",
        `  "Odd ""AND"" name" = 'it''s \\ AND (': false`,
        " not: true",
        "  or: false",
        "   id = ANY (ARRAY[7, 8]): false",
        "   state IS NULL: false",
        " CASE WHEN ((owner IS NULL) AND (id > 1)) THEN false ELSE true END: true",
        " EXISTS ( SELECT FROM odd.t2 WHERE ((t2.id = t.id) AND ((t2.id > 0) OR (t2.id < 0)))): true",
        " and: true",
        "  id >= 1: true",
        "  id <= 5: true",
      ]);
      expect(await attempt(tx, "select from odd.t where id = 1")).toBe(1);
    },
  );
});

test("says what would have to change: the permission, the owner, and other conditions, for each policy", async () => {
  await inOdd(
    `${TABLE} create policy a on odd.t for select to :user using ((select access.has_permission('edit_content')) and state is not null);
      create policy b on odd.t for select to :user using (owner = (select plinth.current_user_id()) and not state = 'it''s \\ AND (');`,
    async (tx) => {
      const { verdict, reason, changes } = await explain(tx, { op: "select", key: 2 });
      expect(await attempt(tx, "select from odd.t where id = 2")).toBe(0);
      expect({ verdict, reason, changes }).toEqual({
        verdict: "denied",
        reason: "The row does not pass the policies for select: the statement succeeds and finds no row.",
        changes: [
          "The policy a on odd.t passes if the user has a role with the permission edit_content.",
          `The policy b on odd.t passes if the row's owner is the id of the user and state = 'it''s \\ AND (' does not hold.`,
        ],
      });
      const editor = await tx.rows<{ id: string }>(
        "select id from identity.users where username = 'edit_content'",
      );
      expect(await explain(tx, { op: "select", key: 2, userId: editor[0]!.id })).toMatchObject({
        verdict: "allowed",
        reason: "The grants are held, and the row passes: a.",
        changes: [],
      });
    },
  );
});

test("requires every restrictive policy besides a permissive one, and names it", async () => {
  await inOdd(
    `${TABLE} create policy open on odd.t to :user using (true);
      create policy fence on odd.t as restrictive for select to :user using (owner is not null);
      comment on policy fence on odd.t is 'Rows without an owner are hidden.';`,
    async (tx) => {
      expect((await explain(tx, { op: "select", key: 1 })).verdict).toBe("allowed");
      const denied = await explain(tx, { op: "select", key: 3 });
      expect(denied.verdict).toBe("denied");
      expect(denied.changes).toEqual([
        "The restrictive policy fence on odd.t must pass: owner IS NOT NULL holds.",
      ]);
      expect(denied.policies.find(({ policy }) => policy === "fence")).toMatchObject({
        is_permissive: false,
        outcome: false,
        description: "Rows without an owner are hidden.",
      });
      expect(await attempt(tx, "select from odd.t where id = 3")).toBe(0);
      await tx.client.query("drop policy open on odd.t");
      const alone = await explain(tx, { op: "select", key: 1 });
      expect(alone.verdict).toBe("denied");
      expect(alone.changes).toEqual([
        `Create a policy for select on odd.t that applies to ${roleName(db.rolePrefix, "user")}.`,
      ]);
      expect(await attempt(tx, "select from odd.t where id = 1")).toBe(0);
    },
  );
});

test("distinguishes the row before and after an update, and that it must stay visible", async () => {
  await inOdd(
    `${TABLE} create policy s on odd.t for select to :user using (state is not null);
      create policy u on odd.t for update to :user using (owner = plinth.current_user_id()) with check (id < 10);`,
    async (tx) => {
      const cases = [
        [1, { state: "x" }, "allowed", 1],
        [1, { id: 11 }, "denied", "42501"],
        [1, { state: null }, "denied", "42501"],
        [2, { state: "x" }, "denied", 0],
        [9, { state: "x" }, "no_row", 0],
      ] as const;
      for (const [key, values, verdict, result] of cases) {
        expect(await explain(tx, { op: "update", key, values })).toMatchObject({ verdict });
        const set = Object.entries(values).map(
          ([name, value]) => `${name} = ${value === null ? "null" : `'${value}'`}`,
        );
        expect(await attempt(tx, `update odd.t set ${set.join()} where id = ${key}`)).toBe(result);
      }
      expect((await explain(tx, { op: "update", key: 1, values: { id: 11 } })).reason).toBe(
        "The new row does not pass the policies for update: the statement fails with 42501.",
      );
      expect((await explain(tx, { op: "update", key: 1, values: { state: null } })).reason).toBe(
        "The new row does not pass the policies for select: the statement fails with 42501.",
      );
    },
  );
});

test("completes a new row with defaults and generated columns, as the user, and asks about RETURNING only if told", async () => {
  await inOdd(
    `create table odd.t (id integer generated always as identity primary key, owner uuid default plinth.current_user_id(),
       n integer not null default 2, twice integer generated always as (n * 2) stored);
      alter table odd.t enable row level security;
      grant select, insert on odd.t to :user;
      create policy i on odd.t for insert to :user with check (owner = plinth.current_user_id() and twice < 10);`,
    async (tx) => {
      expect(await explain(tx, { op: "insert", values: {} })).toMatchObject({ verdict: "allowed" });
      expect(await attempt(tx, "insert into odd.t default values")).toBe(1);
      expect(await explain(tx, { op: "insert", values: { n: 5 } })).toMatchObject({ verdict: "denied" });
      expect(await attempt(tx, "insert into odd.t (n) values (5)")).toBe("42501");
      expect(await explain(tx, { op: "insert", values: { owner: BOB } })).toMatchObject({
        verdict: "denied",
      });
      expect(await explain(tx, { op: "insert", values: {}, returning: true })).toMatchObject({
        verdict: "denied",
      });
      expect(await attempt(tx, "insert into odd.t default values returning id")).toBe("42501");
      expect(await explain(tx, { op: "insert" })).toMatchObject({ verdict: "depends_on_row" });
    },
  );
});

test("names the columns that a grant misses, also those that only find the row", async () => {
  await inOdd(
    `${TABLE} create policy open on odd.t to :user using (true);
      revoke all on odd.t from :user; grant select (id, state), update (state), insert (id) on odd.t to :user;`,
    async (tx, user) => {
      const denied = await explain(tx, {
        op: "update",
        key: { owner: ADA },
        values: { state: "x", owner: BOB },
      });
      expect(denied.verdict).toBe("denied");
      expect(denied.changes).toEqual([
        `Grant update (owner) on odd.t to ${user}.`,
        `Grant select (owner) on odd.t to ${user}.`,
      ]);
      expect(await attempt(tx, `update odd.t set state = 'x' where owner = '${ADA}'`)).toBe("42501");
      expect(await explain(tx, { op: "update", key: 1, values: { state: "x" } })).toMatchObject({
        verdict: "allowed",
      });
      expect(await attempt(tx, "update odd.t set state = 'x' where id = 1")).toBe(1);
      expect(await explain(tx, { op: "delete", key: 1 })).toMatchObject({
        verdict: "denied",
        reason: `The role ${user} lacks delete on odd.t: the statement fails with 42501.`,
      });
      await tx.client.query(`revoke usage on schema odd from ${user}`);
      expect(await explain(tx, { op: "select", key: 1 })).toMatchObject({
        verdict: "denied",
        reason: `The role ${user} lacks usage on schema odd: the statement fails with 42501.`,
      });
    },
  );
});

test("evaluates sub-selects of policies under the policies and grants of their own tables", async () => {
  await inOdd(
    `${TABLE} create table odd.shares (id integer, user_id uuid); alter table odd.shares enable row level security;
      insert into odd.shares values (2, '${ADA}'), (3, '${BOB}');
      create policy own on odd.shares for select to :user using (user_id = plinth.current_user_id());
      create policy shared on odd.t for select to :user using (id in (select s.id from odd.shares s));`,
    async (tx, user) => {
      const broken = await explain(tx, { op: "select", key: 2 });
      expect(broken.verdict).toBe("denied");
      expect(broken.reason).toBe(
        "A policy for select raises an error, and so does the statement: permission denied for table shares (42501).",
      );
      expect(await attempt(tx, "select from odd.t where id = 2")).toBe("42501");
      await tx.client.query(`grant select on odd.shares to ${user}`);
      for (const [key, verdict, rows] of [
        [2, "allowed", 1],
        [3, "denied", 0],
      ] as const) {
        expect(await explain(tx, { op: "select", key })).toMatchObject({ verdict });
        expect(await attempt(tx, `select from odd.t where id = ${key}`)).toBe(rows);
      }
    },
  );
});

test("reports recursion and other errors of a policy without the row's values", async () => {
  await inOdd(
    `${TABLE} create policy p on odd.t for select to :user using (state::integer > 0 or id = 3);
      create table odd.loop (id integer primary key); alter table odd.loop enable row level security;
      grant select on odd.loop to :user; insert into odd.loop values (1);
      create policy p on odd.loop for select to :user using (id in (select l.id from odd.loop l));`,
    async (tx) => {
      const failing = await explain(tx, { op: "select", key: 2 });
      expect(failing.verdict).toBe("denied");
      expect(failing.policies[0]!.parts.map(({ error }) => error)).toEqual(["(22P02)", "(22P02)", null]);
      expect(JSON.stringify(failing)).not.toContain("it's");
      expect(await attempt(tx, "select from odd.t where id = 2")).toBe("22P02");
      expect(await explain(tx, { op: "select", on: "odd.loop", key: 1 })).toMatchObject({
        verdict: "denied",
        reason: expect.stringContaining('infinite recursion detected in policy for relation "loop" (42P17)'),
      });
      expect(await attempt(tx, "select from odd.loop where id = 1")).toBe("42P17");
    },
  );
});

test("treats null as not passing, and reads whole rows", async () => {
  await inOdd(
    `${TABLE} create function odd.is_open(t odd.t) returns boolean language sql stable as $$ select t.state = 'a OR b' $$;
      grant execute on function odd.is_open to :user;
      create policy p on odd.t for select to :user using (odd.is_open(t.*));`,
    async (tx) => {
      for (const [key, outcome, verdict, rows] of [
        [1, true, "allowed", 1],
        [2, false, "denied", 0],
        [3, null, "denied", 0],
      ] as const) {
        const found = await explain(tx, { op: "select", key });
        expect([found.verdict, found.policies[0]!.outcome]).toEqual([verdict, outcome]);
        expect(await attempt(tx, `select from odd.t where id = ${key}`)).toBe(rows);
      }
    },
  );
});

test("applies the policies of the table that is named, parent or partition", async () => {
  await inOdd(
    `create table odd.t (id integer primary key) partition by range (id);
      create table odd.part partition of odd.t for values from (0) to (9);
      alter table odd.t enable row level security; alter table odd.part enable row level security;
      insert into odd.t values (1); grant select on odd.t, odd.part to :user;
      create policy p on odd.t for select to :user using (id = 1);`,
    async (tx) => {
      expect(await explain(tx, { op: "select", key: 1 })).toMatchObject({ verdict: "allowed" });
      expect(await attempt(tx, "select from odd.t where id = 1")).toBe(1);
      expect(await explain(tx, { op: "select", on: "odd.part", key: 1 })).toMatchObject({
        verdict: "denied",
      });
      expect(await attempt(tx, "select from odd.part where id = 1")).toBe(0);
    },
  );
});

test("reads a view's tables as its owner, or as the user if it is a security_invoker, even within another view", async () => {
  await inOdd(
    `${TABLE} create policy own on odd.t for select to :user using (owner = plinth.current_user_id());
      create table odd.secret_rows (id integer);
      create view odd.all_rows as select id, state from odd.t;
      create view odd.my_rows with (security_invoker = true) as select id, state from odd.t;
      create view odd.nested as select id from odd.my_rows;
      create view odd.lost with (security_invoker = true) as select id from odd.secret_rows;
      grant select on odd.all_rows, odd.my_rows, odd.nested, odd.lost to :user;`,
    async (tx, user) => {
      for (const [on, key, verdict] of [
        ["odd.all_rows", 2, "allowed"],
        ["odd.my_rows", 1, "allowed"],
        ["odd.my_rows", 2, "denied"],
        ["odd.my_rows", 9, "no_row"],
        ["odd.nested", 2, "denied"],
      ] as const) {
        expect([on, key, (await explain(tx, { op: "select", on, key: { id: key } })).verdict]).toEqual([
          on,
          key,
          verdict,
        ]);
        expect(await attempt(tx, `select from ${on} where id = ${key}`)).toBe(verdict === "allowed" ? 1 : 0);
      }
      expect((await explain(tx, { op: "select", on: "odd.my_rows", key: { id: 2 } })).changes).toEqual([
        "The policy own on odd.t passes if the row's owner is the id of the user.",
      ]);
      expect(await explain(tx, { op: "delete", on: "odd.all_rows" })).toMatchObject({ verdict: "denied" });
      await tx.client.query(`grant delete on odd.all_rows to ${user}`);
      await expect(explain(tx, { op: "delete", on: "odd.all_rows" })).rejects.toMatchObject({
        code: "PL422",
      });
      const lost = await explain(tx, { op: "select", on: "odd.lost" });
      expect(lost).toMatchObject({
        verdict: "denied",
        changes: [`Grant select (id) on odd.secret_rows to ${user}.`],
      });
      expect(await attempt(tx, "select from odd.lost")).toBe("42501");
    },
  );
});

test("asks owners only about forced policies", async () => {
  await inOdd(`${TABLE}`, async (tx) => {
    const ask = async () => {
      const [found] = await tx.rows<{ verdict: string }>(
        "select verdict from access.explain_access('select', 'odd.t', database_role => 'owner')",
      );
      return found!.verdict;
    };
    expect(await ask()).toBe("allowed");
    await tx.client.query("alter table odd.t force row level security");
    expect(await ask()).toBe("denied");
    await expect(explain(tx, { op: "select", key: 1 })).rejects.toMatchObject({ code: "PL403" });
    expect((await tx.rows("select from odd.t")).length).toBe(0);
  });
});

test("leaves role, claims, writability and data as they were, also if a policy writes or raises", async () => {
  await inOdd(
    `${TABLE} create table odd.log (id integer);
      create function odd.writes(n integer) returns boolean language plpgsql security definer as $$
        begin perform set_config('jwt.claims.user_id', '', true); insert into odd.log values (n); return true; end $$;
      grant execute on function odd.writes to :user;
      create policy p on odd.t for select to :user using (odd.writes(id));`,
    async (tx) => {
      await tx.set("jwt.claims.user_id", BOB);
      const state = () =>
        tx.rows(
          `select current_user, session_user, current_setting('jwt.claims.user_id') as user_id,
             current_setting('transaction_read_only') as read_only, current_setting('search_path') as path`,
        );
      const before = await state();
      expect(await explain(tx, { op: "select", key: 1 })).toMatchObject({
        verdict: "unknown",
        reason: "A policy or a default writes, which an explanation may not.",
      });
      await expect(explain(tx, { op: "select", key: "x" })).rejects.toMatchObject({ code: "PL422" });
      expect(await state()).toEqual(before);
      expect(await tx.rows("select from odd.log")).toEqual([]);
      await tx.rows("insert into odd.log values (1)");
    },
  );
});

test.each([
  ["select", "odd.t; drop table odd.t", undefined, undefined, "PL404"],
  ["select", "odd.t'--", undefined, undefined, "PL404"],
  ["select", "pg_catalog.pg_authid", undefined, undefined, "PL404"],
  ["select", "", undefined, undefined, "PL404"],
  ["execute", "odd.f(); drop table odd.t", undefined, undefined, "PL404"],
  ["execute", "access.has_permission(int)", undefined, undefined, "PL404"],
  ["select; drop table odd.t", "odd.t", undefined, undefined, "PL422"],
  ["select", "odd.t", { "id = 1 or true --": 1 }, undefined, "PL422"],
  ["select", "odd.t", {}, undefined, "PL422"],
  ["select", "odd.t", "1 or true", undefined, "PL422"],
  ["select", "odd.t", { xmin: 1 }, undefined, "PL422"],
  ["select", "odd.t", { state: "double" }, undefined, "PL422"],
  ["insert", "odd.t", undefined, { "id) values (1); --": 1 }, "PL422"],
  ["insert", "odd.t", undefined, { id: "x'" }, "PL422"],
  ["insert", "odd.t", undefined, [1], "PL422"],
])(
  "rejects %s on %j with key %j and values %j, and runs nothing of it",
  async (op, on, key, values, code) => {
    await inOdd(`${TABLE} insert into odd.t values (5, null, 'double'), (6, null, 'double');`, async (tx) => {
      await expect(explain(tx, { op, on, key, values })).rejects.toMatchObject({ code });
      expect(await tx.rows("select from odd.t")).toHaveLength(5);
    });
  },
);

test("passes hostile values as values", async () => {
  const hostile = `x' || (select 'y') || E'\\' $1 :: %I %s "`;
  await inOdd(
    `${TABLE} create policy p on odd.t to :user using (state is not null and "Odd ""AND"" name" is null);`,
    async (tx) => {
      await tx.rows("insert into odd.t values (7, null, $1)", [hostile]);
      expect(await explain(tx, { op: "select", key: { state: hostile } })).toMatchObject({
        verdict: "allowed",
      });
      expect(await explain(tx, { op: "insert", values: { id: 8, state: hostile } })).toMatchObject({
        verdict: "allowed",
      });
      expect(
        await explain(tx, { op: "update", key: 7, values: { 'Odd "AND" name': hostile } }),
      ).toMatchObject({ verdict: "denied" });
    },
  );
});

test("notes accounts that are disabled, roles that have expired and triggers that are not evaluated", async () => {
  await inOdd(
    `${TABLE} create policy p on odd.t to :user using (true);
      create function odd.f() returns trigger language plpgsql as $$ begin return new; end $$;
      create trigger before_change before insert on odd.t for each row execute function odd.f();
      create trigger after_change after insert on odd.t for each row execute function odd.f();
      update identity.users set account_status = 'disabled' where id = '${ADA}';
      insert into access.user_roles (user_id, role_id, granted_at, expires_at)
        select '${ADA}', id, now() - interval '2 days', now() - interval '1 day' from access.roles where role_name = 'moderator';
      update access.roles set requires_mfa = true where role_name = 'user';`,
    async (tx) => {
      const { notes } = await explain(tx, { op: "insert", values: { id: 9 } });
      expect(notes).toEqual([
        "Triggers that run before the change may alter or reject it, and are not evaluated: before_change.",
        "The account is not active, so it holds no permission.",
        "The role moderator has expired.",
        "The role user counts only in a session that has passed a second factor.",
      ]);
    },
  );
});

test("counts roles that require a second factor only in a session that has passed one", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.client.query("update access.roles set requires_mfa = true where role_name = 'manage_users'");
    const [user] = await tx.rows<{ id: string }>(
      "select id from identity.users where username = 'manage_users'",
    );
    const [session] = await tx.rows<{ id: string }>(
      "insert into identity.user_sessions (user_id, authentication_methods) values ($1, '{pwd,mfa}') returning id",
      [user!.id],
    );
    const ask = async (sessionId: string | null) => {
      const [found] = await tx.rows<{ verdict: string }>(
        "select verdict from access.explain_access('select', 'identity.users', $1, $2, session_id => $3)",
        [user!.id, JSON.stringify(ADA), sessionId],
      );
      return found!.verdict;
    };
    expect(await ask(null)).toBe("denied");
    expect(await ask(session!.id)).toBe("allowed");
  });
});

test("tells an owner who may not become the role how to allow it, unless a grant decides", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const analyst = roleName(db.rolePrefix, "analyst");
    const ask = (object: string) =>
      tx.attempt<{ verdict: string }>(
        "select verdict from access.explain_access('select', $1, database_role => 'analyst')",
        [object],
      );
    expect(await ask("llm.chats")).toEqual([{ verdict: "denied" }]);
    await tx.client.query(`grant usage on schema llm to ${analyst}; grant select on llm.chats to ${analyst};
      create policy p on llm.chats for select to ${analyst} using (true)`);
    await expect(ask("llm.chats")).rejects.toMatchObject({
      code: "PL403",
      hint: expect.stringContaining(`grant ${analyst} to `),
    });
  });
});
