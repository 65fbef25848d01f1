import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { type GraphQLInputObjectType, getNamedType, isObjectType } from "postgraphile/graphql";
import { READS_OF_OTHERS } from "../../plugins/reads-of-others.ts";
import { type Actor, seedActors } from "../support/access-seed.ts";
import { type Api, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { type GeneratedField, readSurface, type Surface } from "../support/generated-fields.ts";

// An administrator's answer can depend on another person's row without containing it: a filter compares it, or a total counts it.
// Each test walks the schema for the ways; a way counts only if the answer for a real person differs from that for nobody.

let db: TestDatabase;
let actors: ReadonlyMap<string, Actor>;
let surface: Surface;
let apis: Readonly<Record<string, Api>>;
beforeAll(async () => {
  db = await createTestDatabase();
  actors = await seedActors(db);
  surface = await readSurface(db);
  await nameAda();
  const start = (mode: string) =>
    startApi(db, {
      PLINTH_COMPILED_DOCUMENTS: mode,
      PLINTH_LIMIT_COST: "100000000",
      PLINTH_LIMIT_ROOT_FIELDS: "1000",
      PLINTH_LIMIT_FIELDS: "100000",
    });
  apis = { planned: await start("never"), compiled: await start("always") };
});
afterAll(async () => {
  for (const api of Object.values(apis)) await api.close();
  await db.drop();
});
beforeEach(() => asOwner("delete from security.personal_data_reads", []));

const asOwner = rowsAs("owner", () => db);
const idOf = (name: string) => actors.get(name)!.userId!;
const NOBODY = "00000000-0000-7000-8000-000000000000";

/** Writes Ada into the columns that refer to an account and that the seed leaves empty, where rules allow it. */
async function nameAda(): Promise<void> {
  const columns = await asOwner<{ statement: string }>(
    `select format('update %s set %I = %L where %2$I is null', c.conrelid::regclass, a.attname, $1::uuid) as statement
     from pg_constraint c
     join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
     where c.contype = 'f' and c.confrelid = 'identity.users'::regclass and cardinality(c.conkey) = 1 and not a.attnotnull
       and c.connamespace::regnamespace::text <> 'private' and c.conparentid = 0`,
    [idOf("ada")],
  );
  for (const { statement } of columns) await asOwner(statement, []).catch(() => []);
}

interface Read extends Record<string, unknown> {
  readonly user_id: string | null;
  readonly relations: string[];
}
/** The tables of which an operation was recorded as a read of a person's data. */
async function relationsReadOf(person: string): Promise<readonly string[]> {
  const rows = await asOwner<Read>(
    "delete from security.personal_data_reads returning user_id, relations",
    [],
  );
  return rows.filter(({ user_id }) => user_id === idOf(person)).flatMap(({ relations }) => relations);
}

const isOpened = ({ relation }: GeneratedField) => relation in READS_OF_OTHERS;
const lists = () => surface.generated.filter(({ kind }) => kind === "list");

/** The field of the column that names the person of a row. */
function personOf({ relation, columns }: GeneratedField): string {
  const { column } = READS_OF_OTHERS[relation]!;
  return [...columns].find(([, name]) => name === column)![0];
}

const filterOf = ({ type }: GeneratedField) =>
  surface.schema.getType(`${type.name}Filter`) as GraphQLInputObjectType | undefined;

interface Way {
  /** Names of the fields of filters that lead from the list's rows to the person's row. */
  readonly path: readonly string[];
  readonly to: GeneratedField;
}

/** The ways over up to two relations to rows of other people. */
function relatedFilters(from: GeneratedField, depth = 2): readonly Way[] {
  const byFilter = new Map(lists().map((list) => [`${list.type.name}Filter`, list]));
  return Object.values(filterOf(from)?.getFields() ?? {}).flatMap(({ name, type }) => {
    const to = byFilter.get(getNamedType(type).name);
    if (!to || ["and", "or", "not"].includes(name)) return [];
    const further = depth > 1 ? relatedFilters(to, depth - 1) : [];
    return [
      ...(isOpened(to) ? [{ path: [name], to }] : []),
      ...further.map((way) => ({ ...way, path: [name, ...way.path] })),
    ];
  });
}

describe.each(["planned", "compiled"])("operations that are %s [C11, A6]", (mode) => {
  const ask = (query: string, name = "admin") => apis[mode]!.ask(query, { token: actors.get(name)!.token });

  /** Those of the queries whose answer about Ada differs from the answer about nobody. */
  async function telling(queries: readonly ((person: string) => string)[]): Promise<readonly string[]> {
    const found: string[] = [];
    for (let start = 0; start < queries.length; start += 50) {
      const some = queries.slice(start, start + 50);
      const about = async (person: string) => {
        const answer = await ask(`{ ${some.map((query, n) => `q${n}: ${query(person)}`).join("\n")} }`);
        expect(answer.errors).toBeUndefined();
        return answer.data;
      };
      const [ada, nobody] = [await about(idOf("ada")), await about(NOBODY)];
      for (const [n, query] of some.entries())
        if (JSON.stringify(ada[`q${n}`]) !== JSON.stringify(nobody[`q${n}`])) found.push(query(idOf("ada")));
    }
    await relationsReadOf("ada");
    return found;
  }

  test("records the person whose related row a filter compares", async () => {
    const ways = lists().flatMap((list) =>
      relatedFilters(list).flatMap(({ path, to }) =>
        ["totalCount", `nodes { ${list.scalars[0]} }`].map((shape) => ({
          to: to.relation,
          query(id: string) {
            const filter = [...path, personOf(to)].reduceRight(
              (inner, name) => `{ ${name}: ${inner} }`,
              `{ equalTo: "${id}" }`,
            );
            return `${list.name}(filter: ${filter}) { ${shape} }`;
          },
        })),
      ),
    );
    const found = await telling(ways.map(({ query }) => query));
    expect(found.length).toBeGreaterThan(60);
    const missing: string[] = [];
    for (const query of found) {
      await ask(`{ ${query} }`);
      const { to } = ways.find((way) => way.query(idOf("ada")) === query)!;
      if (!(await relationsReadOf("ada")).includes(to)) missing.push(query);
    }
    expect(missing).toEqual([]);
  });

  test("records the person whose rows a part of a list tells of, without rows", async () => {
    const shapes = [
      ["", "totalCount"],
      ["first: 0,", "totalCount"],
      ["offset: 50,", "nodes { __typename } totalCount"],
      ["first: 1,", "nodes { __typename } totalCount"],
      ["", "pageInfo { startCursor }"],
      ["first: 0,", "pageInfo { hasNextPage hasPreviousPage }"],
      ["last: 0,", "pageInfo { hasNextPage hasPreviousPage }"],
      ["offset: 1,", "pageInfo { hasNextPage hasPreviousPage }"],
      ["", "edges { cursor }"],
      ["", "nodes { __typename }"],
    ];
    const ways = lists()
      .filter(isOpened)
      .flatMap((list) =>
        shapes.map(([page, shape]) => ({
          to: list.relation,
          query: (id: string) =>
            `${list.name}(${page} filter: { ${personOf(list)}: { equalTo: "${id}" } }) { ${shape} }`,
        })),
      );
    const found = await telling(ways.map(({ query }) => query));
    expect(found.length).toBeGreaterThan(150);
    const missing: string[] = [];
    for (const query of found) {
      await ask(`{ ${query} }`);
      const { to } = ways.find((way) => way.query(idOf("ada")) === query)!;
      if (!(await relationsReadOf("ada")).includes(to)) missing.push(query);
    }
    expect(missing).toEqual([]);
  });

  test("records the person whose rows a total of the person's list counts", async () => {
    const user = surface.schema.getType("User");
    const missing: string[] = [];
    const found: string[] = [];
    for (const { name, type } of Object.values(isObjectType(user) ? user.getFields() : {})) {
      const list = lists().find(({ type: row }) => `${row.name}Connection` === getNamedType(type).name);
      if (!list || !isOpened(list) || /By[A-Z]/.test(name)) continue;
      const { data } = await ask(`{ user(id: "${idOf("ada")}") { ${name} { totalCount } } }`);
      if (data.user[name].totalCount === 0) continue;
      found.push(name);
      if (!(await relationsReadOf("ada")).includes(list.relation)) missing.push(name);
    }
    expect(missing).toEqual([]);
    expect(found.length).toBeGreaterThan(15);
  });

  test("records nothing for a total that names nobody, and nothing for callers without a permission", async () => {
    await ask(
      `{ ${lists()
        .filter(isOpened)
        .map(({ name }) => `${name} { totalCount }`)
        .join(" ")} }`,
    );
    await ask("{ users(filter: {}) { totalCount } }");
    await ask("{ skills { nodes { userSkills { totalCount } } } }");
    const guess = `filter: { user: { id: { equalTo: "${idOf("ada")}" } } }`;
    await ask(`{ payments(${guess}) { totalCount nodes { id } } apiTokens(${guess}) { totalCount } }`, "ada");
    await ask(`{ payments(${guess}) { totalCount nodes { id } } apiTokens(${guess}) { totalCount } }`, "bob");
    expect(await asOwner("select * from security.personal_data_reads", [])).toEqual([]);
  });
});
