import { afterAll, beforeAll, expect, test } from "@jest/globals";
import {
  type GraphQLInputObjectType,
  type GraphQLObjectType,
  type GraphQLSchema,
  getNamedType,
} from "postgraphile/graphql";
import { IDS, withIds } from "../support/access-probes/ids.ts";
import { type Actor, seedActors } from "../support/access-seed.ts";
import { type Api, startApi } from "../support/api.ts";
import { canonical } from "../support/canonical.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { type GeneratedField, type Kind, readSurface } from "../support/generated-fields.ts";
import { EXAMPLES } from "./examples.ts";

// Each generated create, update and delete does to the row what it says, for a user who may, and does nothing for a
// visitor and a user who may not.

/** A new row that refers to a row of somebody else is invalid input. */
const DENIED = /^(FORBIDDEN|NOT_FOUND|BAD_USER_INPUT: `\w+` does not refer to a record you can use\.)$/;

type Row = Readonly<Record<string, unknown>>;
type Values = Readonly<Record<string, unknown>>;

let db: TestDatabase;
let api: Api;
let actors: ReadonlyMap<string, Actor>;
let fields: readonly GeneratedField[];
let schema: GraphQLSchema;
const owner = rowsAs("owner", () => db);

beforeAll(async () => {
  db = await createTestDatabase();
  actors = await seedActors(db);
  ({ schema, generated: fields } = await readSurface(db));
  api = await startApi(db);
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const mutations = () => fields.filter(({ kind }) => ["create", "update", "delete"].includes(kind));
const mutationOf = (type: string, kind: Kind) =>
  fields.find((field) => field.type.name === type && field.kind === kind);

test("each table that can be written has an example, and each example a table", () => {
  const types = new Set(mutations().map(({ type }) => type.name));
  expect(types.size).toBeGreaterThan(30);
  expect(Object.keys(EXAMPLES).sort()).toEqual([...types].sort());
});

test.each(Object.keys(EXAMPLES))("%s", async (typeName) => {
  const { by, create, isOpen = false, stranger = "bob", row, patch, deletedBy = by } = EXAMPLES[typeName]!;
  const kinds = mutations().filter(({ type }) => type.name === typeName);
  const creation = kinds.find(({ kind }) => kind === "create");
  const update = kinds.find(({ kind }) => kind === "update");
  const deletion = kinds.find(({ kind }) => kind === "delete");
  const { relation } = kinds[0]!;
  // An example says no more and no less than what there is to try.
  expect({ create: Boolean(create), patch: Boolean(patch), row: Boolean(row) }).toEqual({
    create: Boolean(creation),
    patch: Boolean(update),
    row: !creation && Boolean(update ?? deletion),
  });

  let current = row ? await rowWhere(relation, row) : undefined;
  if (creation) current = await tryCreate(creation, await withIdsOf(create!), { by, stranger, isOpen });
  if (update) current = await tryUpdate(update, current!, await withIdsOf(patch!), { by, stranger });
  if (deletion) await tryDelete(deletion, current!, { by: deletedBy, stranger });
});

test("a rejected value has the field that the caller changed, not the bound beside it", async () => {
  const update = mutationOf("RetentionPolicy", "update")!;
  const row = await rowWhere(update.relation, "log = 'security.audit_trail'");
  const input = { ...keyOf(update, row), patch: { keptFor: { months: 1 } } };
  const { errors } = await send(update, EXAMPLES.RetentionPolicy!.by, input);
  expect(errors?.map(({ extensions }) => [extensions.code, extensions.field])).toEqual([
    ["BAD_USER_INPUT", "keptFor"],
  ]);
});

interface People {
  readonly by: string;
  readonly stranger: string;
}

async function tryCreate(
  field: GeneratedField,
  values: Values,
  { by, stranger, isOpen }: People & { isOpen: boolean },
): Promise<Row> {
  const before = await rowsIn(field.relation);
  const input = { [lowerFirst(field.type.name)]: values };
  for (const actor of isOpen ? ["visitor"] : ["visitor", stranger]) await isDenied(field, actor, input);
  expect(await rowsIn(field.relation)).toEqual(before);

  const returned = await run(field, by, input);
  const known = new Set(before.map(canonical));
  const [created, ...others] = (await rowsIn(field.relation)).filter((row) => !known.has(canonical(row)));
  expect(others).toEqual([]);
  shows(field, created!, values);
  shows(field, created!, returned);
  if (isOpen && "user_id" in created!) expect(created.user_id).toBe(actors.get(by)!.userId);
  return created!;
}

async function tryUpdate(
  field: GeneratedField,
  row: Row,
  patch: Values,
  { by, stranger }: People,
): Promise<Row> {
  const input = { ...keyOf(field, row), patch };
  expect(showsAll(field, row, patch)).toBe(false);
  for (const actor of ["visitor", stranger]) await isDenied(field, actor, input);
  expect(await find(field, row)).toEqual(row);

  const returned = await run(field, by, input);
  const updated = (await find(field, row))!;
  shows(field, updated, patch);
  shows(field, updated, returned);
  return updated;
}

async function tryDelete(field: GeneratedField, row: Row, { by, stranger }: People): Promise<void> {
  const input = keyOf(field, row);
  for (const actor of ["visitor", stranger]) await isDenied(field, actor, input);
  expect(await find(field, row)).toEqual(row);
  await run(field, by, input);
  expect(await find(field, row)).toBeUndefined();
  // And not a second time.
  expect((await send(field, by, input)).errors?.map(({ extensions }) => extensions.code)).toEqual([
    "NOT_FOUND",
  ]);
}

/** Sends a mutation that asks for the values of the row. */
function send({ name, type, kind, scalars }: GeneratedField, actor: string, input: Values) {
  const field = schema.getMutationType()!.getFields()[name]!;
  const payload = getNamedType(field.type) as GraphQLObjectType;
  const result = Object.values(payload.getFields()).find((inner) => getNamedType(inner.type) === type)!;
  // A deleted row takes its dependent rows with it.
  const selection = kind === "delete" ? "clientMutationId" : `${result.name} { ${scalars.join(" ")} }`;
  const query = `mutation ($input: ${field.args[0]!.type}) { done: ${name}(input: $input) { ${selection} } }`;
  return api.ask(query, { token: actors.get(actor)!.token, variables: { input } });
}

/** The row that a mutation returns. */
async function run(field: GeneratedField, actor: string, input: Values): Promise<Values> {
  const { data, errors } = await send(field, actor, input);
  expect([field.name, errors]).toEqual([field.name, undefined]);
  return Object.values(data.done)[0] as Values;
}

async function isDenied(field: GeneratedField, actor: string, input: Values): Promise<void> {
  const { errors } = await send(field, actor, input);
  const answer = errors?.map(({ message, extensions: { code } }) =>
    code === "BAD_USER_INPUT" ? `${code}: ${message}` : code,
  );
  const expected = actor === "visitor" ? "UNAUTHENTICATED" : expect.stringMatching(DENIED);
  expect([field.name, actor, answer]).toEqual([field.name, actor, [expected]]);
}

/** The arguments of an update or a delete that name the row. */
function keyOf(field: GeneratedField, row: Row): Values {
  const argument = schema.getMutationType()!.getFields()[field.name]!.args[0]!;
  const names = Object.keys((getNamedType(argument.type) as GraphQLInputObjectType).getFields());
  return Object.fromEntries(
    names.filter((name) => field.columns.has(name)).map((name) => [name, row[field.columns.get(name)!]]),
  );
}

async function rowWhere(relation: string, condition: string): Promise<Row> {
  const found = await owner<{ row: Row }>(
    withIds(`select to_jsonb(r) as row from ${relation} r where ${condition}`),
  );
  expect(found).toHaveLength(1);
  return found[0]!.row;
}

async function find(field: GeneratedField, row: Row): Promise<Row | undefined> {
  const key = keyOf(mutationOf(field.type.name, "delete") ?? mutationOf(field.type.name, "update")!, row);
  const columns = Object.keys(key).map((name) => field.columns.get(name)!);
  const where = columns.map((column, i) => `${column}::text = $${i + 1}`).join(" and ");
  const found = await owner<{ row: Row }>(
    `select to_jsonb(r) as row from ${field.relation} r where ${where}`,
    Object.values(key),
  );
  return found[0]?.row;
}

async function rowsIn(relation: string): Promise<Row[]> {
  const found = await owner<{ row: Row }>(
    `select to_jsonb(r) as row from ${relation} r order by to_jsonb(r)::text`,
  );
  return found.map(({ row }) => row);
}

const differences = (field: GeneratedField, row: Row, values: Values) =>
  Object.entries(values)
    .map(([name, value]) => [name, canonical(value), canonical(fromSql(row[field.columns.get(name)!]))])
    .filter(([, wanted, got]) => wanted !== got);

const shows = (field: GeneratedField, row: Row, values: Values) =>
  expect(differences(field, row, values)).toEqual([]);
const showsAll = (field: GeneratedField, row: Row, values: Values) =>
  differences(field, row, values).length === 0;

async function withIdsOf(values: Values): Promise<Values> {
  const entries = Object.entries(values).map(async ([name, value]) => {
    if (typeof value !== "string") return [name, value];
    if (value.startsWith("select ")) return [name, (await owner<{ id: string }>(value))[0]!.id];
    return [name, value.startsWith(":") ? IDS[value.slice(1)]! : value];
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** An interval as GraphQL takes it; any other value as it is. */
function fromSql(value: unknown): unknown {
  const [, days] = /^(\d+) days$/.exec(String(value)) ?? [];
  return days ? { days } : value;
}

const lowerFirst = (text: string) => text[0]!.toLowerCase() + text.slice(1);
