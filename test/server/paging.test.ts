import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pLimit from "p-limit";
import {
  type GraphQLField,
  type GraphQLObjectType,
  getNamedType,
  isEnumType,
  isLeafType,
  isNonNullType,
  isObjectType,
} from "postgraphile/graphql";
import { API_SCHEMAS } from "../../src/graphql/preset.ts";
import { RBAC_MODEL } from "../support/access-probes/casbin-model.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { makeRowsOfEveryTable, rowId } from "../support/rows-of-any-table.ts";
import { openSchema, type SchemaInProcess } from "../support/schema-in-process.ts";

/** Fewer rows do not fill two pages. */
const ENOUGH_ROWS = 4;

/** Lists that generated rows do not fill: they are short by nature or match a search. */
const MAY_BE_SHORT: ReadonlySet<string> = new Set([
  // At most one row per user, model or installation.
  "Query.generalChatSettings",
  "Query.dataRightsSettings",
  "Query.userSecurityStatuses",
  "Model.currentModelPrices",
  "Query.currentModelPrices",
  "Query.contentAccess",
  // As many as the caller names, or as the change of a version made.
  "Query.enforceMany",
  "CasbinVersion.casbinChanges",
  // Only the caller's own.
  "Query.myRooms",
  "Query.unreadCounts",
  "User.usageLimits",
  "Model.dailyUsages",
  // Holds that name their subject in JSON.
  "TokenGrant.tokenHoldAllocations",
  "TokenHold.allocations",
  // Functions with more conditions.
  "Chat.activePath",
  "Query.courseLearners",
  "Query.recommendItems",
  "Query.roomContext",
  "Query.searchChatMessages",
  "Query.searchContent",
  "Query.searchRoomMessages",
]);

interface List {
  /** Type and field, such as `Chat.messages`. */
  readonly name: string;
  readonly field: GraphQLField<unknown, unknown>;
  readonly orders: readonly (string | undefined)[];
  /** Arguments that choose the list, as text. */
  readonly args: string;
  /** Type of the parent row; undefined at the root. */
  readonly parent: GraphQLObjectType | undefined;
}

interface Page {
  readonly edges: { readonly cursor: string | null; readonly node: object }[];
  readonly pageInfo: {
    readonly hasNextPage: boolean;
    readonly hasPreviousPage: boolean;
    readonly startCursor: string | null;
    readonly endCursor: string | null;
  };
  readonly totalCount: number;
}

let db: TestDatabase;
let api: SchemaInProcess;
beforeAll(async () => {
  db = await createTestDatabase();
  // Row-level security is not tested here: the owner reads every row.
  api = await openSchema(db, { role: "owner", userId: rowId(0) });
  await withClient(db.url("owner"), (client) =>
    client.query("insert into access.casbin_models (definition) values ($1)", [RBAC_MODEL]),
  );
  await makeRowsOfEveryTable(db, API_SCHEMAS);
  await withClient(db.url("owner"), (client) =>
    client.query(
      `insert into plinth.external_ids (system, relation, external_id, row_id, user_id)
       select 'acme', 'chats', n::text, gen_random_uuid(), $1 from generate_series(1, 9) n`,
      [rowId(0)],
    ),
  );
  // Lists of tables with an own-rows policy show other users' rows to those who hold the permission.
  await withClient(db.adminUrl, (client) =>
    client.query(
      `insert into access.user_roles (user_id, role_id) select $1, id from access.roles where role_name = 'admin'
       on conflict do nothing`,
      [rowId(0)],
    ),
  );
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

/** Every field of the schema that pages by cursors, generated or not. */
function allLists(): List[] {
  return Object.values(api.schema.getTypeMap())
    .filter(isObjectType)
    .flatMap((type) =>
      Object.values(type.getFields())
        .filter((field) => getNamedType(field.type).name.endsWith("Connection"))
        .map((field) => ({
          name: `${type.name}.${field.name}`,
          field,
          orders: ordersOf(field),
          args: chosenBy(field),
          parent: type === api.schema.getQueryType() ? undefined : type,
        })),
    );
}

/** Undefined stands for no order. */
function ordersOf({ args }: GraphQLField<unknown, unknown>): (string | undefined)[] {
  const orderBy = args.find(({ name }) => name === "orderBy");
  const type = orderBy && getNamedType(orderBy.type);
  return [undefined, ...(isEnumType(type) ? type.getValues().map(({ name }) => name) : [])];
}

function chosenBy({ name, args }: GraphQLField<unknown, unknown>): string {
  const values: Record<string, string> = { UUID: `"${rowId(0)}"`, String: '"word"', Int: "100" };
  return args
    .filter(({ type, defaultValue }) => isNonNullType(type) && defaultValue === undefined)
    .map((argument) => {
      const value = values[getNamedType(argument.type).name];
      if (!value) throw new Error(`Say in chosenBy what ${name} takes for ${argument.name}.`);
      return `${argument.name}: ${value}`;
    })
    .join(", ");
}

/** Identifies a row of the list: its node id, or all its fields. */
function rowFields({ field }: List): string {
  const connection = getNamedType(field.type) as GraphQLObjectType;
  const edge = getNamedType(connection.getFields().edges!.type) as GraphQLObjectType;
  const row = getNamedType(edge.getFields().node!.type) as GraphQLObjectType;
  if (isLeafType(row)) return "";
  const fields = Object.values(row.getFields());
  if (fields.some(({ name }) => name === "nodeId")) return "{ nodeId }";
  const leaves = fields.filter(({ type, args }) => isLeafType(getNamedType(type)) && args.length === 0);
  return `{ ${leaves.map(({ name }) => name).join(" ")} }`;
}

/** Selects the list in its parent row. */
function within({ parent }: List, nodeId: string | undefined, selection: string): string {
  return parent
    ? `parent: node(nodeId: ${JSON.stringify(nodeId)}) { ... on ${parent.name} { ${selection} } }`
    : selection;
}

/** The row with the most rows in this list. */
async function fullestParent(list: List, roots: readonly List[]): Promise<string | undefined> {
  if (!list.parent) return undefined;
  const root = roots.find(
    ({ field }) => rowTypeOf(field) === list.parent && field.args.some(({ name }) => name === "orderBy"),
  );
  if (!root) throw new Error(`There is no list of all ${list.parent.name} at the root.`);
  const args = list.args && `(${list.args})`;
  const { parents } = await api.ask(
    `{ parents: ${root.field.name}(first: 100) { nodes { nodeId list: ${list.field.name}${args} { edges { cursor } } } } }`,
  );
  const rowsIn = (parent: { list: { edges: unknown[] } }) => parent.list.edges.length;
  return parents.nodes.toSorted((a: never, b: never) => rowsIn(b) - rowsIn(a))[0]?.nodeId;
}

function rowTypeOf({ type }: GraphQLField<unknown, unknown>): unknown {
  const nodes = (getNamedType(type) as GraphQLObjectType).getFields().nodes;
  return nodes && getNamedType(nodes.type);
}

/** A page from each end of a list, in one order. */
type Read = (variables: Record<string, unknown>) => Promise<{ forwards: Page; backwards: Page }>;

function reader(list: List, nodeId: string | undefined, order: string | undefined): Read {
  const { field, args } = list;
  const orderType = field.args.find(({ name }) => name === "orderBy")?.type;
  const body = `{ edges { cursor node ${rowFields(list)} }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount }`;
  const selection = (alias: string, paging: string) =>
    `${alias}: ${field.name}(${[args, orderType && "orderBy: $order", paging].filter(Boolean).join(", ")}) ${body}`;
  const declared = [
    "$first: Int, $last: Int, $after: Cursor, $before: Cursor",
    orderType && `$order: ${orderType}`,
  ];
  const query = `query (${declared.filter(Boolean).join(", ")}) { ${within(
    list,
    nodeId,
    `${selection("forwards", "first: $first, after: $after")} ${selection("backwards", "last: $last, before: $before")}`,
  )} }`;
  return async (variables) => {
    const data = await api.ask(query, order === undefined ? variables : { ...variables, order });
    return list.parent ? data.parent : data;
  };
}

/** Pages a list in one order from both ends; returns its rows and the faults found. */
async function page(read: Read): Promise<{ rows: string[]; faults: string[] }> {
  const whole = await read({ first: 100, last: 100 });
  const rows = rowsOf(whole.forwards);
  const size = Math.max(2, Math.ceil(rows.length / 3));
  const faults = new Set<string>();
  if (rowsOf(whole.backwards).join() !== rows.join()) faults.add("another order from the end");

  const seen = { forwards: [] as string[], backwards: [] as string[] };
  let after: string | null = null;
  let before: string | null = null;
  let isDone = { forwards: false, backwards: false };
  for (let round = 0; !(isDone.forwards && isDone.backwards); round++) {
    const { forwards, backwards } = await read({ first: size, after, last: size, before });
    if (!isDone.forwards) seen.forwards.push(...rowsOf(forwards));
    if (!isDone.backwards) seen.backwards.unshift(...rowsOf(backwards));
    after = forwards.pageInfo.endCursor;
    before = backwards.pageInfo.startCursor;
    for (const { edges, totalCount } of [forwards, backwards]) {
      if (edges.some(({ cursor }) => cursor === null)) faults.add("a null cursor");
      if (totalCount !== rows.length) faults.add(`totalCount is ${totalCount} of ${rows.length}`);
    }
    if (round > 20) faults.add("no end");
    isDone = {
      forwards: isDone.forwards || !forwards.pageInfo.hasNextPage || after === null || round > 20,
      backwards: isDone.backwards || !backwards.pageInfo.hasPreviousPage || before === null || round > 20,
    };
  }
  for (const [direction, found] of Object.entries(seen))
    if (found.join() !== rows.join())
      faults.add(
        `${found.length} rows (${new Set(found).size} different) of ${rows.length}, paged ${direction} by ${size}`,
      );
  return { rows, faults: [...faults] };
}

const rowsOf = ({ edges }: Page): string[] => edges.map(({ node }) => JSON.stringify(node));

/** Whether each part of pageInfo has the same value alone as beside the rows. */
async function pageInfoFaults(list: List, nodeId: string | undefined): Promise<string[]> {
  const { name, field, args } = list;
  const select = (alias: string, selection: string) =>
    `${alias}: ${field.name}(${[args, "first: 1"].filter(Boolean).join(", ")}) { ${selection} }`;
  const parts = ["hasNextPage", "startCursor", "endCursor"];
  const alone = parts.map((part) => select(part, `pageInfo { ${part} }`));
  const together = select("together", `edges { cursor } pageInfo { ${parts.join(" ")} }`);
  const data = await api.ask(`{ ${within(list, nodeId, [...alone, together].join(" "))} }`);
  const answer = list.parent ? data.parent : data;
  return parts
    .filter((part) => answer[part].pageInfo[part] !== answer.together.pageInfo[part])
    .map((part) => `${name}: ${part} without rows is ${answer[part].pageInfo[part]}`);
}

/** Pages a list in each of its orders; returns the number of rows and the faults found. */
async function pageByEach(
  list: List,
  nodeId: string | undefined,
): Promise<{ count: number; faults: string[] }> {
  const faults = await pageInfoFaults(list, nodeId);
  const rowsBy = new Map<string | undefined, string[]>();
  for (const order of list.orders) {
    const result = await page(reader(list, nodeId, order));
    rowsBy.set(order, result.rows);
    faults.push(...result.faults.map((fault) => `${list.name} by ${order ?? "nothing"}: ${fault}`));
  }
  const count = rowsBy.get(undefined)!.length;
  for (const [order, rows] of rowsBy) {
    if (rows.length !== count) faults.push(`${list.name} by ${order}: ${rows.length} rows of ${count}`);
    const opposite = rowsBy.get(order?.replace(/_ASC$/, "_DESC"));
    if (order?.endsWith("_ASC") && opposite?.toReversed().join() !== rows.join())
      faults.push(`${list.name} by ${order}: descending is not the opposite`);
  }
  return { count, faults };
}

test("returns each row of every list exactly once in every order, forwards and backwards", async () => {
  const lists = allLists();
  const roots = lists.filter(({ parent }) => !parent);
  const faults: string[] = [];
  const short: string[] = [];
  const page = async (list: List) => {
    try {
      const { count, faults: found } = await pageByEach(list, await fullestParent(list, roots));
      if (count < ENOUGH_ROWS && !MAY_BE_SHORT.has(list.name)) short.push(`${list.name}: ${count}`);
      faults.push(...found);
    } catch (error) {
      faults.push(`${list.name}: ${(error as Error).message}`);
    }
  };
  // A list is planned while another waits for the database.
  const limit = pLimit(4);
  await Promise.all(lists.map((list) => limit(page, list)));
  const names = new Set(lists.map(({ name }) => name));
  const gone = [...MAY_BE_SHORT].filter((name) => !names.has(name));
  expect({ short, gone, faults }).toEqual({ short: [], gone: [], faults: [] });
}, 600_000);

test("reports a cursor of another order, of another list or of unknown origin as the client's mistake", async () => {
  const read = (paging: string) => api.ask(`{ chats(first: 3 ${paging}) { edges { cursor } } }`);
  const { chats } = await read("orderBy: UPDATED_AT_DESC");
  const after = `after: "${chats.edges[0].cursor}"`;
  await expect(read(`orderBy: TITLE_ASC ${after}`)).rejects.toThrow("belongs to another order");
  await expect(read(after)).rejects.toThrow("belongs to another order");
  await expect(read('after: "bm93aGVyZQ=="')).rejects.toThrow("not a cursor");
});

test("counts an offset from the cursor", async () => {
  const read = async (paging: string) => {
    const { chats } = await api.ask(`{ chats(orderBy: TITLE_ASC ${paging}) { edges { cursor } } }`);
    return chats.edges.map(({ cursor }: { cursor: string }) => cursor);
  };
  const all = await read("first: 100");
  expect(await read(`first: 3 offset: 1 after: "${all[1]}"`)).toEqual(all.slice(3, 6));
});
