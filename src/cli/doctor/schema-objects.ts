import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type pg from "pg";
import { SCHEMA_FOLDER } from "../../support/paths.ts";
import { type Finding, fail, ok } from "./check.ts";

/**
 * Checks whether the objects that the migrations create exist: an interrupted restore leaves a complete history but an
 * incomplete schema. Compares names only, with migrations/schema/*.sql.
 */
export async function checkSchemaObjects(client: pg.Client): Promise<Finding> {
  const expected = expectedObjects();
  const { rows } = await client.query<{ name: string }>(
    `with relations as (
       select c.oid, relkind, quote_ident(nspname) || '.' || quote_ident(relname) as name
       from pg_class c join pg_namespace n on n.oid = c.relnamespace
     )
     select 'table or view ' || name as name from relations where relkind in ('r', 'p', 'v', 'm')
     union all
     select 'function ' || quote_ident(nspname) || '.' || quote_ident(proname)
     from pg_proc join pg_namespace n on n.oid = pronamespace
     union all
     select 'policy ' || quote_ident(polname) || ' on ' || r.name from pg_policy join relations r on r.oid = polrelid
     union all
     select 'trigger ' || quote_ident(tgname) || ' on ' || r.name
     from pg_trigger join relations r on r.oid = tgrelid
     where not tgisinternal`,
  );
  const there = new Set(rows.map(({ name }) => name));
  const missing = expected.filter((name) => !there.has(name));
  return missing.length === 0
    ? ok("schema", `All ${expected.length} tables, views, functions, policies and triggers exist.`)
    : fail(
        "schema",
        `${missing.length} of ${expected.length} tables, views, functions, policies and triggers are missing.`,
        "Restore the database again; see Backups in docs/operations.md.",
        missing.slice(0, 20),
      );
}

const PATTERNS: readonly [RegExp, (match: RegExpMatchArray) => string][] = [
  [/^create (?:unlogged )?(?:table|view|materialized view) (\S+)/gm, ([, name]) => `table or view ${name}`],
  [/^create (?:or replace )?function ([^\s(]+)\(/gm, ([, name]) => `function ${name}`],
  [/^create policy (\S+) on (\S+)/gm, ([, name, table]) => `policy ${name} on ${table}`],
  [
    /^create (?:constraint )?trigger (\S+)\s[^;]*?\son (\S+)/gm,
    ([, name, table]) => `trigger ${name} on ${table}`,
  ],
];

function expectedObjects(): string[] {
  const text = readdirSync(SCHEMA_FOLDER)
    .filter((file) => file.endsWith(".sql"))
    .map((file) => readFileSync(join(SCHEMA_FOLDER, file), "utf8"))
    .join("\n");
  const names = PATTERNS.flatMap(([pattern, nameOf]) => [...text.matchAll(pattern)].map(nameOf));
  return [...new Set(names)].sort();
}
