import { randomInt, randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type pg from "pg";
import { addModel, grantRole, registerUser } from "../support/accounts.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
  withClient,
} from "../support/database.ts";

let db: TestDatabase;
let ada: string;
let admin: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await registerUser(db, "ada");
  admin = await registerUser(db, "admin");
  await grantRole(db, admin, "admin");
});
afterAll(async () => {
  await db.drop();
});

const WATCHED = [
  "access.casbin_models",
  "access.permissions",
  "access.plan_model_access",
  "access.role_model_access",
  "access.role_permissions",
  "access.roles",
  "access.user_model_access",
  "access.user_roles",
  "billing.model_prices",
  "billing.plan_prices",
  "billing.subscription_plans",
  "billing.usage_limits",
  "identity.data_rights_settings",
  "identity.user_security_settings",
  "identity.user_settings",
  "identity.users",
  "learning.user_content_permissions",
  "llm.model_providers",
  "llm.models",
  "security.legal_holds",
  "security.rate_limit_rules",
  "security.retention_policies",
  "security.suspicious_activity_rules",
];

/** The entries that a statement added to the trail, as the owner reads them. */
async function trailOf(tx: Transaction, sql: string, params: unknown[] = []) {
  await tx.rows(sql, params);
  await tx.asOwner();
  return tx.rows<Record<string, unknown>>(
    "select * from security.audit_trail where transaction_number = pg_current_xact_id()::text::bigint order by id",
  );
}

describe("the audit trail [A5]", () => {
  test("records the actor, the old and new values, the address and the transaction", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await tx.set("plinth.client_ip", "192.0.2.7");
      await tx.set("plinth.correlation_id", "request-1");
      const trail = await trailOf(
        tx,
        "update identity.user_settings set display_name = 'Ada L.', llm_model = 'm'",
      );
      expect(trail).toEqual([
        expect.objectContaining({
          table_name: "identity.user_settings",
          operation: "UPDATE",
          row_key: { user_id: ada },
          user_id: ada,
          actor_id: ada,
          changed_columns: ["display_name", "llm_model"],
          old_values: { display_name: null, llm_model: null },
          new_values: { display_name: "Ada L.", llm_model: "m" },
          ip_address: "192.0.2.7",
          correlation_id: "request-1",
          // If the tests' own role is not a superuser, it cannot log in as another.
          source: db.adminIsSuperuser ? expect.stringContaining("authenticator") : expect.any(String),
        }),
      ]);
    });
  });

  test("records an administrator's change to another user with both accounts", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(admin);
      await tx.rows("select access.grant_role($1, 'moderator')", [ada]);
      const trail = await trailOf(tx, "select access.revoke_role($1, 'moderator')", [ada]);
      expect(trail).toEqual([
        expect.objectContaining({ operation: "INSERT", user_id: ada, actor_id: admin, old_values: null }),
        expect.objectContaining({
          operation: "DELETE",
          user_id: ada,
          actor_id: admin,
          new_values: null,
          row_key: { user_id: ada, role_id: expect.any(String) },
          old_values: expect.objectContaining({ granted_by: admin }),
        }),
      ]);
    });
  });

  test("skips columns that change at each sign-in and values that did not change", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.rows(
        "select security.track_login_attempt($1, 'ada', null, null, 'failed', 'wrong_password')",
        [ada],
      );
      await tx.rows("select security.track_login_attempt($1, 'ada', null, null, 'success', null)", [ada]);
      expect(await trailOf(tx, "update identity.users set username = username")).toEqual([]);
    });
  });

  test("receives entries from every watched table and from no other", async () => {
    const rows = await withClient(db.url("owner"), (client) =>
      client.query(
        `select tgrelid::regclass::text as name, tgtype & 28 as events
         from pg_trigger where tgfoid = 'private.record_data_change'::regproc order by 1`,
      ),
    );
    const names = rows.rows.map(({ name }) => (name.includes(".") ? name : name));
    expect(names).toHaveLength(WATCHED.length);
    // 4 insert, 8 delete, 16 update
    for (const row of rows.rows) expect(row.events).toBe(28);
    await inRolledBackTransaction(db, async (tx) => {
      await tx.client.query("set local search_path = ''");
      const qualified = await tx.rows<{ name: string }>(
        "select tgrelid::regclass::text as name from pg_trigger where tgfoid = 'private.record_data_change'::regproc order by 1",
      );
      expect(qualified.map(({ name }) => name)).toEqual(WATCHED);
    });
  });

  test("names existing columns and the whole primary key in every trigger's arguments", async () => {
    const wrong = await withClient(db.url("owner"), (client) =>
      client.query(
        `select t.tgrelid::regclass::text as name, a.name as missing
         from pg_trigger t
         cross join lateral unnest(string_to_array(encode(t.tgargs, 'escape'), '\\000')) with ordinality g (arg, n)
         cross join lateral unnest(string_to_array(g.arg, ',')) a (name)
         where t.tgfoid = 'private.record_data_change'::regproc and a.name <> ''
           and not exists (select from pg_attribute c where c.attrelid = t.tgrelid and c.attname = a.name and not c.attisdropped)
         union all
         select i.indrelid::regclass::text, c.attname
         from pg_index i
         join pg_attribute c on c.attrelid = i.indrelid and c.attnum = any (i.indkey)
         join pg_trigger t on t.tgrelid = i.indrelid and t.tgfoid = 'private.record_data_change'::regproc
         where i.indisprimary and c.attname <> all (string_to_array(split_part(encode(t.tgargs, 'escape'), '\\000', 1), ','))`,
      ),
    );
    expect(wrong.rows).toEqual([]);
  });

  test("watches every column that is not noise, where a trigger lists its columns", async () => {
    const { rows } = await withClient(db.url("owner"), (client) =>
      client.query(
        `select t.tgrelid::regclass::text as name, c.attname as unwatched
         from pg_trigger t
         join pg_attribute c on c.attrelid = t.tgrelid and c.attnum > 0 and not c.attisdropped
         where t.tgfoid = 'private.record_data_change'::regproc
           and cardinality(t.tgattr::smallint[]) > 0
           and c.attnum <> all (t.tgattr::smallint[])
           and c.attname <> all (string_to_array(split_part(encode(t.tgargs, 'escape'), '\\000', 3), ','))`,
      ),
    );
    expect(rows).toEqual([]);
  });
});

describe("the audit trail without secrets", () => {
  /** Columns that sound like a secret but are not. */
  const HARMLESS = [
    "billing.model_prices.cached_input_price_per_million_tokens",
    "billing.model_prices.input_price_per_million_tokens",
    "billing.model_prices.output_price_per_million_tokens",
    "billing.model_prices.reasoning_price_per_million_tokens",
    "billing.subscription_plans.token_quota",
    "billing.usage_limits.max_tokens",
    "identity.users.email_verified_at", // a time
    "identity.users.password_changed_at", // a time
    "identity.users.phone_verified_at", // a time
    "identity.users.token_version", // a counter
  ];
  interface Column {
    readonly name: string;
    readonly table: string;
    readonly column: string;
    readonly type: string;
    readonly hidden: boolean;
  }
  const columns = () =>
    withClient(db.url("owner"), async (client) => {
      await client.query("set search_path = ''");
      const { rows } = await client.query<Column>(
        `select t.tgrelid::regclass || '.' || c.attname as name, t.tgrelid::regclass::text as table, c.attname as column,
           format_type(c.atttypid, null) as type,
           c.attname = any (
             string_to_array(split_part(encode(t.tgargs, 'escape'), '\\000', 3), ',')
             || string_to_array(split_part(encode(t.tgargs, 'escape'), '\\000', 4), ',')
           ) as hidden
         from pg_trigger t
         join pg_attribute c on c.attrelid = t.tgrelid and c.attnum > 0 and not c.attisdropped
         where t.tgfoid = 'private.record_data_change'::regproc
         order by 1`,
      );
      return rows;
    });

  test("keeps no column that sounds like one or holds bytes, an address or free-form JSON", async () => {
    const suspects = (await columns()).filter(
      ({ column, type, hidden }) =>
        !hidden &&
        (/(password|passwd|secret|token|hash|key|cipher|encrypt|sealed|salt|credential|otp|email|phone)/.test(
          column,
        ) ||
          /^(bytea|jsonb?)$/.test(type)),
    );
    expect(suspects.map(({ name }) => name)).toEqual(HARMLESS);
  });

  /** A row of tables without a user_id; $2 is a model or an account. */
  const ROW_OF: Record<string, string> = {
    "identity.users": "id = $2",
    "llm.model_providers": "id = (select provider_id from llm.models where id = $2)",
    "llm.models": "id = $2",
  };

  test("contains no canary from hidden columns and no password", async () => {
    const canary = `canary${randomUUID()}`;
    const phone = `+4915${String(randomInt(1e9)).padStart(9, "0")}`;
    const model = await addModel(db, { isPublic: true });
    await inRolledBackTransaction(db, async (tx) => {
      const planted: string[] = [];
      await tx.rows("insert into security.legal_holds (user_id, reason) values ($1, 'Case 4711')", [ada]);
      for (const { table, column, type, hidden } of await columns()) {
        // A plan's terms do not change, so the canary is planted in a new plan. The parsed form of a model is computed.
        if (!hidden || !/^(text|jsonb)$/.test(type) || table === "billing.subscription_plans") continue;
        if (table === "access.casbin_models") continue;
        const value =
          type === "jsonb"
            ? JSON.stringify({ x: canary })
            : column === "email"
              ? `${canary}@example.com`
              : column === "phone_number"
                ? phone
                : `https://example.com/${canary}`;
        const also = column === "phone_number" ? ", phone_verified_at = now()" : "";
        await tx.rows(`update ${table} set ${column} = $1${also} where ${ROW_OF[table] ?? "user_id = $2"}`, [
          value,
          table.startsWith("llm.") ? model : ada,
        ]);
        planted.push(`${table}.${column}`);
      }
      expect(planted).toEqual([
        "identity.user_settings.llm_endpoint",
        "identity.user_settings.preferences",
        "identity.users.email",
        "identity.users.metadata",
        "identity.users.phone_number",
        "identity.users.profile_data",
        "llm.model_providers.api_url",
        "llm.models.config",
        "security.legal_holds.reason",
      ]);
      await tx.rows("select private.register_user('eve', $1, null, $2, 'argon2id')", [
        `${canary}2@example.com`,
        `$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$${canary.replaceAll("-", "")}`,
      ]);
      await tx.rows(
        "insert into billing.subscription_plans (code, plan_name, price_cents, features) values ('planted', 'Planted', 1, $1)",
        [JSON.stringify({ x: canary })],
      );
      const trail = await trailOf(tx, "select");
      expect(trail).toContainEqual(
        expect.objectContaining({
          table_name: "billing.subscription_plans",
          new_values: expect.objectContaining({ price_cents: 1 }),
        }),
      );
      // The trail still records that they changed.
      for (const name of planted)
        expect(trail).toContainEqual(
          expect.objectContaining({
            table_name: name.split(".").slice(0, 2).join("."),
            changed_columns: expect.arrayContaining([name.split(".")[2]]),
          }),
        );
      expect(JSON.stringify(trail)).not.toContain("canary");
      expect(JSON.stringify(trail)).not.toContain(phone.slice(1));
    });
  });
});

describe("the deletion of an account", () => {
  let eve: string;
  /** Sorts before all entries of the test. */
  let start: string;
  const newStart = async () => {
    const { rows } = await withClient(db.url("owner"), (client) =>
      client.query("select plinth.uuid_v7() as id"),
    );
    return rows[0].id as string;
  };
  beforeEach(async () => {
    start = await newStart();
    eve = await registerUser(db, `eve${randomUUID().slice(0, 8)}`);
  });
  /** The nil UUID replaces the account's id in the keys of its rows. */
  const trailAbout = (id: string = "00000000-0000-0000-0000-000000000000") =>
    withClient(db.url("owner"), (client) =>
      client.query(
        "select * from security.audit_trail where row_key::text like '%' || $1 || '%' and id > $2 order by id",
        [id, start],
      ),
    );

  test("removes its values from the trail and keeps the events [A5]", async () => {
    await withClient(db.url("owner"), async (client) => {
      await client.query("update identity.user_settings set display_name = 'Mallory' where user_id = $1", [
        eve,
      ]);
      expect(JSON.stringify((await trailAbout(eve)).rows)).toContain("Mallory");
      await client.query("delete from identity.users where id = $1", [eve]);
    });
    expect((await trailAbout(eve)).rows).toEqual([]);
    const { rows } = await trailAbout();
    expect(rows.map(({ table_name, operation }) => `${operation} ${table_name}`).sort()).toEqual([
      "DELETE access.user_roles",
      "DELETE identity.user_security_settings",
      "DELETE identity.user_settings",
      "DELETE identity.users",
      "INSERT access.user_roles",
      "INSERT identity.user_security_settings",
      "INSERT identity.user_settings",
      "INSERT identity.users",
      "UPDATE identity.user_settings",
    ]);
    for (const row of rows) expect(row).toMatchObject({ user_id: null, old_values: null, new_values: null });
  });

  /**
   * Rarely, a change of an account's row and the deletion of the account wait for each other: PostgreSQL waits for newer versions of a row
   * that is being locked, `skip locked` or not. Clients receive CONFLICT and retry. Locks in the wrong order wait elsewhere.
   */
  const repeated = (client: pg.Client, sql: string, params: unknown[]): Promise<unknown> =>
    client.query(sql, params).catch((error: pg.DatabaseError) => {
      if (
        error.code !== "40P01" ||
        !/while locking updated version .* in relation "users"/.test(error.where ?? "")
      )
        throw error;
      return repeated(client, sql, params);
    });

  /** Of two that wait for each other, PostgreSQL cancels the one that looks first: never this one, so that each change tells where it waited. */
  const deleteAccount = (id: string) =>
    withClient(db.adminUrl, async (client) => {
      if (db.adminIsSuperuser) await client.query("set deadlock_timeout = '1h'");
      await client.query(`set role ${db.rolePrefix}_owner`);
      await client.query("delete from identity.users where id = $1", [id]);
    });

  test("is neither blocked nor broken by changes of its rows on other connections [A5]", async () => {
    for (let round = 0; round < 15; round++) {
      start = await newStart();
      const user = await registerUser(db, `frank${randomUUID().slice(0, 8)}`);
      const change = (set: string) =>
        withClient(db.url("owner"), async (client) => {
          for (let i = 0; i < 5; i++) await repeated(client, set.replace("?", String(i)), [user]);
        });
      await Promise.all([
        change("update identity.user_settings set display_name = 'n?' where user_id = $1"),
        change(
          "update identity.user_security_settings set session_timeout_minutes = 10 + ? where user_id = $1",
        ),
        change("update identity.users set password_changed_at = now() where id = $1"),
        change(
          "update access.user_roles set expires_at = now() + interval '1 day' * (? + 1) where user_id = $1",
        ),
        deleteAccount(user),
      ]);
      expect((await trailAbout(user)).rows).toEqual([]);
      const { rows } = await trailAbout();
      expect(rows.length).toBeGreaterThan(7);
      for (const row of rows)
        expect(row).toMatchObject({ user_id: null, old_values: null, new_values: null });
    }
  });

  test("keeps the changes that the account made [A5]", async () => {
    await withClient(db.url("owner"), async (client) => {
      await client.query("begin");
      await client.query("select set_config('jwt.claims.user_id', $1, true)", [eve]);
      await client.query("update identity.user_settings set display_name = 'by eve' where user_id = $1", [
        ada,
      ]);
      await client.query("commit");
      await client.query("delete from identity.users where id = $1", [eve]);
    });
    const { rows } = await trailAbout(ada);
    expect(rows.at(-1)).toMatchObject({
      user_id: ada,
      actor_id: null,
      new_values: { display_name: "by eve" },
    });
  });
});

test("shows users the changes about them without an administrator's address [A5]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asUser(admin);
    await tx.set("plinth.client_ip", "192.0.2.99");
    await tx.rows("select access.grant_role($1, 'moderator')", [ada]);
    await tx.asUser(ada);
    await tx.rows("update identity.user_settings set display_name = 'me'");
    const own = await tx.rows<{ actor_id: string }>("select * from security.audit_trail");
    expect(own.length).toBeGreaterThan(0);
    for (const row of own) expect(row).toMatchObject({ user_id: ada });
    expect(JSON.stringify(own)).not.toContain(admin);
    await tx.asUser(admin);
    const all = await tx.rows("select * from security.audit_trail where actor_id = $1 and user_id = $2", [
      admin,
      ada,
    ]);
    expect(all).toHaveLength(1);
    await tx.asAnonymous();
    await expect(tx.attempt("select from security.audit_trail")).rejects.toMatchObject({ code: "42501" });
  });
});
