import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// Rules that hold for every present and future object, read from the live catalogue. Exceptions are listed by name with a
// reason; a listed exception that no longer occurs fails as well.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

const DOMAINS = `('plinth', 'identity', 'access', 'billing', 'llm', 'rooms', 'learning', 'security', 'analytics', 'private')`;
const FROM_EXTENSION = (catalogue: string, oid: string) =>
  `exists (select from pg_depend d where d.classid = '${catalogue}'::regclass and d.objid = ${oid} and d.deptype = 'e')`;

async function names(sql: string): Promise<string[]> {
  return withClient(db.url("owner"), async (client) => {
    await client.query("set search_path = ''"); // so that regclass prints schema names
    const { rows } = await client.query<{ name: string }>(sql);
    return rows.map((row) => row.name).sort();
  });
}

const RELATIONS = `pg_class c join pg_namespace n on n.oid = c.relnamespace and n.nspname in ${DOMAINS}`;
const FUNCTIONS = `pg_proc p join pg_namespace n on n.oid = p.pronamespace and n.nspname in ${DOMAINS}
  and not ${FROM_EXTENSION("pg_proc", "p.oid")}`;
// Enums, domains and composite types; every relation has a type of its own, which is none of these.
const TYPES = `pg_type t join pg_namespace n on n.oid = t.typnamespace and n.nspname in ${DOMAINS}
  and not ${FROM_EXTENSION("pg_type", "t.oid")}
  and (t.typtype in ('e', 'd') or exists (select from pg_class k where k.oid = t.typrelid and k.relkind = 'c'))`;

test("the domains contain objects, so that the rules below check something", async () => {
  expect(
    (await names(`select c.relname as name from ${RELATIONS} where c.relkind in ('r', 'p')`)).length,
  ).toBeGreaterThan(15);
  expect((await names(`select p.proname as name from ${FUNCTIONS}`)).length).toBeGreaterThan(30);
});

describe("row security", () => {
  test("is enabled on every table, including partitions and private tables", async () => {
    expect(
      await names(
        `select c.oid::regclass::text as name from ${RELATIONS} where c.relkind in ('r', 'p') and not c.relrowsecurity`,
      ),
    ).toEqual([]);
  });

  test("is not bypassed by views that an API role can read, except the public profile and the reads of one's own data", async () => {
    expect(
      await names(`
        select c.oid::regclass::text as name from ${RELATIONS}
        where c.relkind = 'v' and n.nspname <> 'analytics'
          and not coalesce('security_invoker=true' = any (c.reloptions), false)`),
    ).toEqual(["identity.profiles", "security.my_personal_data_reads"]);
  });

  test("keeps private tables without policies and grants", async () => {
    expect(
      await names(`
        select c.oid::regclass::text as name from ${RELATIONS}
        where n.nspname = 'private' and c.relkind in ('r', 'p')
          and (exists (select from pg_policy where polrelid = c.oid)
            or exists (select from aclexplode(c.relacl) a where a.grantee <> c.relowner))`),
    ).toEqual([]);
  });
});

describe("comments", () => {
  test("exist on every table and view", async () => {
    expect(
      await names(`
        select c.oid::regclass::text as name from ${RELATIONS}
        where c.relkind in ('r', 'p', 'v', 'm') and obj_description(c.oid, 'pg_class') is null`),
    ).toEqual([]);
  });
  test("exist on every column", async () => {
    expect(
      await names(`
        select c.oid::regclass || '.' || a.attname as name from ${RELATIONS}
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
          and col_description(c.oid, a.attnum) is null`),
    ).toEqual([]);
  });
  test("exist on every function", async () => {
    expect(
      await names(`
        select p.oid::regprocedure::text as name from ${FUNCTIONS}
        where obj_description(p.oid, 'pg_proc') is null`),
    ).toEqual([]);
  });
  test("exist on every policy and schema", async () => {
    expect(
      await names(`
        select polname || ' on ' || c.oid::regclass as name from pg_policy join ${RELATIONS} on c.oid = polrelid
        where obj_description(pg_policy.oid, 'pg_policy') is null
        union all
        select nspname from pg_namespace where nspname in ${DOMAINS} and obj_description(oid, 'pg_namespace') is null`),
    ).toEqual([]);
  });
});

describe("comments of schemas, relations, columns, functions, types and policies", () => {
  const texts = `(
    select 'schema' as kind, n.nspname::text as name, n.nspname::text as own_name, obj_description(n.oid, 'pg_namespace') as raw
    from pg_namespace n
    where n.nspname in ${DOMAINS}
    union all
    select 'relation', c.oid::regclass::text, c.relname, obj_description(c.oid, 'pg_class')
    from ${RELATIONS}
    where c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
    union all
    select 'column', c.oid::regclass || '.' || a.attname, a.attname, col_description(c.oid, a.attnum)
    from ${RELATIONS}
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relkind in ('r', 'p', 'v', 'm', 'c') and not c.relispartition
    union all
    select 'function', p.oid::regprocedure::text, p.proname, obj_description(p.oid, 'pg_proc')
    from ${FUNCTIONS}
    union all
    select 'type', t.oid::regtype::text, t.typname, obj_description(t.oid, 'pg_type')
    from ${TYPES}
    union all
    select 'policy', p.polname || ' on ' || c.oid::regclass, p.polname, obj_description(p.oid, 'pg_policy')
    from pg_policy p
    join ${RELATIONS} on c.oid = p.polrelid
  ) x
  -- without smart tags, which are lines of their own; a missing comment is an empty one
  cross join lateral (select btrim(regexp_replace(coalesce(x.raw, ''), '^@.*$', '', 'gn'), E'\\n ') as text) t`;

  test("cover objects of every kind, so that the rules below have something to hold for", async () => {
    expect(await names(`select distinct kind as name from ${texts}`)).toEqual([
      "column",
      "function",
      "policy",
      "relation",
      "schema",
      "type",
    ]);
  });

  test("do not begin with a question word or an indefinite person", async () => {
    expect(
      await names(`
        select name || ': ' || text as name from ${texts}
        where text ~* '^(from|to|in|on|of|by|at|as of|for|with|since|until)?\\s*(who|whom|whose|whoever|what|whatever|when|where|which|how|why|nobody|somebody|someone|everybody)\\M'
          or text ~* '^(from then on|as of|one|no one)\\M' and text !~ '^One row\\M'`),
    ).toEqual([]);
  });

  test("say more than a word, and those of all but columns more than two", async () => {
    expect(
      await names(`
        select name || ': ' || text as name from ${texts}
        where length(text) < 9 or text !~ '\\w \\w' and text !~ '^Id \\(UUIDv7\\)'
          or kind <> 'column' and cardinality(regexp_split_to_array(text, '\\s+')) < 3`),
    ).toEqual([]);
  });

  test("do not repeat the object's name in other spacing", async () => {
    const letters = (sql: string) => `regexp_replace(lower(${sql}), '[^a-z0-9]', '', 'g')`;
    expect(
      await names(`
        select name || ': ' || text as name from ${texts} where ${letters("text")} = ${letters("own_name")}`),
    ).toEqual([]);
  });

  test("begin with a capital letter and end with a full stop", async () => {
    expect(
      await names(
        `select name || ': ' || text as name from ${texts} where text !~ '^[[:upper:]]' or text !~ '[.]$'`,
      ),
    ).toEqual([]);
  });
});

describe("keys and indexes", () => {
  test("include an index for every foreign key that starts with its columns", async () => {
    expect(
      await names(`
        select k.conrelid::regclass || ' ' || k.conname as name from pg_constraint k
        join ${RELATIONS} on c.oid = k.conrelid
        where k.contype = 'f' and k.conparentid = 0
          and not exists (
            select from pg_index i
            where i.indrelid = k.conrelid and i.indpred is null
              and (select array_agg(x order by x) from unnest((i.indkey::int2[])[0:cardinality(k.conkey) - 1]) x)
                = (select array_agg(x order by x) from unnest(k.conkey) x))`),
    ).toEqual([]);
  });

  test("include a foreign key on every column that references another row", async () => {
    const exceptions = [
      "access.casbin_changes.rule_id", // outlives the rule
      "access.casbin_models.created_by", // names an account or a database role
      "access.casbin_models.updated_by", // names an account or a database role
      "access.casbin_rules.created_by", // names an account or a database role
      "access.casbin_rules.updated_by", // names an account or a database role
      "access.casbin_versions.created_by", // names an account or a database role
      "billing.payments.provider_payment_id", // names a row of the payment provider's
      "billing.payments.provider_subscription_id", // names a row of the payment provider's
      "billing.plan_prices.provider_price_id", // names a row of the payment provider's
      "billing.provider_customers.provider_customer_id", // names a row of the payment provider's
      "billing.token_grants.source_id", // names its source, in any table
      "billing.token_holds.model_id", // every call would lock the model's row; daily_usage has the foreign key
      "billing.token_holds.usage_event_id", // the partition key is settled_at
      "billing.token_holds.user_id", // kept by billing.forget_usage_account
      "billing.usage_events.chat_id", // usage outlives the chat
      "billing.usage_events.corrects_event_id", // the event may lie in any partition
      "billing.usage_events.hold_id", // usage outlives the hold
      "billing.usage_events.message_id", // usage outlives the message
      "billing.usage_events.model_id", // daily_usage has the foreign key
      "billing.usage_events.price_id", // imports replace prices; the unit prices are pinned
      "billing.usage_events.user_id", // kept by billing.forget_usage_account
      "billing.user_subscriptions.provider_subscription_id", // names a row of the payment provider's
      "identity.oauth_profiles.provider_user_id", // names a person at another provider
      "plinth.external_ids.external_id", // names a row of another system
      "plinth.external_ids.row_id", // names a row of any table
      "private.archive_erasures.user_id", // names an account that is deleted
      "private.audit_commitments.row_id", // outlives the row
      "private.erasures_in_progress.requested_by", // a kind of requester
      "private.erasures_in_progress.user_id", // outlives the account within a statement
      "private.passkeys.credential_id", // names a key on a user's device
      "private.payment_events.provider_customer_id", // names a row of the payment provider's
      "private.payment_events.provider_event_id", // names a row of the payment provider's
      "private.provider_cancellations.provider_subscription_id", // names a row of the payment provider's
      "private.provider_invoices.provider_payment_id", // names a row of the payment provider's
      "private.provider_subscriptions.provider_customer_id", // names a row of the payment provider's
      "private.provider_subscriptions.provider_price_id", // names a row of the payment provider's
      "private.provider_subscriptions.provider_subscription_id", // names a row of the payment provider's
      "private.recorded_heartbeats.event_id", // the client's id of the event
      "private.refresh_tokens.parent_id", // the parent is cleaned up first, and the lock order matters
      "private.room_turns.answer_id", // becomes the idempotency key of a message
      "private.room_turns.claim_id", // names a claim, not a row
      "private.token_blacklist.subject_id", // outlives the session or account it names
      "private.turns.claim_id", // names a claim, not a row
      "private.usage_keys.event_id", // the event may lie in any partition
      "security.audit_trail.api_token_id", // outlives the token
      "security.audit_trail.correlation_id", // names a request, not a row
      "security.audit_trail.session_id", // outlives the session
      "security.erasure_certificates.requested_by", // a kind of requester
      "security.error_logs.correlation_id", // names a request, not a row
      "security.login_attempts.correlation_id", // names a request, not a row
      "security.personal_data_reads.api_token_id", // outlives the token
      "security.personal_data_reads.correlation_id", // names a request, not a row
      "security.personal_data_reads.read_id", // joins the rows of one read
      "security.security_audit_log.api_token_id", // outlives the token
      "security.security_audit_log.correlation_id", // names a request, not a row
      "security.security_audit_log.session_id", // outlives the session
    ];
    expect(
      await names(`
        select c.oid::regclass || '.' || a.attname as name from ${RELATIONS}
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind in ('r', 'p') and not c.relispartition and a.attname ~ '_(id|by)$'
          and not exists (
            select from pg_constraint k
            where k.conrelid = c.oid and k.contype = 'f' and a.attnum = any (k.conkey))`),
    ).toEqual(exceptions);
  });

  test("include no two equal indexes on a table", async () => {
    expect(
      await names(`
        select a.indexrelid::regclass || ' = ' || b.indexrelid::regclass as name
        from pg_index a join pg_index b on a.indrelid = b.indrelid and a.indexrelid < b.indexrelid
        join ${RELATIONS} on c.oid = a.indrelid
        where a.indkey = b.indkey and a.indclass = b.indclass
          and coalesce(pg_get_expr(a.indpred, a.indrelid), '') = coalesce(pg_get_expr(b.indpred, b.indrelid), '')`),
    ).toEqual([]);
  });

  test("include no index that repeats the leading columns of another", async () => {
    expect(
      await names(`
        select a.indexrelid::regclass || ' is a prefix of ' || b.indexrelid::regclass as name
        from pg_index a join pg_index b on a.indrelid = b.indrelid and a.indexrelid <> b.indexrelid
        join ${RELATIONS} on c.oid = a.indrelid and not c.relispartition
        join pg_class ai on ai.oid = a.indexrelid join pg_class bi on bi.oid = b.indexrelid and bi.relam = ai.relam
        where not a.indisunique and a.indpred is null and b.indpred is null
          and a.indexprs is null and a.indnatts = a.indnkeyatts and a.indnkeyatts < b.indnkeyatts
          and (a.indkey::int2[])[0:a.indnkeyatts - 1] = (b.indkey::int2[])[0:a.indnkeyatts - 1]
          and (a.indclass::oid[])[0:a.indnkeyatts - 1] = (b.indclass::oid[])[0:a.indnkeyatts - 1]
          and (a.indcollation::oid[])[0:a.indnkeyatts - 1] = (b.indcollation::oid[])[0:a.indnkeyatts - 1]
          and (a.indoption::int2[])[0:a.indnkeyatts - 1] = (b.indoption::int2[])[0:a.indnkeyatts - 1]`),
    ).toEqual([]);
  });

  test("include a primary key on every table", async () => {
    expect(
      await names(`
        select c.oid::regclass::text as name from ${RELATIONS}
        where c.relkind in ('r', 'p') and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)`),
    ).toEqual([]);
  });

  test("table names are unique across the domains, so that a prompt needs no schema names", async () => {
    expect(
      await names(`
        select c.relname as name from ${RELATIONS}
        where c.relkind in ('r', 'p', 'v', 'm') and n.nspname <> 'analytics'
        group by c.relname having count(*) > 1`),
    ).toEqual([]);
  });

  test("a name of a view of analytics means the view to analysts, and the table of that name to the owner", async () => {
    const meant = (role: "analyst" | "owner") =>
      withClient(db.url(role), async (client) => {
        const { rows } = await client.query<{ name: string; schema: string }>(`
          select v.relname as name, m.relnamespace::regnamespace::text as schema
          from pg_class v
          join pg_class m on m.oid = to_regclass(quote_ident(v.relname))
          where v.relnamespace = 'analytics'::regnamespace and v.relkind in ('v', 'm') order by 1`);
        return Object.fromEntries(rows.map(({ name, schema }) => [name, schema]));
      });
    const analyst = await meant("analyst");
    expect(new Set(Object.values(analyst))).toEqual(new Set(["analytics"]));
    const owner = await meant("owner");
    expect(Object.keys(owner)).toEqual(Object.keys(analyst));
    expect(owner).toMatchObject({ users: "identity", login_attempts: "security", audit_logs: "analytics" });
    // A name in two schemas means the one outside of analytics.
    const shared = await names(`
      select distinct c.relname as name from ${RELATIONS}
      where c.relkind in ('r', 'p', 'v', 'm') and n.nspname <> 'analytics'
        and exists (select from pg_class v where v.relnamespace = 'analytics'::regnamespace and v.relname = c.relname and v.relkind in ('v', 'm'))`);
    expect(shared.length).toBeGreaterThan(10);
    expect(shared.filter((name) => owner[name] === "analytics")).toEqual([]);
  });
});

describe("functions", () => {
  test("are not executable by PUBLIC", async () => {
    expect(
      await names(`
        select p.oid::regprocedure::text as name from ${FUNCTIONS}
        where has_function_privilege('public', p.oid, 'execute')`),
    ).toEqual([]);
  });

  test("list their dependencies if columns are computed by them, so that one restore of a dump succeeds", async () => {
    // pg_dump reads dependencies from a parsed body, not from a string.
    const found = await names(`
      select distinct p.oid::regprocedure::text as name
      from pg_depend d
      join pg_proc p on d.refclassid = 'pg_proc'::regclass and p.oid = d.refobjid
      join pg_namespace n on n.oid = p.pronamespace and n.nspname not in ('pg_catalog', 'information_schema')
      where d.classid = 'pg_attrdef'::regclass`);
    expect(found).toContain("learning.search_document(text,text,text,text[])");
    const strings = await names(`
      select p.oid::regprocedure::text as name
      from pg_proc p
      where p.oid::regprocedure::text = any ('{${found.map((name) => `"${name}"`).join(",")}}')
        and p.prosqlbody is null
        and exists (
          select
          from pg_proc f
          join pg_namespace n on n.oid = f.pronamespace and n.nspname not in ('pg_catalog', 'information_schema')
          where p.prosrc like '%' || n.nspname || '.' || f.proname || '(%'
        )`);
    expect(strings).toEqual([]);
  });

  test("pin their search_path to schemas that no caller can write to, if they run with the owner's rights", async () => {
    expect(
      await names(`
        select p.oid::regprocedure::text as name from ${FUNCTIONS}
        where p.prosecdef and not coalesce('search_path=pg_catalog' = any (p.proconfig), false)`),
    ).toEqual([]);
  });
});

describe("partitioned logs", () => {
  test("have partitions for this month and three ahead, and a default", async () => {
    const tables = await names(
      `select c.oid::regclass::text as name from ${RELATIONS} where c.relkind = 'p'`,
    );
    expect(tables.length).toBeGreaterThan(0);
    // This month is that of the migrations: another one may have begun since, or even while they ran.
    const starts = await names(
      "select distinct to_char(date at time zone 'UTC', 'YYYY_MM') as name from plinth_migrate.migrations",
    );
    const monthsFrom = (start: string) => {
      const [year, month] = start.split("_").map(Number) as [number, number];
      return Array.from({ length: 4 }, (_, i) =>
        new Date(Date.UTC(year, month - 1 + i)).toISOString().slice(0, 7).replace("-", "_"),
      );
    };
    const partitions = await names(
      `select c.oid::regclass::text as name from ${RELATIONS} where c.relispartition and c.relkind = 'r'`,
    );
    for (const table of tables) {
      const own = partitions
        .filter((name) => name.startsWith(`${table}_`))
        .map((name) => name.slice(table.length + 1));
      expect(starts).toContain(own[0]);
      expect(own).toEqual(expect.arrayContaining([...monthsFrom(own[0]!), "default"]));
    }
  });
});
