import { type Catalog, ofExtension, ownerStatement } from "./catalog.ts";
import { ACL_KINDS, type AclRow, aclColumns, privilegeStatements } from "./privileges.ts";
import { addTo, commentOn, firstSentence, lowerCaseKeywords, paragraphs } from "./sql-text.ts";

interface FunctionRow extends AclRow {
  schema: string;
  name: string;
  signature: string;
  owner: string;
  kind: string;
  comment: string | null;
  /** Null for an aggregate, which the server does not print. */
  definition: string | null;
  aggregate: string | null;
}

/** Paths of the fixtures by the function they define (`identity.logout`); see functionFixtures(). */
export type FunctionFixtures = ReadonlyMap<string, string>;

/**
 * Dumps functions, procedures and aggregates by schema, each with its comment and privileges.
 * @param fixtures the files that hold the bodies: the bodies of these functions are omitted and the path is named
 */
export async function dumpFunctions(
  catalog: Catalog,
  fixtures: FunctionFixtures = new Map(),
): Promise<Map<string, string[]>> {
  const functions = await catalog.query<FunctionRow>(`
    select
      n.nspname as schema,
      format('%I.%I', n.nspname, p.proname) as name,
      format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) as signature,
      p.proowner::text as owner,
      p.prokind as kind,
      obj_description(p.oid, 'pg_proc') as comment,
      case when p.prokind <> 'a' then pg_get_functiondef(p.oid) end as definition,
      format('sfunc = %s, stype = %s', a.aggtransfn, format_type(a.aggtranstype, null)) as aggregate,
      ${aclColumns("p.proacl", "p.proowner", "function")}
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    left join pg_aggregate a on a.aggfnoid = p.oid
    where n.nspname = any ($1)
      and not exists (${ofExtension("pg_proc", "p.oid", "'e', 'i'")})
    order by n.nspname collate "C", p.proname collate "C", pg_get_function_identity_arguments(p.oid) collate "C"
  `);
  const dump = new Map<string, string[]>();
  for (const row of functions) {
    const word = row.kind === "p" ? "procedure" : row.kind === "a" ? "aggregate" : "function";
    const signature = lowerCaseKeywords(row.signature);
    const target = `${word} ${signature}`;
    const privilegeWord = row.kind === "p" ? ACL_KINDS.procedure.word : ACL_KINDS.function.word;
    const path = fixtures.get(row.name);
    const text = paragraphs([
      [
        ...firstSentence(row.comment),
        row.definition === null
          ? `create aggregate ${signature} (${row.aggregate});`
          : path === undefined
            ? `${tidyDefinition(row.definition)};`
            : `${withoutBody(tidyDefinition(row.definition))}; -- ${path}`,
      ],
      [
        ...ownerStatement(target, row.owner, catalog),
        ...commentOn(target, row.comment),
        ...privilegeStatements(privilegeWord + signature, row, catalog.roles),
      ],
    ]);
    addTo(dump, row.schema, text);
  }
  return dump;
}

/** Returns the server's text with lowercase keywords, two-space attributes and plain dollar quotes if the body allows them. */
function tidyDefinition(definition: string): string {
  const text = lowerCaseKeywords(definition.trimEnd()).replace(/^ (?=[a-z])/gm, "  ");
  const [tag] = /\$(?:function|procedure)\d*\$/.exec(text) ?? [];
  return tag === undefined || text.includes("$$") ? text : text.replaceAll(tag, "$$$$");
}

/** Signature and attributes: the server prints the body last, as a string or as SQL. */
function withoutBody(definition: string): string {
  return definition.replace(/\n(?:as \$|begin atomic\n|return )[\s\S]*$/i, "");
}
