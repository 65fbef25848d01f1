import type pg from "pg";
import type { Actor, SqlActor } from "./actors.ts";
import { type Attempt, type Attempted, attemptAll } from "./attempt.ts";
import type { Relation } from "./catalogue.ts";
import { type Cell, NO_PRIVILEGE } from "./cells.ts";
import { type Privileges, tryPrivileges } from "./privileges.ts";
import { KINSHIPS, type Kinship, type OwnersRow, PLACE, readRows, textOf } from "./relation-to-row.ts";
import { DUPLICATE, deleteOf, insertsOf, updatesOf } from "./writes.ts";

/** Everything that the attempts on one relation need. */
interface Surroundings {
  readonly client: pg.ClientBase;
  readonly actors: ReadonlyMap<Actor, SqlActor>;
  /** Every relation by name, to follow references. */
  readonly relations: ReadonlyMap<string, Relation>;
}

/** Tries to select, insert, update, delete and truncate as each actor. */
export async function attemptRelation(around: Surroundings, relation: Relation): Promise<readonly Cell[]> {
  const actors = [...around.actors.keys()];
  const roles = actors.filter((actor, i) => actors.findIndex(({ role }) => role === actor.role) === i);
  const tried = await tryPrivileges(
    around.client,
    relation,
    roles.map((actor) => around.actors.get(actor)!),
  );
  const privilegesOf = new Map(roles.map(({ role }, i) => [role, tried[i]!]));
  const isAllowed = (actor: Actor, operation: "select" | "insert" | "update" | "delete") => {
    const privilege = privilegesOf.get(actor.role)![operation];
    return typeof privilege === "boolean" ? privilege : privilege.length > 0;
  };
  const object = `${relation.kind} ${relation.name}`;
  const cells: Cell[] = roles.flatMap((actor) =>
    columnCells(object, relation, actor, privilegesOf.get(actor.role)!),
  );

  const shown = tried.map(({ select }) => select);
  const rows =
    relation.kind === "view" || !tried.some(hasAny)
      ? []
      : await readRows(around.client, relation, around.relations, shown, actors);
  const users = relation.kind === "view" ? await readUsers(around.client) : new Set<string>();
  const referable = rows.length > 0 ? await readReferable(around.client, relation) : new Map();
  const places = rows.map(({ place }) => place);

  const attempts: Attempt[] = [];
  const interpret: ((results: readonly Attempted[]) => Cell | undefined)[] = [];
  const failedDeletes: Actor[] = [];
  for (const [index, actor] of actors.entries()) {
    const sqlActor = around.actors.get(actor)!;
    const privileges = privilegesOf.get(actor.role)!;
    const shownAt = roles.findIndex(({ role }) => role === actor.role);
    const cell = (operation: string, outcome: string): Cell => ({
      object,
      operation,
      role: actor.name,
      outcome,
    });
    const plan = (own: readonly Attempt[], meaning: (results: readonly Attempted[]) => Cell | undefined) => {
      const start = attempts.length;
      attempts.push(...own);
      interpret.push((results) => meaning(results.slice(start, start + own.length)));
    };
    const tell = (found: ReadonlySet<string>) => kinshipsOf(rows, index, ({ place }) => found.has(place));
    const observe = `select array(select unnest($1::text[]) except select ${PLACE} from ${relation.name} t)`;

    if (!isAllowed(actor, "select")) cells.push(cell("select", NO_PRIVILEGE));
    else if (relation.kind === "view") {
      const ids = relation.columns
        .filter(({ name, type }) => type === "uuid" && privileges.select.includes(name))
        .map(({ name }) => `t.${name}`);
      const statement = `select array_agg(concat_ws(',', ${["null", ...ids].join(", ")})) from ${relation.name} t`;
      plan([{ actor: sqlActor, statements: [statement], reads: true }], ([result]) =>
        cell("select", result!.state ?? kinshipsInView(result!.found, actor, users)),
      );
    } else
      plan(
        [
          {
            actor: sqlActor,
            statements: [`select array_agg(${textOf(privileges.select)}) from ${relation.name} t`],
            reads: true,
          },
        ],
        ([result]) => cell("select", result!.state ?? tell(placesOf(rows, shownAt, result!.found))),
      );

    if (relation.kind === "view" || relation.kind === "materialized view") continue;

    if (!isAllowed(actor, "insert")) cells.push(cell("insert", NO_PRIVILEGE));
    else {
      const copies = copiesOf(relation, rows, index, privileges.insert, referable);
      plan(
        copies.map(({ statements }) => ({ actor: sqlActor, statements, passOver: DUPLICATE })),
        (results) => cell("insert", insertOutcome(copies, results)),
      );
    }

    if (!isAllowed(actor, "update")) cells.push(cell("update", NO_PRIVILEGE));
    else {
      const statements = updatesOf(relation, rows, privileges.update);
      plan([{ actor: sqlActor, statements, passOver: "%", observe, before: places }], ([result]) =>
        cell("update", result!.state ?? tell(new Set(result!.found))),
      );
    }

    if (!isAllowed(actor, "delete")) cells.push(cell("delete", NO_PRIVILEGE));
    else
      plan(
        [{ actor: sqlActor, statements: [`delete from ${relation.name}`], observe, before: places }],
        ([result]) => {
          if (result!.state === null) return cell("delete", tell(new Set(result!.found)));
          failedDeletes.push(actor);
          return undefined;
        },
      );
  }
  const results = await attemptAll(around.client, attempts);
  cells.push(...interpret.map((meaning) => meaning(results)).filter((cell) => cell !== undefined));
  cells.push(...(await deleteOneByOne(around, relation, rows, failedDeletes)));
  return cells;
}

const hasAny = ({ select, insert, update, delete: deletes }: Privileges) =>
  select.length > 0 || insert.length > 0 || update.length > 0 || deletes;

function columnCells(object: string, relation: Relation, { name }: Actor, privileges: Privileges): Cell[] {
  const writable = relation.columns.length;
  const totals = { select: writable + relation.generated.length, insert: writable, update: writable };
  const cells = (["select", "insert", "update"] as const).flatMap((operation): Cell[] => {
    const columns = privileges[operation];
    if (columns.length === 0) return [];
    const outcome = columns.length === totals[operation] ? "all" : columns.join(", ");
    return [{ object, operation: `${operation} columns`, role: name, outcome }];
  });
  if (privileges.truncate) cells.push({ object, operation: "truncate", role: name, outcome: "allowed" });
  return cells;
}

/** Rows that a rule keeps from being deleted together are tried one by one. */
async function deleteOneByOne(
  { client, actors }: Surroundings,
  relation: Relation,
  rows: readonly OwnersRow[],
  failed: readonly Actor[],
): Promise<readonly Cell[]> {
  const results = await attemptAll(
    client,
    failed.flatMap((actor) =>
      rows.map((row) => ({
        actor: actors.get(actor)!,
        statements: [deleteOf(relation, row)],
        observe: `select array(select unnest($1::text[]) except select ${PLACE} from ${relation.name} t)`,
        before: [row.place],
      })),
    ),
  );
  const all = [...actors.keys()];
  return failed.map((actor, i) => {
    const own = results.slice(i * rows.length, (i + 1) * rows.length);
    const deleted = kinshipsOf(rows, all.indexOf(actor), (_, n) => own[n]!.found.length > 0);
    return {
      object: `${relation.kind} ${relation.name}`,
      operation: "delete",
      role: actor.name,
      outcome: withStates(deleted, own),
    };
  });
}

interface Copy {
  readonly kinship: Kinship;
  readonly statements: readonly string[];
}

/** Rows to insert: a copy of each row, unless it is the same as that of another. */
function copiesOf(
  relation: Relation,
  rows: readonly OwnersRow[],
  index: number,
  insertable: readonly string[],
  referable: ReadonlyMap<string, readonly string[]>,
): readonly Copy[] {
  const holders = relation.columns.filter(({ isUser, isRoom }) => isUser || isRoom);
  const namesHolder = holders.some(({ name }) => insertable.includes(name));
  const copies = rows.map((row) => ({
    // A row that cannot name its user becomes one of the caller.
    kinship: holders.length > 0 && !namesHolder ? "own" : row.kinships[index]!,
    statements: insertsOf(relation, row, insertable, referable),
  }));
  return [...new Map(copies.map((copy) => [copy.statements.join(), copy])).values()];
}

function insertOutcome(copies: readonly Copy[], results: readonly Attempted[]): string {
  const inserted = tally(
    copies.map(({ kinship }, i) => ({ kinship, isReached: results[i]!.state === null })),
  );
  return withStates(inserted, results);
}

/** With the SQLSTATEs of those that failed. */
function withStates(outcome: string, results: readonly Attempted[]): string {
  const states = [...new Set(results.map(({ state }) => state).filter((state) => state !== null))].sort();
  if (states.length === 0) return outcome;
  return outcome === "none" ? states.join(" ") : `${outcome}; ${states.join(" ")}`;
}

const kinshipsOf = (
  rows: readonly OwnersRow[],
  index: number,
  isReached: (row: OwnersRow, n: number) => boolean,
): string => tally(rows.map((row, n) => ({ kinship: row.kinships[index]!, isReached: isReached(row, n) })));

/** Such as `own, others 2/5`; `all` rows, or `none`. A table without rows proves nothing. */
function tally(rows: readonly { kinship: Kinship; isReached: boolean }[]): string {
  if (rows.length === 0) return "empty";
  if (rows.every(({ isReached }) => isReached)) return "all";
  const parts = KINSHIPS.flatMap((kinship) => {
    const alike = rows.filter((row) => row.kinship === kinship);
    const reached = alike.filter(({ isReached }) => isReached).length;
    if (reached === 0) return [];
    return [reached === alike.length ? kinship : `${kinship} ${reached}/${alike.length}`];
  });
  return parts.join(", ") || "none";
}

/** The places of the rows that a reader saw, by what was shown of them. */
function placesOf(rows: readonly OwnersRow[], shownAt: number, seen: readonly string[]): ReadonlySet<string> {
  const alike = Map.groupBy(rows, ({ texts }) => texts[shownAt]!);
  const counts = new Map<string, number>();
  for (const text of seen) counts.set(text, (counts.get(text) ?? 0) + 1);
  return new Set(
    [...counts].flatMap(([text, count]) => (alike.get(text) ?? []).slice(0, count).map(({ place }) => place)),
  );
}

/** A view's rows name users in any of their columns. */
function kinshipsInView(seen: readonly string[], actor: Actor, users: ReadonlySet<string>): string {
  const kinships = seen.map((text): Kinship => {
    const ids = text.split(",").filter((id) => users.has(id));
    if (ids.length === 0) return "common";
    return ids.includes(actor.userId ?? "") ? "own" : "others";
  });
  const parts = KINSHIPS.map(
    (kinship) => [kinship, kinships.filter((each) => each === kinship).length] as const,
  )
    .filter(([, count]) => count > 0)
    .map(([kinship, count]) => `${kinship} ${count}`);
  return parts.join(", ") || "none";
}

async function readUsers(client: pg.ClientBase): Promise<ReadonlySet<string>> {
  const { rows } = await client.query<{ id: string }>("select id from identity.users");
  return new Set(rows.map(({ id }) => id));
}

const MAX_REFERABLE = 6;

async function readReferable(
  client: pg.ClientBase,
  relation: Relation,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const values = new Map<string, readonly string[]>();
  for (const { name, keyOf } of relation.columns) {
    if (!keyOf) continue;
    const { rows } = await client.query<{ value: string }>(
      `select distinct on (t.ctid) t.${keyOf.column}::text as value from ${keyOf.table} t order by t.ctid limit ${MAX_REFERABLE}`,
    );
    values.set(
      name,
      rows.map(({ value }) => value),
    );
  }
  return values;
}
