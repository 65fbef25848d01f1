import type pg from "pg";
import type { Actor } from "./actors.ts";
import type { Relation } from "./catalogue.ts";

/**
 * How an actor relates to a row: it names the actor; it belongs to a room of the actor; it names other users only; or it names no
 * user at all. A row without users of its own has those of the row that it refers to.
 */
export const KINSHIPS = ["own", "member", "others", "common"] as const;
export type Kinship = (typeof KINSHIPS)[number];

/** A row as the owner sees it. */
export interface OwnersRow {
  /** Where it is stored. */
  readonly place: string;
  /** Its columns as texts. */
  readonly values: readonly (string | null)[];
  /** Its text in each set of columns, in the order of `shown`. */
  readonly texts: readonly string[];
  /** In the order of the actors. */
  readonly kinships: readonly Kinship[];
}

/**
 * Reads all rows of a table or materialized view as the owner.
 * @param all relations, to follow references
 * @param shown sets of columns
 */
export async function readRows(
  client: pg.ClientBase,
  relation: Relation,
  all: ReadonlyMap<string, Relation>,
  shown: readonly (readonly string[])[],
  actors: readonly Actor[],
): Promise<readonly OwnersRow[]> {
  const { rows } = await client.query<OwnersRow>(
    `select ${PLACE} as place,
       array[${relation.columns.map(({ name }) => `t.${name}::text`).join(", ")}]::text[] as values,
       array[${shown.map((columns) => textOf(columns)).join(", ")}]::text[] as texts,
       array(select ${kinshipOf(relation, all)} from unnest($1::uuid[]) with ordinality a (id, n) order by n) as kinships
     from ${relation.name} t order by t.tableoid, t.ctid`,
    [actors.map(({ userId }) => userId)],
  );
  return rows;
}

/** Where a row `t` is stored. */
export const PLACE = "t.tableoid::text || t.ctid::text";

/** These columns of a row `t` as one text. */
export const textOf = (columns: readonly string[]): string =>
  `row(${columns.map((column) => `t.${column}`).join(", ")})::text`;

/** The kinship of the user `a.id` with the row `t`, in SQL. */
function kinshipOf(relation: Relation, all: ReadonlyMap<string, Relation>): string {
  const users = within(relation, all, "isUser");
  const rooms = within(relation, all, "isRoom");
  const whens = [
    users && `when ${users((column) => `${column} = a.id`)} then 'own'`,
    rooms &&
      `when ${rooms((column) => `${column} in (select m.room_id from rooms.room_members m where m.user_id = a.id)`)} then 'member'`,
    users && `when ${users((column) => `${column} is not null`)} then 'others'`,
  ].filter(Boolean);
  return whens.length === 0 ? "'common'" : `case ${whens.join(" ")} else 'common' end`;
}

type Test = (column: string) => string;

/** A condition on the columns that hold a user or a room: of the row, or of the nearest row that it refers to. */
function within(
  relation: Relation,
  all: ReadonlyMap<string, Relation>,
  property: "isUser" | "isRoom",
): ((test: Test) => string) | undefined {
  const own = relation.columns.filter((column) => column[property]);
  if (own.length > 0) return (test) => `(${own.map(({ name }) => test(`t.${name}`)).join(" or ")})`;
  const [path] = pathsToHolder(relation, all, property, [relation]).sort((a, b) => a.length - b.length);
  if (!path) return undefined;
  // In each sub-select, `t` is the table of the one around it.
  return (test) =>
    path.reduceRight(
      (inner, { table, join }) =>
        `exists (select from (select p.* from ${table} p where ${join}) t where ${inner})`,
      within(all.get(path.at(-1)!.table)!, all, property)!(test),
    );
}

/** The chains of references to the nearest tables with such a column. */
function pathsToHolder(
  relation: Relation,
  all: ReadonlyMap<string, Relation>,
  property: "isUser" | "isRoom",
  seen: readonly Relation[],
): (readonly Relation["references"][number][])[] {
  return relation.references.flatMap((reference) => {
    const parent = all.get(reference.table);
    if (!parent || seen.includes(parent)) return [];
    if (parent.columns.some((column) => column[property])) return [[reference]];
    return pathsToHolder(parent, all, property, [...seen, parent]).map((rest) => [reference, ...rest]);
  });
}
