import { type Catalog, ofExtension, ownerStatement } from "./catalog.ts";
import { type AclRow, aclColumns, aclEntries, privilegeStatements } from "./privileges.ts";
import type { RelationParts } from "./relation-parts.ts";
import { addTo, commentOn, firstSentence, lowerCaseKeywords, paragraphs } from "./sql-text.ts";

interface TableRow extends AclRow {
  oid: string;
  schema: string;
  name: string;
  owner: string;
  comment: string | null;
  unlogged: boolean;
  partition_key: string | null;
  options: string[] | null;
  row_security: boolean;
  force_row_security: boolean;
  replica_identity: string;
  parents: string[];
}

export interface ColumnRow {
  relation: string;
  name: string;
  type: string;
  collation: string | null;
  not_null: boolean;
  default: string | null;
  generated: string;
  identity: string;
  statistics: number | null;
  comment: string | null;
  acl: string[];
}

/**
 * Dumps tables by schema, each with its purpose, definition, row security, indexes, triggers, comments, policies and grants.
 * Monthly partitions are omitted, because they depend on the date.
 */
export async function dumpTables(catalog: Catalog, parts: RelationParts): Promise<Map<string, string[]>> {
  const tables = await catalog.query<TableRow>(`
    select
      c.oid::text,
      n.nspname as schema,
      format('%I.%I', n.nspname, c.relname) as name,
      c.relowner::text as owner,
      obj_description(c.oid, 'pg_class') as comment,
      c.relpersistence = 'u' as unlogged,
      pg_get_partkeydef(c.oid) as partition_key,
      c.reloptions as options,
      c.relrowsecurity as row_security,
      c.relforcerowsecurity as force_row_security,
      c.relreplident as replica_identity,
      array(
        select i.inhparent::regclass::text from pg_inherits i where i.inhrelid = c.oid order by i.inhseqno
      ) as parents,
      ${aclColumns("c.relacl", "c.relowner", "table")}
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = any ($1)
      and c.relkind in ('r', 'p')
      and not c.relispartition
      and not exists (${ofExtension("pg_class", "c.oid")})
    order by n.nspname collate "C", c.relname collate "C"
  `);
  const columns = Map.groupBy(await readColumns(catalog), (column) => column.relation);
  const dump = new Map<string, string[]>();
  for (const table of tables) {
    addTo(dump, table.schema, describeTable(table, columns.get(table.oid) ?? [], parts, catalog));
  }
  return dump;
}

/** Reads the columns of tables, views and materialized views, in order. */
export function readColumns(catalog: Catalog): Promise<ColumnRow[]> {
  return catalog.query<ColumnRow>(`
    select
      c.oid::text as relation,
      quote_ident(a.attname) as name,
      format_type(a.atttypid, a.atttypmod) as type,
      case when a.attcollation <> t.typcollation then a.attcollation::regcollation::text end as collation,
      a.attnotnull as not_null,
      pg_get_expr(d.adbin, d.adrelid, true) as default,
      a.attgenerated as generated,
      a.attidentity as identity,
      nullif(a.attstattarget, -1) as statistics,
      col_description(c.oid, a.attnum) as comment,
      ${aclEntries("a.attacl")} as acl
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid
    join pg_namespace n on n.oid = c.relnamespace
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where n.nspname = any ($1)
      and c.relkind in ('r', 'p', 'v', 'm')
      and not c.relispartition
      and a.attnum > 0
      and not a.attisdropped
    order by c.oid, a.attnum
  `);
}

function describeTable(
  table: TableRow,
  columns: readonly ColumnRow[],
  parts: RelationParts,
  catalog: Catalog,
): string {
  const { name, oid } = table;
  const members = [
    ...columns.map((column) => `  ${column.name} ${describeColumn(column)}`),
    ...parts.constraints(oid),
  ];
  const create = [
    `create ${table.unlogged ? "unlogged " : ""}table ${name} (`,
    members.join(",\n"),
    `)${table.parents.length > 0 ? ` inherits (${table.parents.join(", ")})` : ""}`,
  ].join("\n");
  const partition = table.partition_key ? ` partition by ${lowerCaseKeywords(table.partition_key)}` : "";
  const options = table.options ? ` with (${table.options.join(", ")})` : "";
  const statistics = columns
    .filter((column) => column.statistics !== null)
    .map((column) => `alter table ${name} alter column ${column.name} set statistics ${column.statistics};`);
  return paragraphs([
    [...firstSentence(table.comment), `${create}${partition}${options};`],
    [
      ...ownerStatement(`table ${name}`, table.owner, catalog),
      table.row_security
        ? `alter table ${name} enable row level security;`
        : `-- ${name} has no row level security.`,
      ...(table.force_row_security ? [`alter table ${name} force row level security;`] : []),
      ...(table.replica_identity === "d" ? [] : [`-- replica identity: ${table.replica_identity}`]),
      ...statistics,
    ],
    parts.indexes(oid),
    parts.statistics(oid),
    parts.rules(oid),
    parts.triggers(oid),
    [
      ...commentOn(`table ${name}`, table.comment),
      ...columns.flatMap((column) => commentOn(`column ${name}.${column.name}`, column.comment)),
      ...parts.comments(oid),
    ],
    parts.policies(oid),
    privilegeStatements(name, table, catalog.roles, columns),
  ]);
}

function describeColumn(column: ColumnRow): string {
  const parts = [column.type];
  if (column.collation !== null) parts.push(`collate ${column.collation}`);
  if (column.not_null && column.identity === "") parts.push("not null");
  if (column.identity !== "")
    parts.push(`generated ${column.identity === "a" ? "always" : "by default"} as identity`);
  else if (column.generated !== "")
    parts.push(
      `generated always as (${lowerCaseKeywords(column.default!)}) ${column.generated === "s" ? "stored" : "virtual"}`,
    );
  else if (column.default !== null) parts.push(`default ${lowerCaseKeywords(column.default)}`);
  return parts.join(" ");
}
