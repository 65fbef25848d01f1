import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { roleName } from "../../src/config/roles.ts";
import { seedActors } from "../support/access-seed.ts";
import { CANARY } from "../support/canaries.ts";
import { CANARY_ADDRESSES, plantCanariesEverywhere } from "../support/canaries-everywhere.ts";
import { enableSystems } from "../support/compat.ts";
import { type CompatCaller, callerOf } from "../support/compat-callers.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import {
  HARMLESS_FUNCTIONS,
  MANAGED,
  NOT_SECRET,
  SHARED,
  WORDS_OF_THE_PRODUCT,
} from "./compat-exceptions.ts";

// A walk over all compatibility schemas, as they are: who may use them, which rows and columns each caller sees, and whose rows can be
// written. A new schema needs no test here, at most an exception in
// compat-exceptions.ts.

/** Rows that the seed lacks, and secrets in formats that no canary has. */
const SECRETS = `
  insert into private.user_passwords (user_id, password_hash)
    select id, '$argon2id$v=19$m=1,t=1,p=1$${CANARY}$${CANARY}' from identity.users where username in ('ada', 'bob');
  insert into private.password_history (user_id, password_hash, hash_algorithm)
    select user_id, password_hash, hash_algorithm from private.user_passwords;
  insert into private.user_keys (user_id, purpose, wrapped_key)
    select id, 'memories', 'v1.' || rpad('${CANARY}', 43, 'x') from identity.users where username in ('ada', 'bob')
    on conflict on constraint user_keys_user_id_purpose_key do update set wrapped_key = excluded.wrapped_key;
  insert into private.token_blacklist (kind, subject_id, reason) values ('token', gen_random_uuid(), 'logout');
  insert into private.refresh_tokens (session_id, user_id, token_hash, expires_at)
    select s.id, s.user_id, sha256(s.id::text::bytea), s.expires_at from identity.user_sessions s;
  insert into private.password_reset_tokens (user_id, token_hash)
    select id, sha256(id::text::bytea) from identity.users where username in ('ada', 'bob');
  insert into private.user_verifications (user_id, kind, new_value, token_hash, expires_at)
    select id, 'email', 'x@example.com', sha256(id::text::bytea), now() from identity.users where username in ('ada', 'bob');
  insert into security.rate_limit_records (key_hash, algorithm, window_start, window_end, request_count, limit_value)
    values (sha256('probe'), 'fixed_window', now(), now() + interval '1 hour', 1, 1);
  refresh materialized view analytics.subscription_metrics;
  refresh materialized view analytics.content_popularity;`;

interface View {
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly string[];
  readonly inserts: boolean;
  readonly updates: boolean;
  readonly deletes: boolean;
}

let db: TestDatabase;
let views: View[];
let ada: string;
let bob: string;
beforeAll(async () => {
  db = await createTestDatabase();
  const actors = await seedActors(db);
  ada = actors.get("ada")!.userId!;
  bob = actors.get("bob")!.userId!;
  await asOwner(SECRETS);
  await enableSystems(db);
  views = (await asOwner(
    `select n.nspname as schema, c.relname as name,
       array(
         select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 order by a.attnum
       ) as columns,
       bool_or(t.tgtype & 4 > 0) as inserts, bool_or(t.tgtype & 16 > 0) as updates, bool_or(t.tgtype & 8 > 0) as deletes
     from pg_class c
     join pg_namespace n on n.oid = c.relnamespace
     left join pg_trigger t on t.tgrelid = c.oid
     where n.nspname ~ '^compat_' and c.relkind = 'v'
     group by n.nspname, c.relname, c.oid
     order by 1, 2`,
  )) as View[];
});
afterAll(() => db.drop());

const asOwner = rowsAs("owner", () => db);
const named = ({ schema, name }: View) => `${schema}.${name}`;
const role = (name: Parameters<typeof roleName>[1]) => roleName(db.rolePrefix, name);

/** Reads every view as a caller. */
async function readAll(caller: CompatCaller): Promise<Map<View, pg.QueryResultRow[]>> {
  return callerOf(db, "pg_catalog", caller, async (client) => {
    const found = new Map<View, pg.QueryResultRow[]>();
    for (const view of views) found.set(view, (await client.query(`select * from ${named(view)}`)).rows);
    return found;
  });
}

/** The person of a row, by the id that the system uses. */
const personOf = (view: View, row: pg.QueryResultRow): unknown =>
  view.name === "users" ? row.id : row.user_id;

/** The ids of an account in each system: the number, or its own id. */
async function idsOf(userId: string): Promise<string[]> {
  const rows = await asOwner("select number from plinth.external_ids where row_id = $1", [userId]);
  return [userId, ...rows.map(({ number }) => String(number))];
}

test("there are views, and each shows rows", async () => {
  const rows = await readAll("application");
  expect(views.length).toBeGreaterThan(10);
  expect([...rows].filter(([, found]) => found.length === 0).map(([view]) => named(view))).toEqual([]);
});

test("only the three callers may use a view, and none of them reads past a policy", async () => {
  const grants = await asOwner(
    `select distinct pg_get_userbyid(e.grantee) as grantee
     from pg_class c
     join pg_namespace n on n.oid = c.relnamespace
     cross join aclexplode(c.relacl) e
     where n.nspname ~ '^compat_' and e.grantee <> c.relowner
     union
     select pg_get_userbyid(e.grantee)
     from pg_namespace n
     cross join aclexplode(n.nspacl) e
     where n.nspname ~ '^compat(_|$)' and e.grantee <> n.nspowner
     order by 1`,
  );
  expect(grants.map(({ grantee }) => grantee)).toEqual(
    ([role("analyst"), role("application"), role("compat"), role("user")] as string[]).sort(),
  );
  for (const view of views)
    for (const name of ["anonymous", "authenticator", "service", "worker"] as const)
      expect(
        await asOwner("select has_table_privilege($1, $2, 'select') as may", [role(name), named(view)]),
      ).toEqual([{ may: false }]);

  expect(
    await asOwner(
      `select c.oid::regclass::text as view, pg_get_userbyid(c.relowner) as owner
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       where n.nspname ~ '^compat_' and c.relkind = 'v' and c.relowner <> $1::regrole`,
      [role("compat")],
    ),
  ).toEqual([]);
  expect(
    await asOwner(
      "select rolname from pg_roles where rolname = any ($1) and (rolsuper or rolbypassrls or rolcreaterole)",
      [[role("compat"), role("application")]],
    ),
  ).toEqual([]);
  // Its policies are those of users, and one that asks for the caller.
  expect(
    await asOwner(
      `select distinct p.polname ~ '^compat_' as is_ours, pg_get_expr(p.polqual, p.polrelid) as condition
       from pg_policy p
       where $1::regrole = any (p.polroles) and p.polrelid <> 'plinth.external_ids'::regclass
         and p.polrelid not in (select oid from pg_class where relnamespace = 'private'::regnamespace)`,
      [role("compat")],
    ),
  ).toEqual([{ is_ours: true, condition: "( SELECT compat.reads_all() AS reads_all)" }]);
});

test("a function with the owner's rights is the application's alone", async () => {
  const functions = await asOwner(
    `select p.oid::regprocedure::text as function, pg_get_userbyid(e.grantee) as grantee
     from pg_proc p
     join pg_namespace n on n.oid = p.pronamespace
     cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) e
     where n.nspname ~ '^compat(_|$)' and p.prosecdef and e.grantee not in (p.proowner, $1::regrole)
       and not p.oid::regprocedure::text = any ($2)`,
    [role("application"), HARMLESS_FUNCTIONS],
  );
  expect(functions).toEqual([]);
});

test("an analyst cannot call the functions that policies ask", async () => {
  // The grants are there, because policies call them as the analyst.
  const granted = await asOwner(
    `select p.oid::regprocedure::text as name, n.nspname as schema, has_schema_privilege($1, n.oid, 'usage') as reachable
     from pg_proc p
     join pg_namespace n on n.oid = p.pronamespace
     where has_function_privilege($1, p.oid, 'execute') and n.nspname in ('access', 'identity', 'billing', 'llm', 'rooms', 'plinth')`,
    [role("analyst")],
  );
  expect(granted.length).toBeGreaterThan(3);
  expect(granted.filter(({ reachable }) => reachable)).toEqual([]);
});

test("no view reads a column of secrets", async () => {
  const read = await asOwner(
    `with columns as (
       -- Objects that the rule of a view uses.
       select d.refobjid as source, d.refobjsubid as number
       from pg_depend d
       join pg_rewrite r on r.oid = d.objid
       join pg_class v on v.oid = r.ev_class
       join pg_namespace n on n.oid = v.relnamespace
       where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and n.nspname ~ '^compat_'
       union
       select a.attrelid, a.attnum
       from pg_attribute a
       join pg_class c on c.oid = a.attrelid
       where c.relnamespace = 'private'::regnamespace and has_column_privilege($1, c.oid, a.attnum, 'select')
     )
     select distinct n.nspname || '.' || c.relname || '.' || a.attname as column
     from columns k
     join pg_class c on c.oid = k.source and c.relkind in ('r', 'p')
     join pg_namespace n on n.oid = c.relnamespace
     join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number and a.attnum > 0
     left join security.personal_data d on d.schema_name = n.nspname and d.table_name = c.relname and d.column_name = a.attname
     where d.class = 'credential' or private.is_secret_column(c.oid, a.attname, a.atttypid)
     order by 1`,
    [role("compat")],
  );
  expect(read.map(({ column }) => column)).toEqual(NOT_SECRET);
});

test("everything has a comment", async () => {
  expect(
    await asOwner(
      `with ours as (select oid from pg_namespace where nspname ~ '^compat(_|$)')
       select c.oid::regclass::text as missing from pg_class c
       where c.relnamespace in (select oid from ours) and c.relkind in ('v', 'r', 'S') and obj_description(c.oid, 'pg_class') is null
       union all
       select c.oid::regclass || '.' || a.attname
       from pg_class c
       join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
       where c.relnamespace in (select oid from ours) and c.relkind = 'v' and col_description(c.oid, a.attnum) is null
       union all
       select p.oid::regprocedure::text from pg_proc p
       where p.pronamespace in (select oid from ours) and obj_description(p.oid, 'pg_proc') is null
       union all
       select p.polrelid::regclass || '.' || p.polname from pg_policy p
       where p.polname ~ '^compat_' and obj_description(p.oid, 'pg_policy') is null`,
    ),
  ).toEqual([]);
});

test("with the claims of ada, no row of bob is in any view", async () => {
  const bobs = await idsOf(bob);
  const all = await readAll("application");
  for (const caller of [{ user: ada }, { application: ada }])
    for (const [view, rows] of await readAll(caller)) {
      const isBobs = (row: pg.QueryResultRow) => bobs.includes(String(personOf(view, row)));
      const leaked = rows.filter(isBobs);
      // Otherwise the exception has no reason.
      if (SHARED.includes(named(view)))
        expect([view, all.get(view)!.filter(isBobs).length > 0]).toEqual([view, true]);
      else expect([named(view), leaked]).toEqual([named(view), []]);
    }
});

test("with the claims of ada, no trigger writes a row of bob", async () => {
  const bobs = await idsOf(bob);
  const all = await readAll("application");
  for (const caller of [{ user: ada }, { application: ada }])
    await callerOf(db, "pg_catalog", caller, async (client) => {
      const attempt = async (sql: string, values: unknown[] = []): Promise<number> => {
        await client.query("savepoint attempt");
        try {
          return (await client.query(sql, values)).rowCount ?? 0;
        } catch {
          return 0;
        } finally {
          await client.query("rollback to savepoint attempt");
        }
      };
      for (const view of views) {
        const rows = all.get(view)!.filter((row) => bobs.includes(String(personOf(view, row))));
        if (rows.length === 0 || MANAGED.includes(named(view))) continue;
        const person = view.name === "users" ? "id" : "user_id";
        const theirs = `${person}::text = any ($1)`;
        const outcomes = {
          updated: view.updates
            ? await Promise.resolve(view.columns).then(async (columns) => {
                let count = 0;
                for (const column of columns)
                  count += await attempt(
                    `update ${named(view)} set ${pg.escapeIdentifier(column)} = ${pg.escapeIdentifier(column)} where ${theirs}`,
                    [bobs],
                  );
                return count;
              })
            : 0,
          deleted: view.deletes ? await attempt(`delete from ${named(view)} where ${theirs}`, [bobs]) : 0,
          inserted: view.inserts
            ? await attempt(
                `insert into ${named(view)} select * from json_populate_recordset(null::${named(view)}, $1)`,
                [JSON.stringify(rows)],
              )
            : 0,
        };
        expect([named(view), caller, outcomes]).toEqual([
          named(view),
          caller,
          { updated: 0, deleted: 0, inserted: 0 },
        ]);
      }
    });
});

test("with the claims of ada, the application neither learns ids of bob's rows nor renumbers them, and grants no plan", async () => {
  const [session] = await asOwner(
    "select number from plinth.external_ids where system = 'cedrina' and relation = 'sessions' and user_id = $1",
    [bob],
  );
  for (const [caller, sql, values, code] of [
    [{ user: ada }, "select compat.row_id('cedrina', 'sessions', $1)", [session!.number], "23503"],
    [{ application: ada }, "select compat.row_id('cedrina', 'sessions', $1)", [session!.number], "23503"],
    [{ application: ada }, "select compat.renumber('headphone', 'users', $1, 7777)", [bob], "PL403"],
    // A plan that costs money needs more than claims.
    [{ application: ada }, "update compat_headphone.subscriptions set plan_type = 'premium'", [], "PL403"],
    [{ application: ada }, "update compat_headphone.usage_tracking set token_count = 0", [], "PL403"],
    [{ application: ada }, "update compat_cedrina.users set tier = 'pro'", [], "PL403"],
  ] as const)
    await expect(
      callerOf(db, "pg_catalog", caller, (client) => client.query(sql, [...values])),
    ).rejects.toMatchObject({ code });
  await callerOf(db, "pg_catalog", "application", async (client) => {
    await client.query("select compat.row_id('cedrina', 'sessions', $1)", [session!.number]);
    await client.query("select compat.renumber('headphone', 'users', $1, 7777)", [bob]);
    expect((await client.query("select username from compat_headphone.users where id = 7777")).rows).toEqual([
      { username: "bob" },
    ]);
  });
});

test("only the application acts for a user, and only while the claims name none", async () => {
  const actFor = async (caller: CompatCaller) =>
    callerOf(db, "pg_catalog", caller, async (client) => {
      await client.query("select compat.act_for($1)", [bob]);
      const { rows } = await client.query("select current_setting('jwt.claims.user_id', true) as user");
      return rows[0]!.user;
    });
  expect(await actFor("application")).toBe(bob);
  expect(await actFor({ application: ada })).toBe(ada);
  expect(await actFor({ user: ada })).toBe(ada);
  expect(await actFor({ user: "" })).toBe("");
  await expect(actFor("analyst")).rejects.toMatchObject({ code: "42501" });
  for (const caller of [{ application: ada }, { user: ada }])
    await expect(
      callerOf(db, "pg_catalog", caller, (client) => client.query("select compat.act_as($1)", [bob])),
    ).rejects.toMatchObject({ code: "PL403" });
});

test("the application writes only the columns of tables that its views write", async () => {
  const writable = await asOwner(
    `select c.oid::regclass::text as table
     from pg_class c
     join pg_namespace n on n.oid = c.relnamespace and n.nspname !~ '^compat'
     where c.relkind in ('r', 'p')
       and (has_table_privilege($1, c.oid, 'insert') or has_table_privilege($1, c.oid, 'update')
         or has_table_privilege($1, c.oid, 'truncate, references, trigger'))
       and not has_table_privilege($2, c.oid, 'insert') and not has_table_privilege($2, c.oid, 'update')`,
    [role("application"), role("user")],
  );
  expect(writable).toEqual([]);
  await callerOf(db, "pg_catalog", "application", async (client) => {
    for (const sql of [
      "update identity.user_sessions set user_id = $1",
      "update identity.user_sessions set ended_at = null where user_id = $1",
      "update identity.users set created_at = 'epoch' where id = $1",
      "update llm.messages set user_id = $1",
      "update access.user_roles set granted_by = $1",
    ]) {
      await client.query("savepoint attempt");
      await expect(client.query(sql, [bob])).rejects.toMatchObject({ code: "42501" });
      await client.query("rollback to attempt");
    }
  });
});

test("the rules of Plinth hold for the application", async () => {
  const hold = await asOwner(
    "insert into security.legal_holds (user_id, reason) values ($1, 'a lawsuit') returning id",
    [bob],
  );
  await callerOf(db, "pg_catalog", "application", async (client) => {
    const attempt = async (sql: string, values: unknown[] = []) => {
      await client.query("savepoint attempt");
      const code = await client.query(sql, values).then(
        ({ rowCount }) => `${rowCount} rows`,
        (error: pg.DatabaseError) => error.code,
      );
      await client.query("rollback to attempt");
      return code;
    };
    // A legal hold, the last administrator, append-only logs.
    for (const schema of ["headphone", "socializer", "cedrina", "rovertchat", "ai_training"])
      expect([schema, await attempt(`delete from compat_${schema}.users where username = 'bob'`)]).toEqual([
        schema,
        "PL409",
      ]);
    expect(await attempt("update compat_cedrina.users set is_active = false")).toBe("PL409");
    expect(
      await attempt(
        "delete from compat_headphone.user_roles u using compat_headphone.roles r where r.id = u.role_id",
      ),
    ).toBe("PL409");
    expect(await attempt("delete from compat_cedrina.audit_logs")).toBe("PL403");
    expect(await attempt("update compat_ai_training.security_audit_log set event_type = 'x'")).toBe("42501");
    // The setting of an import keeps times only in the owner's sessions.
    await client.query("set local plinth.keeps_times = 'on'");
    expect(
      (
        await client.query(
          "update compat_cedrina.users set updated_at = 'epoch', metadata = '{\"x\": 1}' where username = 'bob' returning updated_at > now() - interval '1 minute' as is_now",
        )
      ).rows,
    ).toEqual([{ is_now: true }]);
    // An event has the time of its transaction, and says which login wrote it.
    await client.query(
      "insert into compat_cedrina.audit_logs (event_type, created_at, source) values ('forged', 'epoch', 'plinth')",
    );
    // Each write is in the trail, with the login.
    expect(
      (
        await client.query(
          `select l.source = session_user as names_login, l.created_at = now() as is_now
           from security.security_audit_log l where l.event_type = 'forged'`,
        )
      ).rows,
    ).toEqual([{ names_login: true, is_now: true }]);
    expect(
      (
        await client.query(
          "select distinct source = session_user as names_login from security.audit_trail where user_id = $1 and created_at = now()",
          [bob],
        )
      ).rows,
    ).toEqual([{ names_login: true }]);
  });
  await asOwner("delete from security.legal_holds where id = $1", [hold[0]!.id]);
});

/** Rows of 3,000 more accounts with numbers, without the triggers that would write more of them. */
const MANY = `
  set local session_replication_role = replica;
  create temporary table many as
    select plinth.uuid_v7() as id, row_number() over () + 10000 as number from generate_series(1, 3000);
  insert into identity.users (id, username, email) select id, 'many-' || number, 'many-' || number || '@example.com' from many;
  insert into identity.user_settings (user_id) select id from many;
  insert into identity.user_sessions (id, user_id, expires_at) select id, id, now() + interval '1 day' from many;
  insert into access.user_roles (user_id, role_id) select m.id, r.id from many m, access.roles r where r.role_name = 'user';
  insert into security.security_audit_log (id, user_id, event_type, source, correlation_id)
    select id, id, 'many', 'many', 'many-' || number from many;
  insert into security.rate_limit_records
    (id, key_hash, algorithm, window_start, window_end, request_count, limit_value, metadata)
    select id, sha256(id::text::bytea), 'fixed_window', now(), now() + interval '1 hour', 1, 1,
      jsonb_build_object('cedrina', jsonb_build_object('key_hash', 'many-' || number))
    from many;
  insert into rooms.chat_rooms (id, creator_id, name, room_type) select id, id, 'many', 'group' from many;
  insert into rooms.room_members (id, room_id, user_id, role) select id, id, id, 'creator' from many;
  insert into rooms.room_messages (id, room_id, sender_id, sender_type, message_type, content)
    select id, id, id, 'user', 'text', 'many' from many;
  insert into llm.prompts (id, user_id, name, content) select id, id, 'many', 'many' from many;
  insert into llm.user_prompts (user_id, prompt_id, usage_count) select id, id, 1 from many;
  insert into llm.chats (id, user_id, title) select id, id, 'many' from many;
  insert into llm.messages (chat_id, user_id, role, content, depth) select id, id, 'user', 'many', 1 from many;
  insert into private.token_blacklist (id, kind, subject_id, reason) select id, 'token', id, 'logout' from many;
  insert into security.login_attempts (user_id, email, status) select id, 'many@example.com', 'success' from many;
  insert into plinth.external_ids (system, relation, external_id, row_id, user_id)
    select r.system, r.relation, m.number::text, m.id, m.id
    from many m, (select distinct x.system, x.relation from plinth.external_ids x) r;
  insert into plinth.external_ids (system, relation, external_id, row_id, user_id)
    select 'socializer', 'users_hashed_email', 'hash-' || number, id, id from many;
  update plinth.external_ids x set external_id = 'many-' || m.number
    from many m where x.relation = 'token_blacklist_jti' and x.row_id = m.id;
  analyze;`;

/** Tables of MANY. */
const LARGE =
  /Seq Scan on (users|user_settings|user_sessions|user_roles|external_ids|security_audit_log_\w+|rate_limit_records|chat_rooms|token_blacklist|room_members|room_messages|prompts|user_prompts|chats|messages|login_attempts_\w+) .*rows=\d{3,}/;

const POINT_QUERIES = {
  headphone: [
    "users where id = 10007",
    "users where username = 'many-10007'",
    "users where email = 'many-10007@example.com'",
    "sessions where user_id = 10007",
    "preferences where user_id = 10007",
    "user_roles where user_id = 10007",
    "prompts where id = 10007",
    "user_prompts where user_id = 10007",
  ],
  socializer: [
    "users where id = 10007",
    "users where username = 'many-10007'",
    "users where hashed_email = 'hash-10007'",
    "chat_rooms where id = 10007",
    "room_members where user_id = 10007",
    "room_messages where room_id = 10007",
    "token_blacklist where jti = 'many-10007'",
  ],
  cedrina: [
    "users where id = 10007",
    "users where username = 'many-10007'",
    "users where email = 'many-10007@example.com'",
    "sessions where user_id = 10007",
    "audit_logs where id = 10007",
    "audit_logs where user_id = 10007",
    "audit_logs where correlation_id = 'many-10007'",
    "rate_limit_records where key_hash = 'many-10007'",
  ],
  rovertchat: [
    "users where username = 'many-10007'",
    "users where id = $1",
    "chats where user_id = $1",
    "messages where chat_id = $1",
  ],
  ai_training: [
    "users where email = 'many-10007@example.com'",
    "user_roles where user_id = $1",
    "user_sessions where user_id = $1",
    "login_attempts where user_id = $1",
    "security_audit_log where user_id = $1",
  ],
};

test("no caller scans a large table for one row or the rows of one user", async () => {
  await withClient(db.adminUrl, async (client) => {
    await client.query(`begin; ${MANY}`);
    const { rows } = await client.query<{ id: string }>("select id from many where number = 10007");
    await client.query("set local session_replication_role = origin");
    for (const [caller, claims] of [
      ["application", ""],
      ["application", rows[0]!.id],
      ["user", rows[0]!.id],
      ["analyst", ""],
    ] as const) {
      await client.query("select set_config('role', $1, true), set_config('jwt.claims.user_id', $2, true)", [
        role(caller),
        claims,
      ]);
      for (const [system, queries] of Object.entries(POINT_QUERIES))
        for (const query of queries) {
          const sql = `select * from compat_${system}.${query.replace("$1", `'${rows[0]!.id}'`)}`;
          const { rows: lines } = await client.query(`explain ${sql}`);
          const scans = lines.map((line) => line["QUERY PLAN"]).filter((line) => LARGE.test(line));
          expect([caller, sql, scans]).toEqual([caller, sql, []]);
        }
      await client.query("reset role");
    }
    await client.query("rollback");
  });
});

/** Columns of views that contain a canary. */
async function canariesSeenBy(caller: CompatCaller): Promise<string[]> {
  const texts = [CANARY, ...CANARY_ADDRESSES];
  const found = new Set<string>();
  for (const [view, rows] of await readAll(caller))
    for (const row of rows)
      for (const [column, value] of Object.entries(row)) {
        const text = Buffer.isBuffer(value) ? value.toString() : JSON.stringify(value);
        if (texts.some((canary) => text?.includes(canary))) found.add(`${named(view)}.${column}`);
      }
  return [...found].sort();
}

// The last two change every row.

test("no secret is in any view", async () => {
  const planted = await withClient(db.url("owner"), (client) =>
    plantCanariesEverywhere(
      client,
      `n.nspname = 'private' and not has_column_privilege('${role("compat")}', c.oid, a.attnum, 'select')
       or exists (
         select from security.personal_data d
         where d.schema_name = n.nspname and d.table_name = c.relname and d.column_name = a.attname and d.class = 'credential'
       )`,
    ),
  );
  expect(planted).toContain("private.refresh_tokens.token_hash");
  for (const caller of ["application", "analyst", { user: bob }, { application: bob }] as const)
    expect(await canariesSeenBy(caller)).toEqual([]);
});

test("no name, address or text is in a view that an analyst reads", async () => {
  await withClient(db.url("owner"), (client) =>
    plantCanariesEverywhere(
      client,
      `n.nspname <> 'private' and c.oid <> 'plinth.external_ids'::regclass
       and c.oid in (select s.source from compat.sources() s)`,
    ),
  );
  // The application sees them, so they were there.
  expect((await canariesSeenBy("application")).length).toBeGreaterThan(3);
  expect(await canariesSeenBy("analyst")).toEqual(WORDS_OF_THE_PRODUCT);
});
