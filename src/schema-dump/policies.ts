import { type Catalog, RELATION_FILTER } from "./catalog.ts";
import { addTo, commentOn, lowerCaseKeywords } from "./sql-text.ts";

interface PolicyRow {
  relation: string;
  name: string;
  table: string;
  command: string;
  permissive: boolean;
  roles: string[];
  using: string | null;
  check: string | null;
  comment: string | null;
}

const COMMANDS: Readonly<Record<string, string>> = {
  r: "select",
  a: "insert",
  w: "update",
  d: "delete",
  "*": "all",
};

/** Reads policies by the oid of their table, each followed by its comment. */
export async function readPolicies(catalog: Catalog): Promise<Map<string, string[]>> {
  const rows = await catalog.query<PolicyRow>(`
    select
      part.relation::text,
      quote_ident(part.polname) as name,
      part.relation::regclass::text as table,
      part.polcmd as command,
      part.polpermissive as permissive,
      part.polroles::text[] as roles,
      pg_get_expr(part.polqual, part.relation, true) as using,
      pg_get_expr(part.polwithcheck, part.relation, true) as check,
      obj_description(part.oid, 'pg_policy') as comment
    from (select polrelid as relation, * from pg_policy) part
    ${RELATION_FILTER}
    order by part.polname collate "C"
  `);
  const policies = new Map<string, string[]>();
  for (const row of rows) {
    const roles = row.roles.map((oid) => catalog.roles.get(oid) ?? oid).sort();
    const lines = [
      `create policy ${row.name} on ${row.table}${row.permissive ? "" : " as restrictive"}`,
      `  for ${COMMANDS[row.command]} to ${roles.join(", ")}`,
      ...(row.using === null ? [] : [`  using (${tidyCondition(row.using)})`]),
      ...(row.check === null ? [] : [`  with check (${tidyCondition(row.check)})`]),
    ];
    const statements = [
      `${lines.join("\n")};`,
      ...commentOn(`policy ${row.name} on ${row.table}`, row.comment),
    ];
    addTo(policies, row.relation, ...statements);
  }
  return policies;
}

/** Removes the column name and the second parentheses that the server adds to `(select f())`. */
export function tidyCondition(sql: string): string {
  return lowerCaseKeywords(sql)
    .replaceAll(/\( select ((?:\w+\.)?(\w+)\([^()]*\)) as \2\)/g, "(select $1)")
    .replaceAll(/\((\(select (?:\w+\.)?\w+\([^()]*\)\))\)/g, "$1");
}
