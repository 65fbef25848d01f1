import { type Catalog, ownerStatement } from "./catalog.ts";
import { ACL_KINDS, type AclRow, aclColumns, aclEntries, privilegeStatements } from "./privileges.ts";
import { commentOn } from "./sql-text.ts";

interface SchemaRow extends AclRow {
  name: string;
  quoted: string;
  owner: string;
  comment: string | null;
}

/** Dumps the schema itself: its purpose and its privileges. */
export async function dumpSchemas(catalog: Catalog): Promise<Map<string, string>> {
  const rows = await catalog.query<SchemaRow>(`
    select
      n.nspname as name,
      quote_ident(n.nspname) as quoted,
      n.nspowner::text as owner,
      obj_description(n.oid, 'pg_namespace') as comment,
      ${aclColumns("n.nspacl", "n.nspowner", "schema")}
    from pg_namespace n
    where n.nspname = any ($1)
    order by n.nspname collate "C"
  `);
  return new Map(
    rows.map((row) => {
      const target = `schema ${row.quoted}`;
      const lines = [
        `create ${target};`,
        ...ownerStatement(target, row.owner, catalog),
        ...commentOn(target, row.comment),
        ...privilegeStatements(ACL_KINDS.schema.word + row.quoted, row, catalog.roles),
      ];
      return [row.name, lines.join("\n")];
    }),
  );
}

const DEFAULT_KINDS: Readonly<Record<string, string>> = {
  r: "tables",
  S: "sequences",
  f: "functions",
  T: "types",
  n: "schemas",
};

/** Dumps objects without a schema: extensions (without versions, because servers differ) and default privileges. */
export async function dumpDatabase(catalog: Catalog): Promise<string> {
  const extensions = await catalog.query<{ statement: string }>(`
    select format('create extension %I with schema %I;', e.extname, n.nspname) as statement
    from pg_extension e
    join pg_namespace n on n.oid = e.extnamespace
    where e.extname <> 'plpgsql' and $1::text[] is not null
    order by 1
  `);
  const defaults = await catalog.query<{ role: string; schema: string | null; kind: string } & AclRow>(`
    select
      d.defaclrole::text as role,
      quote_ident(n.nspname) as schema,
      d.defaclobjtype as kind,
      ${aclEntries("d.defaclacl")} as acl,
      ${aclEntries(
        `case when n.oid is null then
          acldefault(case d.defaclobjtype when 'S' then 's' else d.defaclobjtype end, d.defaclrole)
        end`,
      )} as builtin_acl
    from pg_default_acl d
    left join pg_namespace n on n.oid = d.defaclnamespace
    where n.oid is null or n.nspname = any ($1)
    order by n.nspname nulls first, d.defaclobjtype
  `);
  const privileges = defaults.flatMap((row) => {
    const schema = row.schema === null ? "" : ` in schema ${row.schema}`;
    const prefix = `alter default privileges for role ${catalog.roles.get(row.role) ?? row.role}${schema} `;
    return privilegeStatements(DEFAULT_KINDS[row.kind] ?? row.kind, row, catalog.roles).map(
      (statement) => prefix + statement,
    );
  });
  return [...extensions.map((row) => row.statement), ...privileges].join("\n");
}
