import type pg from "pg";
import type { CatalogueObject } from "../drift/catalogue.ts";
import { FUNCTION_NAME, FUNCTIONS } from "../drift/queries/parts.ts";
import { readCatalogue } from "../drift/read-catalogue.ts";
import { readableView } from "../drift/view-text.ts";
import { withPrintSettings } from "../schema-dump/catalog.ts";
import { lowerCaseKeywords } from "../schema-dump/sql-text.ts";

/**
 * The catalogue of src/drift, with what that leaves out: comments, and the queries of views. Names are written as in SQL, with quotes
 * where they need them.
 */
export interface Catalogued {
  readonly objects: ReadonlyMap<string, CatalogueObject>;
  /** By the object that they belong to, such as `identity.users`. */
  readonly parts: ReadonlyMap<string | undefined, readonly CatalogueObject[]>;
  /** By kind and name, such as `policy select_own on identity.users`. */
  readonly comments: ReadonlyMap<string, string>;
  /** By view. */
  readonly queries: ReadonlyMap<string, string>;
  /** Classes of personal data, by column. */
  readonly classes: ReadonlyMap<string, string>;
}

export async function readCatalogued(
  client: pg.ClientBase,
  rolePrefix: string,
  schemas: readonly string[],
): Promise<Catalogued> {
  const objects = await readCatalogue(client, rolePrefix, schemas);
  return withPrintSettings(client, async () => {
    const comments = await client.query<{ title: string; text: string }>(COMMENTS, [schemas]);
    const queries = await client.query<{ name: string; text: string }>(QUERIES, [schemas]);
    return {
      objects,
      parts: Map.groupBy(objects.values(), ({ on }) => on),
      comments: new Map(comments.rows.map(({ title, text }) => [title, withoutTags(text)])),
      queries: new Map(queries.rows.map(({ name, text }) => [name, lowerCaseKeywords(readableView(text))])),
      classes: await readClasses(client),
    };
  });
}

async function readClasses(client: pg.ClientBase): Promise<ReadonlyMap<string, string>> {
  const { rows } = await client.query<{ name: string; class: string }>(
    "select concat_ws('.', schema_name, table_name, column_name) as name, class from security.personal_data",
  );
  return new Map(rows.map((row) => [row.name, row.class]));
}

/** Lines that begin with @ are for the API and the jobs. */
export function withoutTags(comment: string): string {
  return comment
    .split("\n")
    .filter((line) => !line.startsWith("@"))
    .join("\n")
    .trim();
}

const COMMENTS = `
  select 'schema ' || quote_ident(n.nspname) as title, obj_description(n.oid, 'pg_namespace') as text
  from pg_namespace n
  where n.nspname = any ($1) and obj_description(n.oid, 'pg_namespace') is not null
  union all
  select format('policy %I on %I.%I', p.polname, n.nspname, c.relname), obj_description(p.oid, 'pg_policy')
  from pg_policy p
  join pg_class c on c.oid = p.polrelid
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = any ($1) and obj_description(p.oid, 'pg_policy') is not null
  union all
  select format('constraint %I on %I.%I', k.conname, n.nspname, c.relname), obj_description(k.oid, 'pg_constraint')
  from pg_constraint k
  join pg_class c on c.oid = k.conrelid
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = any ($1) and obj_description(k.oid, 'pg_constraint') is not null
  union all
  select format('type %I.%I', n.nspname, t.typname), d.description
  from pg_type t
  join pg_namespace n on n.oid = t.typnamespace
  join pg_description d on d.classoid = 'pg_type'::regclass and d.objoid = t.oid
    or d.classoid = 'pg_class'::regclass and d.objoid = t.typrelid and d.objsubid = 0
  where n.nspname = any ($1)
  union all
  select 'function ' || ${FUNCTION_NAME}, obj_description(p.oid, 'pg_proc')
  ${FUNCTIONS} and obj_description(p.oid, 'pg_proc') is not null`;

const QUERIES = `
  select format('%I.%I', n.nspname, c.relname) as name, pg_get_viewdef(c.oid, true) as text
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = any ($1) and c.relkind in ('v', 'm')`;
