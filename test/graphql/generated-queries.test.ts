import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { GraphQLSchema } from "postgraphile/graphql";
import { type Actor, seedActors } from "../support/access-seed.ts";
import { type Api, type GraphqlError, startApi } from "../support/api.ts";
import { canonical } from "../support/canonical.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
} from "../support/database.ts";
import { type GeneratedField, readSurface } from "../support/generated-fields.ts";

// Each list and lookup that is generated from a table returns what SQL returns to the same user, row by row and value by
// value: neither a row more, nor a row less.

/** Two users who own a row of everything, somebody who may see nearly everything, and nobody. */
const ACTORS = ["visitor", "ada", "bob", "admin"];
/** Lists of which these actors see the same rows, each with its reason. Another list must not be here. */
const SAME_FOR_EVERYBODY: Readonly<Record<string, string>> = {
  contentCategories: "Categories are public; their items have an access level.",
  subscriptionPlans: "Plans are public offers.",
};
const BATCH = 20;

type Row = Readonly<Record<string, unknown>>;
/** The rows, or the code of the error. */
type Outcome = readonly Row[] | string;

let db: TestDatabase;
let api: Api;
let actors: ReadonlyMap<string, Actor>;
let fields: readonly GeneratedField[];
let schema: GraphQLSchema;
/** The rows that SQL returns, by actor and relation. */
const visible = new Map<string, Outcome>();

beforeAll(async () => {
  db = await createTestDatabase();
  actors = await seedActors(db);
  ({ schema, generated: fields } = await readSurface(db));
  api = await startApi(db, {
    PLINTH_LIMIT_COST: "100000000",
    PLINTH_LIMIT_ROOT_FIELDS: "100",
    PLINTH_LIMIT_FIELDS: "10000",
    PLINTH_LIMIT_PAGE_SIZE: "1000",
  });
  await inRolledBackTransaction(db, async (tx) => {
    for (const name of ["owner", ...ACTORS])
      for (const field of ofKind("list", "lookup"))
        visible.set(`${name} ${field.relation}`, await readSql(tx, name, field));
  });
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const ofKind = (...kinds: string[]) => fields.filter(({ kind }) => kinds.includes(kind));
const rowsOf = (outcome: Outcome): readonly Row[] => (typeof outcome === "string" ? [] : outcome);
/** The rows that the owner sees, and those that a view makes for its reader. */
const everyRow = (field: GeneratedField) =>
  ["owner", ...ACTORS].flatMap((actor) => rowsOf(seenBy(actor, field)));
const seenBy = (actor: string, { relation }: GeneratedField) => visible.get(`${actor} ${relation}`)!;

async function readSql(tx: Transaction, actor: string, field: GeneratedField): Promise<Outcome> {
  const { relation, columns, scalars } = field;
  if (actor === "owner") await tx.asOwner();
  else if (actor === "visitor") await tx.asAnonymous();
  else await tx.asUser(actors.get(actor)!.userId);
  const values = scalars.map((name) => `'${name}', to_jsonb(r.${columns.get(name)})`).join(", ");
  try {
    const rows = await tx.attempt<{ row: Row }>(
      `select jsonb_build_object(${values}) as row from ${relation} r`,
    );
    return rows.map(({ row }) => row);
  } catch (error) {
    if ((error as { code?: string }).code !== "42501") throw error;
    return actor === "visitor" ? "UNAUTHENTICATED" : "FORBIDDEN";
  }
}

/** Asks for root fields in batches; the value of each, or the code of its error. */
async function ask(actor: string, texts: readonly string[]): Promise<unknown[]> {
  const answers: unknown[] = [];
  for (let start = 0; start < texts.length; start += BATCH) {
    const batch = texts.slice(start, start + BATCH);
    const query = `{ ${batch.map((text, i) => `f${i}: ${text}`).join("\n")} }`;
    const { data, errors = [] } = await api.ask(query, { token: actors.get(actor)!.token });
    const failed = new Map(errors.map((error: GraphqlError) => [error.path?.[0], error]));
    if (failed.has(undefined)) throw new Error(`${failed.get(undefined)!.message}\n${query}`);
    answers.push(...batch.map((_, i) => failed.get(`f${i}`)?.extensions.code ?? data[`f${i}`]));
  }
  return answers;
}

const sorted = (rows: readonly Row[]) => rows.map(canonical).sort();

test.each(ACTORS)("lists return to %s the rows that SQL does", async (actor) => {
  const lists = ofKind("list");
  expect(lists.length).toBeGreaterThan(50);
  const answers = await ask(
    actor,
    lists.map(({ name, scalars }) => `${name} { nodes { ${scalars.join(" ")} } totalCount }`),
  );
  const faults = lists.flatMap((list, i) => {
    const expected = seenBy(actor, list);
    const answer = answers[i] as { nodes: Row[]; totalCount: number } | string;
    if (typeof answer === "string" || typeof expected === "string")
      return answer === expected ? [] : [`${list.name}: ${JSON.stringify(answer)} instead of ${expected}`];
    // The administrator's own lists have added reads to this log since.
    const grows = list.relation === "security.personal_data_reads";
    const nodes = grows ? answer.nodes.filter(({ source }) => source === "probe") : answer.nodes;
    const got = sorted(nodes).join("\n");
    const wanted = sorted(expected).join("\n");
    return got === wanted && answer.totalCount === (grows ? answer.nodes : expected).length
      ? []
      : [`${list.name}:\n${got}\ninstead of\n${wanted}`];
  });
  expect(faults).toEqual([]);
});

test.each(ACTORS)("lookups return to %s a row that SQL returns, and no other", async (actor) => {
  const probes = ofKind("lookup").flatMap((field) => {
    const key = keyOf(field);
    const values = new Set(everyRow(field).map((row) => row[key]));
    return [...values].filter((value) => value !== null).map((value) => ({ field, key, value }));
  });
  expect(ofKind("lookup").filter((field) => !probes.some((probe) => probe.field === field))).toEqual([]);
  const answers = await ask(
    actor,
    probes.map(
      ({ field, key, value }) =>
        `${field.name}(${key}: ${JSON.stringify(value)}) { ${field.scalars.join(" ")} }`,
    ),
  );
  const faults = probes.flatMap(({ field, key, value }, i) => {
    const rows = seenBy(actor, field);
    const expected = typeof rows === "string" ? rows : (rows.find((row) => row[key] === value) ?? null);
    return canonical(answers[i]) === canonical(expected)
      ? []
      : [`${field.name}(${key}: ${value}): ${canonical(answers[i])} instead of ${canonical(expected)}`];
  });
  expect(faults).toEqual([]);
});

/** The argument of a lookup. */
const keyOf = ({ name }: GeneratedField): string => schema.getQueryType()!.getFields()[name]!.args[0]!.name;

test("each list has rows, and not every actor sees the same, with exceptions by name", () => {
  const lists = ofKind("list");
  expect(lists.filter((list) => everyRow(list).length === 0).map(({ name }) => name)).toEqual([]);
  const same = lists.filter(
    (list) =>
      new Set(ACTORS.map((actor) => canonical(rowsOf(seenBy(actor, list)).map(canonical).sort()))).size === 1,
  );
  expect(same.map(({ name }) => name).sort()).toEqual(Object.keys(SAME_FOR_EVERYBODY).sort());
});
