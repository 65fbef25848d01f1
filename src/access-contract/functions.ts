import type pg from "pg";
import type { Actor, SqlActor } from "./actors.ts";
import { type Attempt, attemptAll } from "./attempt.ts";
import { type Cell, INSUFFICIENT_PRIVILEGE, NO_PRIVILEGE } from "./cells.ts";

export interface SqlFunction {
  /** `schema.name(types)`, as SQL. */
  readonly name: string;
  /** Without its schema and arguments. */
  readonly bare: string;
  readonly isProcedure: boolean;
  readonly parameters: readonly {
    readonly type: string;
    readonly category: string;
    readonly label: string | null;
  }[];
}

/** The functions of these schemas, without those of extensions. */
export async function readFunctions(
  client: pg.ClientBase,
  schemas: readonly string[],
): Promise<readonly SqlFunction[]> {
  const { rows } = await client.query<SqlFunction>(FUNCTIONS, [schemas]);
  return rows;
}

const FUNCTIONS = `
select p.oid::regprocedure::text as name, quote_ident(n.nspname) || '.' || quote_ident(p.proname) as bare,
  p.prokind = 'p' as "isProcedure",
  coalesce((
    select jsonb_agg(jsonb_build_object(
      'type', format_type(t.oid, null),
      'category', t.typtype::text || coalesce(b.typcategory, t.typcategory)::text,
      'label', (select e.enumlabel from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder limit 1)
    ) order by a.n)
    from unnest(p.proargtypes) with ordinality a (type, n)
    join pg_type t on t.oid = a.type
    left join pg_type b on b.oid = nullif(t.typbasetype, 0)
  ), '[]') as parameters
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname = any ($1) and p.prokind <> 'a'
  and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
order by p.oid::regprocedure::text collate "C"`;

/** Calls each function as each actor. */
export async function attemptFunctions(
  client: pg.ClientBase,
  actors: ReadonlyMap<Actor, SqlActor>,
  functions: readonly SqlFunction[],
): Promise<readonly Cell[]> {
  const isOutOfReach = await readOutOfReach(client, functions, [...actors.values()]);
  const each = functions.flatMap((fn) => [...actors].map(([actor, sqlActor]) => ({ fn, actor, sqlActor })));
  const results = await attemptAll(
    client,
    each.map(({ fn, sqlActor }): Attempt => ({ actor: sqlActor, statements: [callOf(fn)] })),
  );
  return each.map(({ fn, actor, sqlActor }, i) => {
    const { state } = results[i]!;
    return {
      object: `function ${fn.name}`,
      operation: "call",
      role: actor.name,
      outcome:
        state === INSUFFICIENT_PRIVILEGE && isOutOfReach(fn, sqlActor) ? NO_PRIVILEGE : (state ?? "called"),
    };
  });
}

/**
 * Tells a call that PostgreSQL rejects from a function that fails with the same code. The messages of both differ, but they are in the
 * language of the server.
 */
async function readOutOfReach(
  client: pg.ClientBase,
  functions: readonly SqlFunction[],
  actors: readonly SqlActor[],
): Promise<(fn: SqlFunction, actor: SqlActor) => boolean> {
  const { rows } = await client.query<{ name: string; role: string }>(OUT_OF_REACH, [
    functions.map(({ name }) => name),
    actors.map(({ role }) => role),
  ]);
  const found = new Set(rows.map(({ name, role }) => `${role} ${name}`));
  return ({ name }, { role }) => found.has(`${role} ${name}`);
}

/** The call names the schemas of the function and of its arguments' types. */
const OUT_OF_REACH = `
select f.name, r.name as role
from unnest($1::text[]) f (name)
cross join (select distinct unnest($2::text[]) as name) r
join pg_proc p on p.oid = f.name::regprocedure
where not has_function_privilege(r.name, p.oid, 'execute')
  or not has_schema_privilege(r.name, p.pronamespace, 'usage')
  or exists (
    select from unnest(p.proargtypes) a (type) join pg_type t on t.oid = a.type
    where not has_schema_privilege(r.name, t.typnamespace, 'usage'))`;

/** `offset 0` keeps the planner from answering a strict call itself, without looking at the privilege. */
function callOf({ bare, parameters, isProcedure }: SqlFunction): string {
  const values = parameters.map(valueFor);
  if (isProcedure) return `call ${bare}(${values.join(", ")})`;
  if (values.length === 0) return `select ${bare}()`;
  const names = values.map((_, i) => `v${i}`);
  return `select ${bare}(${names.join(", ")}) from (select ${values.map((value, i) => `${value} as v${i}`).join(", ")} offset 0) a`;
}

function valueFor({ type, category, label }: SqlFunction["parameters"][number]): string {
  if (label !== null) return `'${label}'::${type}`;
  const value = category.startsWith("c")
    ? undefined
    : (VALUES[type] ?? (category.endsWith("A") ? "{}" : undefined));
  return value === undefined ? `null::${type}` : `'${value}'::${type}`;
}

const VALUES: Readonly<Record<string, string>> = {
  uuid: "00000000-0000-7000-8000-0000000000fd",
  text: "x",
  smallint: "1",
  integer: "1",
  bigint: "1",
  numeric: "1",
  boolean: "false",
  jsonb: "{}",
  json: "{}",
  inet: "192.0.2.1",
  interval: "1 day",
  "timestamp with time zone": "2020-01-01 00:00:00+00",
  date: "2020-01-01",
  bytea: "\\x00",
};
