import type pg from "pg";

/** People of the demo who cannot sign in: they are there so that plots and lists have something to show. */
const PEOPLE =
  "amina bjorn chiara dmitri elif farid gudrun haruto ines jamal katya liam mei noor oskar priya quentin rosa sami tove umar vera wanjiru yusuf";

/**
 * Writes three months of sign-ins, use, payments and errors. The same days have the same numbers at each start, because chance comes from
 * a hash.
 * @param client connected as the owner, in a transaction
 */
export async function writeHistory(client: pg.ClientBase): Promise<void> {
  // A number from 0 to 1 for a text.
  await client.query(`
    create function pg_temp.chance(seed text) returns double precision language sql immutable
    as $$ select ('x' || substr(md5(seed), 1, 8))::bit(32)::bigint / 4294967296.0 $$`);
  await client.query(
    `insert into identity.users (username, email, email_verified_at, created_at)
     select name, name || '@example.com', at, at
     from unnest(string_to_array($1, ' ')) name
     cross join lateral (select now() - pg_temp.chance(name) * interval '80 days' as at) a`,
    [PEOPLE],
  );
  // On a working day, half of those who have an account sign in.
  await client.query(
    `with visits as (
       select u.id, u.username, d.at - pg_temp.chance(u.username || n || 'hour') * interval '10 hours' as at,
         pg_temp.chance(u.username || n || 'outcome') as outcome
       from generate_series(0, 89) n
       cross join lateral (select date_trunc('day', now(), 'UTC') - n * interval '1 day' + interval '19 hours' as at) d
       cross join identity.users u
       where u.username = any (string_to_array($1, ' '))
         and pg_temp.chance(u.username || n) < case when extract(isodow from d.at) > 5 then 0.2 else 0.55 end
     )
     insert into security.login_attempts (user_id, email, status, failure_reason, created_at)
     select v.id, v.username, o.status, o.reason, v.at
     from visits v
     join identity.users u on u.id = v.id and u.created_at <= v.at
     cross join lateral (
       select 'success' as status, null as reason
       union all select 'failed', 'wrong_password' where v.outcome < 0.14
       union all select 'locked', 'account_locked' where v.outcome < 0.015
     ) o
     where v.at <= now()`,
    [PEOPLE],
  );
  // Each successful visit of the last two months may use a model.
  await client.query(
    `select private.record_usage(
       v.user_id, m.id, (6000 + 90000 * pg_temp.chance(v.id::text || 'in'))::bigint, (800 + 14000 * pg_temp.chance(v.id::text || 'out'))::bigint,
       'demo ' || v.place, 0, 0, v.created_at
     )
     from (
       select l.id, l.user_id, l.created_at, row_number() over (order by l.created_at, l.email) as place
       from security.login_attempts l
       where l.status = 'success' and l.failure_reason is null and l.created_at > now() - interval '60 days'
         and l.email = any (string_to_array($1, ' '))
     ) v
     join (select m.id, row_number() over (order by m.name) as place from llm.models m) m
       on m.place = 1 + floor(4 * power(pg_temp.chance('model' || v.place), 1.6))
     where pg_temp.chance('use' || v.place) < 0.45`,
    [PEOPLE],
  );
  await client.query(
    `insert into billing.payments (user_id, provider, provider_payment_id, amount_cents, refunded_cents, currency, paid_at, created_at)
     select u.id, 'demo', 'demo_' || u.username || n,
       a.amount, case when pg_temp.chance(u.username || n || 'refund') < 0.06 then a.amount else 0 end, 'USD', p.at, p.at
     from identity.users u
     cross join generate_series(0, 2) n
     cross join lateral (
       select u.created_at + n * interval '30 days' + pg_temp.chance(u.username) * interval '20 hours' as at
     ) p
     cross join lateral (select (array[1900, 1900, 4900])[1 + floor(3 * pg_temp.chance(u.username || 'plan'))] as amount) a
     where u.username = any (string_to_array($1, ' ')) and pg_temp.chance(u.username || 'pays') < 0.8 and p.at <= now()`,
    [PEOPLE],
  );
  await client.query(
    `insert into security.error_logs (id, message, error_code, source, created_at)
     select plinth.uuid_v7(), 'Part of the demo.', (array['57014', 'ECONNRESET', '40001'])[1 + floor(3 * power(pg_temp.chance('code' || n), 2))],
       'demo', now() - power(pg_temp.chance('error' || n), 1.3) * interval '85 days'
     from generate_series(1, 42) n`,
  );
  // Rows of past months move out of the default partitions.
  await client.query("select private.ensure_partitions()");
  await client.query("drop function pg_temp.chance(text)");
}
