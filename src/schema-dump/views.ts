import { type Catalog, ofExtension, ownerStatement } from "./catalog.ts";
import { type AclRow, aclColumns, privilegeStatements } from "./privileges.ts";
import type { RelationParts } from "./relation-parts.ts";
import { addTo, commentOn, firstSentence, lowerCaseKeywords, paragraphs } from "./sql-text.ts";
import { readColumns } from "./tables.ts";

interface ViewRow extends AclRow {
  oid: string;
  schema: string;
  name: string;
  owner: string;
  comment: string | null;
  materialized: boolean;
  options: string[] | null;
  definition: string;
}

/** Dumps views and materialized views by schema, each with its indexes, triggers, comments and grants. */
export async function dumpViews(catalog: Catalog, parts: RelationParts): Promise<Map<string, string[]>> {
  const views = await catalog.query<ViewRow>(`
    select
      c.oid::text,
      n.nspname as schema,
      format('%I.%I', n.nspname, c.relname) as name,
      c.relowner::text as owner,
      obj_description(c.oid, 'pg_class') as comment,
      c.relkind = 'm' as materialized,
      c.reloptions as options,
      pg_get_viewdef(c.oid, true) as definition,
      ${aclColumns("c.relacl", "c.relowner", "table")}
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = any ($1)
      and c.relkind in ('v', 'm')
      and not exists (${ofExtension("pg_class", "c.oid")})
    order by n.nspname collate "C", c.relname collate "C"
  `);
  const columns = Map.groupBy(await readColumns(catalog), (column) => column.relation);
  const dump = new Map<string, string[]>();
  for (const view of views) {
    const kind = view.materialized ? "materialized view" : "view";
    const options = view.options ? ` with (${view.options.join(", ")})` : "";
    const ownColumns = columns.get(view.oid) ?? [];
    const text = paragraphs([
      [
        ...firstSentence(view.comment),
        `create ${kind} ${view.name}${options} as\n${lowerCaseKeywords(view.definition)}`,
      ],
      ownerStatement(`${kind} ${view.name}`, view.owner, catalog),
      parts.indexes(view.oid),
      parts.rules(view.oid),
      parts.triggers(view.oid),
      [
        ...commentOn(`${kind} ${view.name}`, view.comment),
        ...ownColumns.flatMap((column) => commentOn(`column ${view.name}.${column.name}`, column.comment)),
        ...parts.comments(view.oid),
      ],
      privilegeStatements(view.name, view, catalog.roles, ownColumns),
    ]);
    addTo(dump, view.schema, text);
  }
  return dump;
}
