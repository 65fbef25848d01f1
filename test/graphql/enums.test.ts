import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import {
  type GraphQLEnumType,
  type GraphQLInputType,
  type GraphQLOutputType,
  type GraphQLSchema,
  getNamedType,
  isEnumType,
  isIntrospectionType,
} from "postgraphile/graphql";
import { closedListOf } from "../../plugins/enums/closed-list.ts";
import { type Answer, type Api, codeOf, signUp, startApi } from "../support/api.ts";
import { type ColumnField, readColumnFields } from "../support/column-fields.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// Closed lists of values are enums: the catalogue and the schema say the same.

/** A constraint that the catalogue calls a list of values, whether or not the plugin finds it. */
interface Listing {
  readonly path: string;
  readonly type: string;
  readonly definition: string;
  readonly expression: string;
}

let db: TestDatabase;
let schema: GraphQLSchema;
let fields: readonly ColumnField[];
let listings: readonly Listing[];

const asOwner = async <T extends object>(sql: string, values: readonly unknown[] = []) =>
  withClient(db.url("owner"), async (client) => (await client.query<T>(sql, [...values])).rows);

beforeAll(async () => {
  db = await createTestDatabase();
  ({ schema, fields } = await readColumnFields(db));
  listings = await asOwner<Listing>(`
    select
      coalesce(n.nspname || '.' || c.relname || '.' || a.attname, m.nspname || '.' || t.typname) as path,
      coalesce(format_type(a.atttypid, null), 'text') as type,
      pg_get_constraintdef(k.oid, true) as definition,
      replace(pg_get_expr(k.conbin, k.conrelid), 'VALUE', 'x') as expression
    from pg_constraint k
    left join pg_class c on c.oid = k.conrelid
    left join pg_namespace n on n.oid = c.relnamespace
    left join pg_attribute a on a.attrelid = c.oid and a.attnum = k.conkey[1]
    left join pg_type t on t.oid = k.contypid
    left join pg_namespace m on m.oid = t.typnamespace
    where k.contype = 'c'
      and coalesce(n.nspname, m.nspname) in ('identity', 'access', 'billing', 'llm', 'rooms', 'learning', 'security')
      and (cardinality(k.conkey) = 1 or k.contypid <> 0)
      and c.relispartition is not true
      and pg_get_constraintdef(k.oid, true) ~ '(ANY|<@) \\(?ARRAY\\['
      and pg_get_constraintdef(k.oid, true) !~ '(array_position|cardinality|length|<>)'`);
});
afterAll(() => db.drop());

const enums = () =>
  Object.values(schema.getTypeMap()).filter(
    (type): type is GraphQLEnumType =>
      isEnumType(type) && !isIntrospectionType(type) && !type.name.endsWith("OrderBy"),
  );
const valuesOf = (type: GraphQLOutputType | GraphQLInputType) => {
  const named = getNamedType(type);
  return isEnumType(named) ? named.getValues().map(({ value }) => value as string) : [];
};

describe("each column with a list of values", () => {
  test("is an enum with exactly the values that its constraint accepts, in types and inputs", async () => {
    const closed = new Map(listings.map((listing) => [listing.path, listing]));
    const found = fields.filter(({ path }) => closed.has(path));
    expect(new Set(found.map(({ path }) => path)).size).toBeGreaterThan(30);
    expect(found.filter(({ type }) => !isEnumType(getNamedType(type))).map(({ place }) => place)).toEqual([]);
    const wrong = new Set<string>();
    for (const { path, place, type } of found) {
      const listing = closed.get(path)!;
      const listed = [...listing.definition.matchAll(/'((?:[^']|'')*)'::/g)].map(([, value]) => value);
      if (String(listed.sort()) !== String(valuesOf(type).sort())) wrong.add(place);
    }
    expect([...wrong]).toEqual([]);
  });

  test("accepts each value of its enum and no other", async () => {
    const wrong: string[] = [];
    await withClient(db.url("owner"), async (client) => {
      for (const { path, type, expression, definition } of listings) {
        const values = closedListOf(definition) ?? [];
        if (values.length === 0) wrong.push(`${path} is not read as a list: ${definition}`);
        const name = path.split(".")[2] ?? "x";
        const isAccepted = async (value: string) => {
          const given = type.endsWith("[]") ? "array[$1]::text[]" : "$1::text";
          const { rows } = await client.query<{ ok: boolean }>(
            `select ${expression} as ok from (select ${given} as "${name}") t`,
            [value],
          );
          return rows[0]!.ok;
        };
        for (const value of values) if (!(await isAccepted(value))) wrong.push(`${path} rejects ${value}`);
        for (const other of ["no such value", "", values[0]?.toUpperCase() === values[0] ? "x" : "X"])
          if (await isAccepted(other)) wrong.push(`${path} accepts ${JSON.stringify(other)}`);
      }
    });
    expect(wrong).toEqual([]);
  });
});

test("each list that the schema names elsewhere has only values that a function or view of the database writes", async () => {
  const texts = await asOwner<{ text: string }>(`
    select p.prosrc as text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname not in ('pg_catalog', 'information_schema')
    union all
    select pg_get_viewdef(c.oid) from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'v' and n.nspname not in ('pg_catalog', 'information_schema')`);
  const code = texts.map(({ text }) => text).join("\n");
  const unwritten = listings
    .filter(({ path }) => path.split(".").length === 2)
    .flatMap(({ path, definition }) => (closedListOf(definition) ?? []).map((value) => ({ path, value })))
    // Written with the column's name as value, or given by the client.
    .filter(
      ({ path }) =>
        !/api_token_scope|api_role|policy_command|explained_operation|condition_operator/.test(path),
    )
    .filter(({ value }) => !code.includes(`'${value}'`))
    .map(({ path, value }) => `${path}: ${value}`);
  expect(unwritten).toEqual([]);
});

test("each enum and each of its values has a description", () => {
  expect(enums().length).toBeGreaterThan(40);
  const undescribed = enums().flatMap((type) => [
    ...(type.description ? [] : [type.name]),
    ...type
      .getValues()
      .filter(({ description }) => !description)
      .map(({ name }) => `${type.name}.${name}`),
  ]);
  expect(undescribed).toEqual([]);
});

test.each<[string, readonly string[] | undefined]>([
  ["CHECK (state = ANY (ARRAY['a'::text, 'b'::text]))", ["a", "b"]],
  ["CHECK (state IS NULL OR (state = ANY (ARRAY['a'::text, 'b'::text])))", ["a", "b"]],
  ["CHECK ((state = ANY (ARRAY['a'::text, 'b'::text])) OR state IS NULL)", ["a", "b"]],
  ["CHECK (state::text = ANY (ARRAY['a'::character varying, 'b'::character varying]::text[]))", ["a", "b"]],
  ["CHECK (\"order\" = ANY (ARRAY['it''s'::text]))", ["it's"]],
  ["CHECK (VALUE = ANY (ARRAY['a'::text]))", ["a"]],
  ["CHECK (kinds <@ ARRAY['a'::text, 'b'::text])", ["a", "b"]],
  ["CHECK (kind = 'only'::text)", ["only"]],
  ["CHECK (state = ANY (ARRAY['a'::text, 'b'::text])) NOT VALID", undefined],
  ["CHECK (state <> ALL (ARRAY['a'::text, 'b'::text]))", undefined],
  ["CHECK (lower(state) = ANY (ARRAY['a'::text, 'b'::text]))", undefined],
  ["CHECK ((state = ANY (ARRAY['a'::text])) OR state ~ '^x'::text)", undefined],
  ["CHECK ((state = ANY (ARRAY['a'::text])) = (note IS NOT NULL))", undefined],
  ["CHECK (level = ANY (ARRAY[1, 2]))", undefined],
])("%s lists %j", (definition, values) => {
  expect(closedListOf(definition)).toEqual(values);
});

describe("columns of an application", () => {
  const TABLE = `
    create domain learning.probe_color as text check (value in ('red', 'green'));
    create table learning.probes (
      id integer primary key,
      kind text check (kind in ('a-b', '2nd', 'ok')),
      probe_state character varying(20) check (probe_state in ('on', 'off')),
      color learning.probe_color,
      flag text check (flag in ('true', 'false')),
      twins text check (twins in ('a-b', 'a_b')),
      late text,
      shared text
    );
    create index on learning.probes (kind);
    comment on column learning.probes.shared is '@values learning.probes.kind';
    comment on constraint probes_kind_check on learning.probes is E'Kind of a probe.\\nok: Fine.\\na-b: From a to b.';
    alter table learning.probes add constraint late_check check (late in ('x')) not valid;
    insert into learning.probes values (1, 'a-b', 'on', 'red', 'true', 'a_b', 'x', 'ok');
    grant select on learning.probes to ${"%ROLE%"}`;
  let probes: GraphQLSchema;
  let servers: Api[];
  let token: string;

  beforeAll(async () => {
    await asOwner(TABLE.replace("%ROLE%", `"${db.rolePrefix}_user"`));
    probes = (await readColumnFields(db)).schema;
    servers = await Promise.all(
      ["always", "never"].map((mode) => startApi(db, { PLINTH_COMPILED_DOCUMENTS: mode })),
    );
    ({ token } = await signUp(servers[0]!, "ada"));
  });
  afterAll(() => Promise.all((servers ?? []).map((api) => api.close())));

  const ask = (query: string, variables: Record<string, unknown> = {}): Promise<Answer[]> =>
    Promise.all(servers.map((api) => api.ask(query, { token, variables })));
  const typeOf = (name: string) => {
    const type = probes.getType("Probe") as unknown as {
      getFields(): Record<string, { type: GraphQLOutputType }>;
    };
    return String(type.getFields()[name]!.type);
  };

  test("are enums by the rule, unless their values cannot be names or their rows may have others", () => {
    expect(
      ["kind", "probeState", "color", "shared", "flag", "twins", "late"].map((name) => [name, typeOf(name)]),
    ).toEqual([
      ["kind", "ProbeKind"],
      ["probeState", "ProbeState"],
      ["color", "ProbeColor"],
      ["shared", "ProbeKind"],
      ["flag", "String"],
      ["twins", "String"],
      ["late", "String"],
    ]);
    const values = (probes.getType("ProbeKind") as GraphQLEnumType).getValues();
    expect(values.map(({ name, value, description }) => [name, value, description])).toEqual([
      ["a_b", "a-b", "From a to b."],
      ["_2nd", "2nd", undefined],
      ["ok", "ok", "Fine."],
    ]);
  });

  test("are read, filtered and ordered with the names of the values", async () => {
    for (const query of [
      "{ probes { nodes { kind probeState color shared } } }",
      "{ probes(orderBy: KIND_DESC, filter: { kind: { in: [a_b] } }) { nodes { kind probeState color shared } } }",
    ])
      for (const { data } of await ask(query))
        expect(data.probes.nodes).toEqual([{ kind: "a_b", probeState: "on", color: "red", shared: "ok" }]);
    const filtered =
      "query ($kinds: [ProbeKind!]) { probes(filter: { kind: { in: $kinds } }) { totalCount } }";
    for (const { data } of await ask(filtered, { kinds: ["ok"] })) expect(data.probes.totalCount).toBe(0);
  });

  test("a value that is not in the enum is BAD_USER_INPUT in a variable, and invalid in a document", async () => {
    const answers = await Promise.all([
      ask("{ probes(filter: { kind: { equalTo: other } }) { totalCount } }"),
      ask("query ($kind: ProbeKind) { probes(filter: { kind: { equalTo: $kind } }) { totalCount } }", {
        kind: "other",
      }),
      ask('mutation { setPresence(input: { status: "online" }) { expiresAt } }'),
    ]);
    const twice = (code: string) => [code, code];
    expect(answers.map((of) => of.map(codeOf))).toEqual(
      ["GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"].map(twice),
    );
  });

  test("a stored value out of range is the same error, compiled and planned, and null", async () => {
    await asOwner("update learning.probes set shared = $1", ["stray"]);
    for (const answer of await ask("{ probes { nodes { id shared probeState } } }")) {
      expect(answer.data.probes.nodes).toEqual([{ id: 1, shared: null, probeState: "on" }]);
      expect(codeOf(answer)).toBe("INTERNAL");
    }
    for (const stray of ["", " ", "1"]) {
      await asOwner("update learning.probes set shared = $1", [stray]);
      for (const answer of await ask("{ probes { nodes { shared } } }"))
        expect(codeOf(answer)).toBe("INTERNAL");
    }
  });
});
