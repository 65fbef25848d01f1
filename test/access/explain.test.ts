import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { type Role, roleName } from "../../src/config/roles.ts";
import { IDS } from "../support/access-probes/ids.ts";
import { PROBES } from "../support/access-probes/probes.ts";
import { seedActors } from "../support/access-seed.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// access.explain_access agrees with PostgreSQL: each verdict is compared with the statement, run as the role in a savepoint.

let db: TestDatabase;
let userIds: ReadonlyMap<string, string>;
beforeAll(async () => {
  db = await createTestDatabase();
  userIds = new Map([...(await seedActors(db))].map(([name, { userId }]) => [name, userId!]));
});
afterAll(async () => {
  await db.drop();
});

type Operation = "select" | "insert" | "update" | "delete";
const OPERATIONS: readonly Operation[] = ["select", "insert", "update", "delete"];

interface Column {
  readonly name: string;
  readonly isKey: boolean;
  /** Whether a statement may give it a value. */
  readonly isWritable: boolean;
  /** "user insert" and the like. */
  readonly writers: readonly string[];
}
interface Relation {
  readonly name: string;
  readonly kind: "r" | "p" | "v" | "m";
  readonly columns: readonly Column[];
}
type Row = Readonly<Record<string, unknown>>;

const readRelations = async (client: pg.Client): Promise<Relation[]> =>
  (
    await client.query<Relation>(
      `select n.nspname || '.' || c.relname as name, c.relkind::text as kind, jsonb_agg(jsonb_build_object(
       'name', a.attname,
       'isKey', coalesce(a.attnum = any (i.indkey), false),
       'isWritable', a.attgenerated = '' and a.attidentity = '',
       'writers', array(
         select w.kind || ' ' || p.name from (values ('user', $1), ('anonymous', $2)) w (kind, role), (values ('insert'), ('update')) p (name)
         where has_column_privilege(w.role, a.attrelid, a.attnum, p.name)
       )) order by a.attnum) as columns
     from pg_class c
     join pg_namespace n on n.oid = c.relnamespace
     join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     left join pg_index i on i.indrelid = c.oid and i.indisprimary
     where c.relkind in ('r', 'p', 'v', 'm')
       and n.nspname in ('identity', 'access', 'security', 'llm', 'billing', 'rooms', 'learning', 'analytics', 'private')
     group by 1, 2 order by 1`,
      [roleName(db.rolePrefix, "user"), roleName(db.rolePrefix, "anonymous")],
    )
  ).rows;

interface Question {
  readonly operation: string;
  readonly object: string;
  readonly userId?: string | null;
  readonly key?: unknown;
  readonly values?: unknown;
  readonly role?: string;
  readonly returnsRow?: boolean;
}
interface Explanation {
  readonly verdict: string;
  readonly reason: string;
  readonly changes: readonly string[];
  readonly notes: readonly string[];
  readonly grants: readonly {
    privilege: string;
    object: string;
    is_held: boolean;
    missing_columns: string[];
    granted_to: string | null;
  }[];
  readonly policies: readonly {
    policy: string;
    purpose: string;
    relation: string;
    is_permissive: boolean;
    description: string | null;
    condition: string;
    outcome: boolean | null;
    error: string | null;
    parts: {
      depth: number;
      operator: string | null;
      condition: string;
      outcome: boolean | null;
      error: string | null;
    }[];
  }[];
}

/** Asks as the owner, all questions in one statement. */
async function explainAll(questions: readonly Question[], url = db.url("owner")): Promise<Explanation[]> {
  const { rows } = await withClient(url, (client) =>
    client.query<{ explanation: Explanation }>(
      `select to_jsonb(e) as explanation
       from jsonb_array_elements($1) with ordinality q
       cross join lateral access.explain_access(
         operation => q.value ->> 'operation', object => q.value ->> 'object', user_id => (q.value ->> 'userId')::uuid,
         key => nullif(q.value -> 'key', 'null'), new_values => nullif(q.value -> 'values', 'null'),
         database_role => q.value ->> 'role', returns_row => coalesce((q.value ->> 'returnsRow')::boolean, false)) e
       order by q.ordinality`,
      [JSON.stringify(questions)],
    ),
  );
  return rows.map(({ explanation }) => explanation);
}

/** A statement that runs as an actor. */
interface Attempt {
  readonly userId: string | null;
  /** For an actor that is neither a user nor a visitor. */
  readonly role?: Role;
  readonly sql: string;
  readonly parameters?: readonly unknown[];
}

const roleOf = ({ userId, role }: Pick<Attempt, "userId" | "role">) =>
  role ?? (userId ? "user" : "anonymous");

/** Runs each statement in a transaction that is rolled back; returns the number of rows or the error. */
async function attemptAll(attempts: readonly Attempt[]): Promise<(number | pg.DatabaseError)[]> {
  return withClient(db.adminUrl, async (client) => {
    const results: (number | pg.DatabaseError)[] = [];
    for (const attempt of attempts) {
      const role = pg.escapeLiteral(roleName(db.rolePrefix, roleOf(attempt)));
      const userId = pg.escapeLiteral(attempt.userId ?? "");
      // In one message, because there are thousands.
      await client.query(
        `begin; select set_config('role', ${role}, true), set_config('jwt.claims.user_id', ${userId}, true), set_config('search_path', '', true)`,
      );
      results.push(
        await client.query(attempt.sql, [...(attempt.parameters ?? [])]).then(
          ({ rowCount }) => rowCount ?? 0,
          (error: pg.DatabaseError) => error,
        ),
      );
      await client.query("rollback");
    }
    return results;
  });
}

function verdictOf(result: number | pg.DatabaseError): string {
  if (typeof result === "number") return result > 0 ? "allowed" : "denied";
  if (result.code === "42501") return "denied";
  // Grants and policies allow it, and a constraint or a trigger does not.
  if (/^(23|PL409)/.test(result.code ?? "")) return "allowed";
  return `${result.code}: ${result.message}`;
}

const quote = pg.escapeIdentifier;
const populated = (relation: Relation) => `jsonb_populate_record(null::${relation.name}, $1)`;

function statementOf(
  operation: Operation,
  relation: Relation,
  row: Row,
  written: readonly Column[],
): [sql: string, ...parameters: unknown[]] {
  const keys = relation.columns.filter(({ isKey }) => isKey);
  const where = keys.map(({ name }) => `t.${quote(name)} = k.${quote(name)}`).join(" and ");
  const names = written.map(({ name }) => quote(name)).join(", ");
  const json = JSON.stringify(row);
  if (operation === "select")
    return [`select 1 from ${relation.name} t, ${populated(relation)} k where ${where}`, json];
  if (operation === "delete")
    return [`delete from ${relation.name} t using ${populated(relation)} k where ${where}`, json];
  if (operation === "insert")
    return [`insert into ${relation.name} (${names}) select ${names} from ${populated(relation)}`, json];
  const set = written.map(({ name }) => `${quote(name)} = k.${quote(name)}`).join(", ");
  return [`update ${relation.name} t set ${set} from ${populated(relation)} k where ${where}`, json];
}

/** The columns that the role may write, or all if there are none: then the statement fails. */
function writtenColumns({ columns }: Relation, operation: Operation, role: string): readonly Column[] {
  const writable = columns.filter(({ isWritable }) => isWritable);
  const granted = writable.filter(({ writers }) => writers.includes(`${role} ${operation}`));
  return granted.length > 0 ? granted : writable;
}

const pick = (row: Row, columns: readonly Column[]) =>
  Object.fromEntries(columns.map(({ name }) => [name, row[name]]));

/** Up to two rows of a table: one that names Ada, and one that does not. */
const rowsOf = async (client: pg.Client, { name }: Relation): Promise<Row[]> =>
  (
    await client.query<{ row: Row }>(
      `select distinct on (strpos(to_jsonb(t)::text, $1) > 0) to_jsonb(t) as row from ${name} t
       order by strpos(to_jsonb(t)::text, $1) > 0, to_jsonb(t)::text`,
      [IDS.ada],
    )
  ).rows.map(({ row }) => row);

test("its verdicts on each table, operation, actor and row are those of PostgreSQL", async () => {
  const questions: Question[] = [];
  const attempts: Attempt[] = [];
  await withClient(db.url("owner"), async (client) => {
    for (const relation of (await readRelations(client)).filter(({ kind }) => kind === "r" || kind === "p")) {
      const rows = await rowsOf(client, relation);
      const holders = (PROBES[relation.name] ?? []).map(([actor]) => actor);
      for (const actor of new Set(["visitor", "ada", ...holders]))
        for (const row of rows)
          for (const operation of OPERATIONS) {
            const userId = actor === "visitor" ? null : userIds.get(actor)!;
            const written = writtenColumns(relation, operation, userId ? "user" : "anonymous");
            questions.push({
              operation,
              object: relation.name,
              userId,
              key:
                operation === "insert"
                  ? undefined
                  : pick(
                      row,
                      relation.columns.filter(({ isKey }) => isKey),
                    ),
              values: operation === "insert" || operation === "update" ? pick(row, written) : undefined,
            });
            const [sql, ...parameters] = statementOf(operation, relation, row, written);
            attempts.push({ userId, sql, parameters });
          }
    }
  });
  const explanations = await explainAll(questions);
  const verdicts = (await attemptAll(attempts)).map(verdictOf);
  const wrong = questions.flatMap(({ operation, object, userId }, i) =>
    explanations[i]!.verdict === verdicts[i]
      ? []
      : [
          `${userId} ${operation} ${object}: ${explanations[i]!.verdict} (${explanations[i]!.reason}), in fact ${verdicts[i]}`,
        ],
  );
  expect(wrong).toEqual([]);
  // Both verdicts occur often enough to mean something.
  for (const verdict of ["allowed", "denied"])
    expect(verdicts.filter((found) => found === verdict).length).toBeGreaterThan(200);
});

test("its verdicts on each view and actor are those of PostgreSQL, with a key and without", async () => {
  const questions: Question[] = [];
  const attempts: Attempt[] = [];
  await withClient(db.url("owner"), async (client) => {
    for (const relation of (await readRelations(client)).filter(({ kind }) => kind === "v" || kind === "m")) {
      const names = relation.columns.map(({ name }) => name);
      const keys = names.filter((name) => /^id$|_id$|^day$|^month$|name$/.test(name));
      const columns = relation.columns.filter(({ name }) =>
        (keys.length > 0 ? keys : names.slice(0, 1)).includes(name),
      );
      const [row] = await rowsOf(client, relation);
      for (const actor of [
        { userId: null },
        { userId: IDS.ada! },
        { userId: null, role: "analyst" as const },
      ]) {
        const question = { operation: "select", object: relation.name, ...actor };
        questions.push(question);
        attempts.push({ ...actor, sql: `select 1 from ${relation.name} limit 0` });
        if (!row || Object.values(pick(row, columns)).includes(null)) continue;
        const where = columns.map(({ name }) => `t.${quote(name)} = k.${quote(name)}`).join(" and ");
        questions.push({ ...question, key: pick(row, columns) });
        attempts.push({
          ...actor,
          sql: `select 1 from ${relation.name} t, ${populated(relation)} k where ${where}`,
          parameters: [JSON.stringify(pick(row, columns))],
        });
      }
    }
  });
  const explanations = await explainAll(questions);
  const results = await attemptAll(attempts);
  const wrong = questions.flatMap(({ key, object, userId }, i) => {
    const { verdict, reason } = explanations[i]!;
    // Without a key, only the grants decide: a statement without rows succeeds. A view may itself leave out rows of others.
    const isRight = key
      ? verdict.replace("no_row", "denied") === verdictOf(results[i]!)
      : (verdict === "denied") === (results[i] !== 0);
    return isRight
      ? []
      : [`${userId} ${object} ${JSON.stringify(key)}: ${verdict} (${reason}), in fact ${results[i]}`];
  });
  expect(wrong).toEqual([]);
  const found = new Set(explanations.map(({ verdict }) => verdict));
  expect([...found].sort()).toEqual(["allowed", "denied", "depends_on_row", "no_row"]);
});

test("its verdicts on each function and role are those of PostgreSQL", async () => {
  const roles = ["anonymous", "user", "analyst", "service", "worker"] as const;
  const functions = await withClient(db.url("owner"), async (client) => {
    await client.query("set search_path = ''"); // so that regprocedure prints schema names
    const { rows } = await client.query<{ signature: string; call: string }>(
      `select p.oid::regprocedure::text as signature, format('select %I.%I(%s)', n.nspname, p.proname, (
         -- A sub-select keeps the planner from evaluating a strict function of null without asking for the privilege.
         select string_agg(format('(select null::%s)', format_type(t.id, null)), ', ' order by t.place)
         from unnest(p.proargtypes::oid[]) with ordinality t (id, place))) as call
       from pg_proc p join pg_namespace n on n.oid = p.pronamespace
       where n.nspname in ('plinth', 'identity', 'access', 'security', 'llm', 'billing', 'rooms', 'learning', 'analytics', 'private')
         and p.prorettype <> 'trigger'::regtype and p.prokind = 'f' and p.provariadic = 0
         and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
       order by 1`,
    );
    return rows;
  });
  expect(functions.length).toBeGreaterThan(200);
  const cases = functions.flatMap((each) => roles.map((role) => ({ ...each, role })));
  const explanations = await explainAll(
    cases.map(({ signature, role }) => ({ operation: "execute", object: signature, role })),
  );
  const results = await attemptAll(cases.map(({ call, role }) => ({ userId: null, role, sql: call })));
  const wrong = cases.flatMap(({ signature, role, call }, i) => {
    const result = results[i]!;
    const [, name] = /select \w+\.(\w+)/.exec(call)!;
    const isDenied =
      typeof result !== "number" &&
      result.code === "42501" &&
      // The schema is that of the function or of a type in the call.
      (result.message === `permission denied for function ${name}` ||
        result.message.startsWith("permission denied for schema "));
    return (explanations[i]!.verdict === "denied") === isDenied
      ? []
      : [`${role} ${signature}: ${explanations[i]!.verdict}, in fact ${result}`];
  });
  expect(wrong).toEqual([]);
});
