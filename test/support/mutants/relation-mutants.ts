import { type Relation, readRelations } from "../../../src/access-contract/catalogue.ts";
import { SCHEMAS } from "../../../src/database/schemas.ts";
import {
  GRANTEES,
  type Grantee,
  type GrantMutant,
  HELD,
  type Held,
  holdingsOf,
  observerOf,
  type Surroundings,
} from "./grants.ts";

const OPERATIONS = ["select", "insert", "update", "delete", "truncate"] as const;
type Operation = (typeof OPERATIONS)[number];

/** Every privilege to read or write a table or view: given to each role that lacks it, taken from each that has it. */
export async function relationMutants(around: Surroundings): Promise<GrantMutant[]> {
  const { rows } = await around.client.query<Held>(
    `select c.oid::regclass::text as object, ${HELD}, null::text[] as columns
     from pg_class c, aclexplode(c.relacl) a
     where c.relnamespace = any ($1::text[]::regnamespace[])
     union all
     select c.oid::regclass::text, ${HELD}, array_agg(quote_ident(t.attname))
     from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a
     where c.relnamespace = any ($1::text[]::regnamespace[]) group by 1, 2, 3`,
    [SCHEMAS],
  );
  const heldBy = holdingsOf(rows, around);
  return (await readRelations(around.client, SCHEMAS)).flatMap((relation) =>
    operationsOf(relation).flatMap((operation) =>
      GRANTEES.flatMap((grantee) =>
        mutantsOf(around, relation, operation, grantee, heldBy(relation.name, grantee, operation)),
      ),
    ),
  );
}

/** Views are read only. */
const operationsOf = ({ kind }: Relation): readonly Operation[] =>
  kind === "table" || kind === "partition" ? OPERATIONS : ["select"];

const ADDED = "added_by_mutant";

function mutantsOf(
  around: Surroundings,
  relation: Relation,
  operation: Operation,
  grantee: Grantee,
  held: "all" | readonly string[],
): GrantMutant[] {
  const { name } = relation;
  const columns = relation.columns.map((column) => column.name);
  const readable = operation === "select" ? [...columns, ...relation.generated] : columns;
  const mutant = (
    kind: string,
    what: string,
    sql: string,
    column = columns[0]!,
    given?: string,
  ): GrantMutant => ({
    kind,
    object: name,
    name: `${name}: ${what}`,
    sql,
    attempt: { role: observerOf(grantee), statement: statementOf(relation, operation, column), given },
    inContract:
      column === ADDED
        ? undefined
        : { object: `${relation.kind} ${name}`, operation, role: observerOf(grantee), column },
  });
  const grant = (privilege: string) => `grant ${privilege} on ${name} to ${around.sqlOf(grantee)}`;
  const revoke = (privilege: string) => `revoke ${privilege} on ${name} from ${around.sqlOf(grantee)}`;
  const granted = `${operation} granted to ${grantee}`;
  const revoked = `${operation} revoked from ${grantee}`;
  if (held === "all") return [mutant("table privilege revoked", revoked, revoke(operation))];
  if (held.length === 0) return [mutant("table privilege for one more role", granted, grant(operation))];
  return [
    mutant("table privilege revoked", revoked, revoke(operation), held[0]),
    mutant(
      "list of columns widened to the table",
      granted,
      grant(operation),
      ADDED,
      `alter table ${name} add column ${ADDED} integer`,
    ),
    ...readable.map((column) => {
      const privilege = `${operation} (${column})`;
      return held.includes(column)
        ? mutant(
            "column removed from a list",
            `${privilege} revoked from ${grantee}`,
            revoke(privilege),
            column,
          )
        : mutant("column added to a list", `${privilege} granted to ${grantee}`, grant(privilege), column);
    }),
  ];
}

/** Touches no row, so that only the grants decide. */
function statementOf({ name, columns }: Relation, operation: Operation, column: string): string {
  const type = columns.find((each) => each.name === column)?.type ?? "integer";
  return {
    select: `select ${column} from ${name} where false`,
    insert: `insert into ${name} (${column}) select null::${type} where false`,
    update: `update ${name} set ${column} = null where false`,
    delete: `delete from ${name} where false`,
    truncate: `truncate ${name}`,
  }[operation];
}
