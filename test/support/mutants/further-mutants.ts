import { SCHEMAS } from "../../../src/database/schemas.ts";
import { GRANTEES, type GrantMutant, HELD, observerOf, type Surroundings } from "./grants.ts";

// Privileges that no role has: to put triggers on a table, to refer to it, to lock it, to use a sequence by itself, or to pass
// a privilege on. Where an attempt would need yet another privilege, the role asks PostgreSQL.

const ask = (question: string) => `select 1 / (${question})::integer`;

interface Named {
  readonly name: string;
  readonly kind: "table" | "sequence";
}

/** REFERENCES, TRIGGER and MAINTAIN of every table, and all privileges on sequences. */
export async function furtherMutants(around: Surroundings): Promise<GrantMutant[]> {
  const { rows } = await around.client.query<Named & { hasMaintain: boolean }>(
    `select c.oid::regclass::text as name, case relkind when 'S' then 'sequence' else 'table' end as kind,
       current_setting('server_version_num')::integer >= 170000 as "hasMaintain"
     from pg_class c
     where c.relnamespace = any ($1::text[]::regnamespace[]) and relkind in ('r', 'p', 'S') order by 1`,
    [SCHEMAS],
  );
  return rows.flatMap(({ name, kind, hasMaintain }) => {
    const attempts: Record<string, string> =
      kind === "sequence"
        ? {
            usage: `select nextval('${name}')`,
            select: `select last_value from ${name}`,
            update: `select setval('${name}', 1)`,
          }
        : {
            references: ask(`has_table_privilege('${name}', 'references')`),
            trigger: `create trigger of_mutant before update on ${name} for each row execute function suppress_redundant_updates_trigger()`,
            ...(hasMaintain ? { maintain: ask(`has_table_privilege('${name}', 'maintain')`) } : {}),
          };
    return Object.entries(attempts).flatMap(([privilege, statement]) =>
      GRANTEES.map(
        (grantee): GrantMutant => ({
          kind: `other privilege on a ${kind}`,
          object: name,
          name: `${name}: ${privilege} granted to ${grantee}`,
          sql: `grant ${privilege} on ${kind} ${name} to ${around.sqlOf(grantee)}`,
          attempt: { role: observerOf(grantee), statement },
        }),
      ),
    );
  });
}

/** Every grant to a role, which may then pass it on. PostgreSQL has no such grant to everyone. */
export async function grantOptionMutants(around: Surroundings): Promise<GrantMutant[]> {
  const { rows } = await around.client.query<{
    kind: string;
    object: string;
    grantee: string;
    privilege: string;
    columns: string | null;
  }>(
    `select 'table' as kind, c.oid::regclass::text as object, ${HELD}, null as columns
     from pg_class c, aclexplode(c.relacl) a where c.relnamespace = any ($1::text[]::regnamespace[])
     union all
     select 'column', c.oid::regclass::text, ${HELD}, string_agg(quote_ident(t.attname), ', ')
     from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a
     where c.relnamespace = any ($1::text[]::regnamespace[]) group by 1, 2, 3, 4
     union all
     select 'function', p.oid::regprocedure::text, ${HELD}, null
     from pg_proc p, aclexplode(p.proacl) a where p.pronamespace = any ($1::text[]::regnamespace[])
     union all
     select 'schema', nspname, ${HELD}, null from pg_namespace, aclexplode(nspacl) a where nspname = any ($1)`,
    [SCHEMAS],
  );
  return GRANTEES.filter((grantee) => grantee !== "public").flatMap((grantee) =>
    rows
      .filter((row) => row.grantee === around.nameOf(grantee))
      .map(({ kind, object, privilege, columns }): GrantMutant => {
        const passes = `'${object}', '${privilege} with grant option'`;
        const question =
          kind === "column" ? `has_any_column_privilege(${passes})` : `has_${kind}_privilege(${passes})`;
        const on = kind === "column" ? "table" : kind === "function" ? "routine" : kind;
        return {
          kind: "grant option",
          object,
          name: `${object}: ${privilege}${columns ? " of columns" : ""} granted to ${grantee} with grant option`,
          sql: `grant ${privilege} ${columns ? `(${columns})` : ""} on ${on} ${object} to ${around.sqlOf(grantee)} with grant option`,
          attempt: { role: grantee, statement: ask(question) },
        };
      }),
  );
}
