import type pg from "pg";
import type { TestDatabase } from "./database.ts";
import { withClient } from "./database.ts";

/** Ids of the generated rows, the same in every table, so that every reference finds a row. */
export const rowId = (n: number): string => `0190f000-0000-7000-8000-${String(n).padStart(12, "0")}`;

/** Rows of each of the two families, see `makeRowsOfEveryTable`. */
const FAMILY = 8;

interface Column {
  readonly table: string;
  readonly name: string;
  readonly type: string;
  readonly category: string;
  readonly modifier: number;
  readonly nullable: boolean;
  readonly ordinal: number;
  readonly default: string | null;
  /** Labels of an enum, or values that a CHECK allows. */
  readonly allowed: readonly string[] | null;
  /** This column's place in each unique key it belongs to. */
  readonly places: readonly Place[];
  /** True if it refers to a row of its own table; such rows must not form a circle. */
  readonly isParent: boolean;
}

type Place = "sole" | "first" | "last" | "middle";

/**
 * Fills every table of these schemas, known or not, with rows that are hard to page: nulls, ties, and infinities wherever
 * a type has them. In one family of rows the last column of each key varies, in the other the first, so that a list by
 * either has rows. Constraints other than keys are dropped first, so the database is good for nothing else afterwards.
 */
export async function makeRowsOfEveryTable(db: TestDatabase, schemas: readonly string[]): Promise<void> {
  await withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<Column>(COLUMNS, [schemas]);
    await dropRules(client, schemas);
    for (const [table, columns] of Map.groupBy(rows, ({ table }) => table))
      for (let n = 0; n < 2 * FAMILY; n++) {
        const values = columns.map((column) => nthValue(column, n));
        await client
          .query(
            `insert into ${table} (${columns.map(({ name }) => name).join(", ")})
             values (${columns.map(({ type }, i) => `$${i + 1}::text::${type}`).join(", ")})
             on conflict do nothing`,
            values,
          )
          .catch((error: Error) => {
            throw new Error(`No row of ${table} can be made: ${error.message}\n${JSON.stringify(values)}`);
          });
      }
    await client.query("analyze");
  });
}

/** Generic rows do not obey the application's rules. */
async function dropRules(client: pg.Client, schemas: readonly string[]): Promise<void> {
  const { rows } = await client.query<{ statement: string }>(
    `select format('alter table %s disable trigger user', c.oid::regclass) as statement
     from pg_class c
     where c.relnamespace = any ($1::text[]::regnamespace[]) and c.relkind in ('r', 'p')
     union all
     select format('alter table %s drop constraint %I', k.conrelid::regclass, k.conname)
     from pg_constraint k
     where k.connamespace = any ($1::text[]::regnamespace[])
       and k.contype in ('f', 'c') and k.conparentid = 0 and k.coninhcount = 0 and k.conrelid <> 0
     union all
     select format('drop index %s', i.indexrelid::regclass)
     from pg_index i
     join pg_class c on c.oid = i.indexrelid
     where c.relnamespace = any ($1::text[]::regnamespace[])
       and i.indisunique and not c.relispartition
       and not exists (select from pg_constraint k where k.conindid = i.indexrelid)
     union all
     select format('alter domain %s drop constraint %I', k.contypid::regtype, k.conname)
     from pg_constraint k
     where k.contypid <> 0 and k.contype = 'c' and k.connamespace = any ($1::text[]::regnamespace[])
     union all
     select format('create table %s_of_any_time partition of %1$s default', c.oid::regclass)
     from pg_partitioned_table p
     join pg_class c on c.oid = p.partrelid
     where c.relnamespace = any ($1::text[]::regnamespace[]) and p.partdefid = 0`,
    [schemas],
  );
  for (const { statement } of rows) await client.query(statement);
}

const COLUMNS = `
  select
    a.attrelid::regclass::text as table,
    quote_ident(a.attname) as name,
    format_type(coalesce(nullif(t.typbasetype, 0), t.oid), null) as type,
    coalesce(b.typcategory, t.typcategory)::text as category,
    a.atttypmod as modifier,
    not (a.attnotnull or t.typnotnull) as nullable,
    a.attnum as ordinal,
    (select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d where d.adrelid = a.attrelid and d.adnum = a.attnum)
      as default,
    coalesce(
      (select array_agg(e.enumlabel::text order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid),
      (
        select array_agg(label[1])
        from pg_constraint k, regexp_matches(pg_get_constraintdef(k.oid), '''([^'']+)''::text', 'g') label
        where k.conrelid = a.attrelid and k.contype = 'c' and k.conkey = array[a.attnum]
          and t.typcategory = 'S' and pg_get_constraintdef(k.oid) like '%= ANY (ARRAY[%'
      )
    ) as allowed,
    array(
      select case
        when cardinality(k.conkey) = 1 then 'sole'
        when k.conkey[1] = a.attnum then 'first'
        when k.conkey[cardinality(k.conkey)] = a.attnum then 'last'
        else 'middle'
      end
      from pg_constraint k
      where k.conrelid = a.attrelid and k.contype in ('p', 'u') and a.attnum = any (k.conkey)
        -- A key that holds another is there for foreign keys to point at.
        and not exists (
          select from pg_constraint s
          where s.conrelid = k.conrelid and s.contype in ('p', 'u') and s.conkey <@ k.conkey and s.oid <> k.oid
        )
    ) as places,
    exists (
      select from pg_constraint k, unnest(k.conkey, k.confkey) pair (own, other)
      where k.conrelid = a.attrelid and k.confrelid = a.attrelid
        and pair.own = a.attnum and pair.other <> a.attnum
    ) as "isParent"
  from pg_attribute a
  join pg_class c on c.oid = a.attrelid
  join pg_type t on t.oid = a.atttypid
  left join pg_type b on b.oid = nullif(t.typbasetype, 0)
  where c.relnamespace = any ($1::text[]::regnamespace[])
    and c.relkind in ('r', 'p') and not c.relispartition
    and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity <> 'a'
  order by 1, a.attnum`;

function nthValue(column: Column, n: number): string | null {
  const { places, nullable, ordinal, allowed, category } = column;
  if (column.isParent) return n === 0 && nullable ? null : rowId(0);
  const family = n < FAMILY ? "last" : "first";
  if (nullable && (n + ordinal) % 3 === 0) return null;
  const isUnique = places.includes("sole");
  // Most rows share a value, the others share two more.
  const varies = places.includes(family) && !places.every((place) => place === "middle");
  const which = isUnique ? n : varies ? n % FAMILY : n % 8 < 5 ? 0 : n % 3;
  if (allowed) return allowed[which % allowed.length]!;
  if (category === "A") return "{}";
  if (category === "R") return column.type.endsWith("multirange") ? "{}" : "empty";
  // Most rows keep their initial state: neither deleted nor switched off.
  if (column.type === "boolean") return String((column.default === "true") === (which % 2 === 0));
  const make = VALUES[column.type];
  if (!make)
    throw new Error(`Say in VALUES what ${column.table}.${column.name}, a ${column.type}, can hold.`);
  return make(which, column.modifier !== -1);
}

const pick = (values: readonly string[]) => (n: number) => values[n % values.length]!;

/** The nth value of each type, as text; with the extremes of the type among the first. */
const VALUES: Readonly<Record<string, (n: number, hasModifier: boolean) => string>> = {
  uuid: rowId,
  text: (n) => `word ${n}`,
  "character varying": (n) => `word ${n}`,
  character: (n) => `w${n}`,
  citext: (n) => `word ${n}`,
  name: (n) => `word ${n}`,
  smallint: String,
  integer: String,
  bigint: String,
  numeric: (n, hasModifier) =>
    hasModifier
      ? String((n % 4) / 4)
      : n < 3
        ? ["Infinity", "-Infinity", "NaN"][n]!
        : `${n}.000000000000000001`,
  real: (n) => (n < 3 ? ["Infinity", "-Infinity", "NaN"][n]! : `0.${n}`),
  "double precision": (n) => (n < 3 ? ["Infinity", "-Infinity", "NaN"][n]! : `0.1000000000000000${n}`),
  "timestamp with time zone": (n) =>
    n < 2 ? ["infinity", "-infinity"][n]! : `2026-01-01 00:00:00.00000${n % 10}+00`,
  date: (n) => (n < 2 ? ["infinity", "-infinity"][n]! : `2026-01-${(n % 20) + 10}`),
  interval: (n) => `${n} hours`,
  inet: (n) => `10.0.0.${n}`,
  bytea: (n) => `\\x${String(n).padStart(64, "0")}`,
  jsonb: pick(["{}", "[]", '{"a": 1}']),
  json: pick(["{}", "[]", '{"a": 1}']),
  tsvector: (n) => `word ${n}`,
  ltree: (n) => `word.n${n}`,
  regconfig: pick(["simple", "english"]),
};
