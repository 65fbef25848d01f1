import type pg from "pg";

/** Marks personal text; no account, address or fixture contains it. */
export const CANARY = "canary7c1f";
/** Likewise for a network address (RFC 5737). */
export const CANARY_ADDRESS = "203.0.113.77";

interface Column {
  readonly table: string;
  readonly column: string;
  readonly type: string;
  /** Columns that link a row of the table to a user. */
  readonly owners: readonly string[];
}

/** Columns of text, addresses, JSON and bytes in every table whose rows can belong to a user, found in the catalogue. */
const COLUMNS = `
  select c.oid::regclass::text as "table", quote_ident(a.attname) as column, t.typname as type, o.owners
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
  join pg_type d on d.oid = a.atttypid
  join pg_type t
    on t.oid = coalesce(nullif(d.typbasetype, 0), d.oid)
    and t.typname in ('text', 'varchar', '_text', 'citext', 'inet', '_cidr', 'jsonb', 'json', 'bytea', 'tsvector')
  cross join lateral (
    select array_agg(quote_ident(u.attname) order by u.attnum) as owners
    from pg_attribute u
    where u.attrelid = c.oid and u.attnum > 0 and not u.attisdropped and u.atttypid = 'uuid'::regtype
      and (
        u.attname = 'user_id'
        or c.oid = 'identity.users'::regclass and u.attname = 'id'
        or exists (
          select from pg_constraint k
          where k.conrelid = c.oid and k.contype = 'f' and k.confrelid = 'identity.users'::regclass
            and u.attnum = any (k.conkey)
        )
      )
  ) o
  where c.relkind in ('r', 'p') and not c.relispartition
    and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'plinth_jobs', 'plinth_migrate')
    and o.owners is not null
  order by 1, a.attnum`;

/** Values to fill a column with, the most telling first: its constraints decide which of them it accepts. */
const FILLINGS: Readonly<Record<string, readonly string[]>> = {
  text: [`'${CANARY}@example.com'`, `'${CANARY}'`, `'https://${CANARY}.example.com'`, `'+49${CANARY}'`],
  varchar: [`'${CANARY}'`],
  _text: [`array['${CANARY}']`],
  inet: [`'${CANARY_ADDRESS}'`],
  jsonb: [
    `'{"canary": "${CANARY}", "from_address": "${CANARY_ADDRESS}"}'`,
    `'["${CANARY}"]'`,
    `'"${CANARY}"'`,
  ],
  json: [`'{"canary": "${CANARY}"}'`],
  citext: [`'${CANARY}'`],
  _cidr: [`'{${CANARY_ADDRESS}/32}'`],
  // Also as long as a digest.
  bytea: [`'${CANARY}'`, `convert_to(rpad('${CANARY}', 32, 'x'), 'UTF8')`],
  tsvector: [`'${CANARY}'`],
};

/**
 * Plants canaries in every column that accepts one, in every row that belongs to an account. Returns these columns as
 * `table.column`. Runs as the owner of the tables, with triggers and constraints on.
 * @param except columns, as `table.column`, to leave unchanged
 */
export async function plantCanaries(
  client: pg.ClientBase,
  userId: string,
  except: ReadonlySet<string> = new Set(),
): Promise<Set<string>> {
  await client.query("set search_path = ''");
  const { rows: columns } = await client.query<Column>(COLUMNS);
  const planted = new Set<string>();
  for (const { table, column, type, owners } of columns) {
    if (except.has(`${table}.${column}`)) continue;
    const isTheirs = owners.map((owner) => `t.${owner} = $1`).join(" or ");
    const { rows } = await client.query<{ tableoid: number; ctid: string }>(
      `select t.tableoid, t.ctid from ${table} t where ${isTheirs}`,
      [userId],
    );
    // Row by row: a constraint may allow it in one row and not in another.
    for (const { tableoid, ctid } of rows)
      for (const filling of FILLINGS[type] ?? []) {
        const { rowCount } = await client
          .query(`update ${table} t set ${column} = ${filling} where t.tableoid = $1 and t.ctid = $2`, [
            tableoid,
            ctid,
          ])
          .catch(() => ({ rowCount: 0 }));
        if (!rowCount) continue;
        planted.add(`${table}.${column}`);
        break;
      }
  }
  return planted;
}
