import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { FUNCTIONS, READS_OF_OTHERS } from "../../plugins/reads-of-others.ts";
import { documentHash } from "../../src/documents/document-hash.ts";
import { type Actor, seedActors } from "../support/access-seed.ts";
import { type Api, codeOf, startApi } from "../support/api.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  rowsAs,
  type TestDatabase,
} from "../support/database.ts";
import { type GeneratedField, readSurface } from "../support/generated-fields.ts";

// Reads of other people's data that a permission allows are recorded before the answer is sent.

let db: TestDatabase;
let actors: ReadonlyMap<string, Actor>;
let fields: readonly GeneratedField[];
let apis: Readonly<Record<string, Api>>;
beforeAll(async () => {
  db = await createTestDatabase();
  actors = await seedActors(db);
  fields = (await readSurface(db)).generated;
  const start = (mode: string) =>
    startApi(db, {
      PLINTH_COMPILED_DOCUMENTS: mode,
      PLINTH_LIMIT_COST: "100000000",
      PLINTH_LIMIT_ROOT_FIELDS: "1000",
      PLINTH_LIMIT_FIELDS: "100000",
      PLINTH_LIMIT_PAGE_SIZE: "1000",
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

/** Tables in which a permission shows rows that name a person, but no personal data, each with its reason. */
const NOT_PERSONAL: Readonly<Record<string, string>> = {
  "learning.content_items": "Drafts are the product's, and their authors work on it.",
  "llm.prompts": "Editors see the product's prompts, which have no user.",
  "security.legal_holds": "Holds are not in the API.",
  "security.personal_data_reads": "A read of the log would add as many rows to it as it shows.",
};

test("knows each table whose rows a permission shows and that names the person they belong to", async () => {
  const tables = await inRolledBackTransaction(db, (tx) =>
    tx.rows<{ name: string }>(
      `select distinct n.nspname || '.' || c.relname as name
       from pg_policy p
       join pg_class c on c.oid = p.polrelid
       join pg_namespace n on n.oid = c.relnamespace
       where p.polcmd in ('r', '*') and pg_get_expr(p.polqual, p.polrelid) ~ 'has_permission'
         and exists (
           select from pg_attribute a where a.attrelid = c.oid and a.attname in ('user_id', 'author_id') and a.attnum > 0
         )
       order by 1`,
    ),
  );
  const names = tables.map(({ name }) => name);
  expect(names.length).toBeGreaterThan(15);
  expect(names.filter((name) => !(name in READS_OF_OTHERS)).sort()).toEqual(Object.keys(NOT_PERSONAL).sort());
});

/** Functions that ask for a permission, but whose answer is no row of a person, each with its reason. */
const NOT_ROWS: Readonly<Record<string, string>> = {
  "access.enforce": "Whether a rule allows something.",
  "access.enforce_abac": "Whether a rule allows something.",
  "access.enforce_many": "Whether a rule allows something.",
  "access.required_change": "The change that the parts of a policy, its argument, would need.",
  "learning.is_content_editor": "The caller's own permissions.",
  "learning.may_ask_about": "It raises an error or not.",
  "security.activity_counts": "Counts.",
  "security.error_counts": "Counts.",
  "security.revenue_counts": "Counts.",
  "security.sign_in_counts": "Counts.",
  "security.system_state": "Counts and states of the system.",
  "security.token_use_counts": "Counts.",
};

test("knows each function of the API that reads for holders of a permission", async () => {
  const functions = await inRolledBackTransaction(db, (tx) =>
    tx.rows<{ name: string }>(
      `select distinct p.pronamespace::regnamespace || '.' || p.proname as name
       from pg_proc p
       where p.pronamespace::regnamespace::text = any ('{identity,access,billing,llm,rooms,learning,security}')
         and p.provolatile <> 'v' and p.prorettype <> 'trigger'::regtype
         and p.prosrc ~ 'has_permission|require_(asker|operations|administration)|casbin_require'
         and has_function_privilege($1, p.oid, 'execute')
       order by 1`,
      [`${db.rolePrefix}_user`],
    ),
  );
  expect(functions.map(({ name }) => name).filter((name) => !(name in FUNCTIONS))).toEqual(
    Object.keys(NOT_ROWS).sort(),
  );
  expect(Object.keys(FUNCTIONS).filter((name) => !functions.some((each) => each.name === name))).toEqual([]);
});

interface Row extends Record<string, unknown> {
  readonly user_id: string | null;
  readonly relations: string[];
  readonly row_count: string;
}
const recorded = () =>
  asOwner<Row>("select * from security.personal_data_reads order by created_at, user_id", []);

/** The number of rows by person, from SQL: the owner, and the actor of an audit log. */
async function rowsOfOthers(relations: readonly string[], actor = "admin"): Promise<Map<string, number>> {
  return inRolledBackTransaction(db, async (tx) => {
    await tx.asUser(idOf(actor));
    const counts = new Map<string, number>();
    for (const relation of relations) {
      const { column, otherPerson = "null::uuid", isForEverybody } = READS_OF_OTHERS[relation]!;
      const rows = await tx.rows<{ person: string | null; n: number }>(
        `select p.person, count(*)::int as n
         from ${relation} r
         cross join lateral (
           select distinct unnest(case when num_nulls(${column}, ${otherPerson}) = 2 then array[null::uuid]
             else array_remove(array[${column}, ${otherPerson}], null) end)
         ) p (person)
         where p.person ${isForEverybody ? "<>" : "is distinct from"} $1
         group by 1`,
        [idOf(actor)],
      );
      for (const { person, n } of rows)
        counts.set(person ?? "nobody", (counts.get(person ?? "nobody") ?? 0) + n);
    }
    return counts;
  });
}

describe.each(["planned", "compiled"])("operations that are %s [C11, A6]", (mode) => {
  const ask = (query: string, name = "admin", variables = {}) =>
    apis[mode]!.ask(query, { token: actors.get(name)!.token, variables });

  test("records each list that shows rows of others, with the people and the number of their rows", async () => {
    const lists = fields.filter(({ kind }) => kind === "list");
    const query = `query Look { ${lists.map(({ name, scalars }) => `${name} { nodes { ${scalars.join(" ")} } }`).join(" ")} }`;
    expect((await ask(query)).errors).toBeUndefined();
    const listed = [...new Set(lists.map(({ relation }) => relation))].filter(
      (name) => name in READS_OF_OTHERS,
    );
    expect(listed.length).toBeGreaterThan(20);
    const rows = await recorded();
    expect(new Map(rows.map(({ user_id, row_count }) => [user_id ?? "nobody", Number(row_count)]))).toEqual(
      await rowsOfOthers(listed),
    );
    expect(new Set(rows.map(({ read_id }) => read_id)).size).toBe(1);
    expect(new Set(rows.flatMap(({ relations }) => relations))).toEqual(
      new Set(
        (
          await Promise.all(listed.map(async (name) => ((await rowsOfOthers([name])).size > 0 ? [name] : [])))
        ).flat(),
      ),
    );
    expect(rows[0]).toMatchObject({
      actor_id: idOf("admin"),
      actor_roles: ["admin"],
      classes: expect.arrayContaining(["contact", "pseudonym"]),
      origin: "api",
      operation: "Look",
      document_hash: documentHash(query),
      ip_address: "127.0.0.1",
      correlation_id: expect.any(String),
    });
  });

  test("records every way that leads to a row: by its key, over relations, as an edge, and by its cursor", async () => {
    const id = JSON.stringify(idOf("ada"));
    const ways: Record<string, string> = {
      key: `{ user(id: ${id}) { email } }`,
      "another name": `{ somebody: user(id: ${id}) { ...names } } fragment names on User { username }`,
      "a to-one relation": "{ payments(first: 1) { nodes { user { email } } } }",
      "a to-many relation": `{ user(id: ${id}) { payments { nodes { amountCents } } } }`,
      edges: "{ users { edges { node { username } } } }",
      "cursors of edges": "{ users(orderBy: CREATED_AT_ASC) { edges { cursor } } }",
      "cursors of the page": "{ users(orderBy: CREATED_AT_ASC) { pageInfo { startCursor endCursor } } }",
    };
    const missing: string[] = [];
    for (const [way, query] of Object.entries(ways)) {
      await asOwner("delete from security.personal_data_reads", []);
      expect((await ask(query)).errors).toBeUndefined();
      const rows = await recorded();
      if (
        !rows.some(
          ({ user_id, relations }) => user_id === idOf("ada") && relations.includes("identity.users"),
        )
      )
        missing.push(way);
    }
    expect(missing).toEqual([]);
  });

  test("records the models of another user, and their number", async () => {
    await asOwner(
      "insert into access.user_model_access (user_id, model_id) select $1, id from llm.models on conflict do nothing",
      [idOf("ada")],
    );
    for (const part of ["nodes { source }", "totalCount"]) {
      await asOwner("delete from security.personal_data_reads", []);
      const query = `{ modelAccessOf(userId: "${idOf("ada")}") { ${part} } }`;
      expect((await ask(query, "ada")).errors).toBeUndefined();
      expect(await recorded()).toEqual([]);
      expect((await ask(query)).errors).toBeUndefined();
      expect(await recorded()).toMatchObject([
        { user_id: idOf("ada"), relations: ["access.user_model_access"] },
      ]);
    }
  });

  test("records the actor of an event of the audit log, too", async () => {
    await asOwner(
      `insert into security.audit_trail (user_id, actor_id, table_name, operation, row_key, transaction_number, source)
       values ($1, $2, 'identity.users', 'INSERT', '{}', 1, 'x')`,
      [idOf("ada"), idOf("bob")],
    );
    await ask(`{ auditTrails(filter: { actorId: { equalTo: "${idOf("bob")}" } }) { nodes { ipAddress } } }`);
    expect((await recorded()).map(({ user_id }) => user_id)).toContain(idOf("bob"));
  });

  test("records the total of a guess, and the rows of a function", async () => {
    await ask('{ users(filter: { email: { startsWith: "ada@" } }) { totalCount } }');
    expect((await recorded()).map(({ user_id }) => user_id)).toEqual([idOf("ada")]);
    await asOwner("delete from security.personal_data_reads", []);

    const course = randomUUID();
    const part = randomUUID();
    await asOwner(
      `insert into learning.content_items (id, category_id, slug, content_type, title, author_id)
       select $1::uuid, category_id, 'course-' || $1, 'course', 'x', $2::uuid from learning.content_items limit 1`,
      [course, idOf("bob")],
    );
    await asOwner(
      `insert into learning.content_items (id, category_id, slug, content_type, title, course_id)
       select $1::uuid, category_id, 'part-' || $1, 'article', 'x', id from learning.content_items where id = $2`,
      [part, course],
    );
    for (const id of [course, part]) {
      await asOwner(
        "insert into learning.content_versions (item_id, version, published_at) values ($1, 1, now())",
        [id],
      );
      await asOwner(
        "update learning.content_items set current_version = 1, publish_from = now() where id = $1",
        [id],
      );
    }
    await asOwner(
      `insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at)
       values ($1, $2, 1, now(), now())`,
      [idOf("ada"), part],
    );
    const learners = `{ courseLearners(courseId: "${course}") { nodes { userId progress } } }`;
    expect((await ask(learners, "bob")).data.courseLearners.nodes).toHaveLength(1);
    expect(await recorded()).toEqual([]);
    expect((await ask(learners)).data.courseLearners.nodes).toHaveLength(1);
    expect(await recorded()).toMatchObject([
      { user_id: idOf("ada"), relations: ["learning.content_progress"], row_count: "1" },
    ]);
  });

  test("records nothing for a caller without a permission, and nothing for the administrator's own rows", async () => {
    const lists = fields.filter(({ kind, relation }) => kind === "list" && relation in READS_OF_OTHERS);
    const query = `{ ${lists.map(({ name, scalars }) => `${name} { nodes { ${scalars.join(" ")} } }`).join(" ")} }`;
    for (const name of ["ada", "bob"]) await ask(query, name);
    await ask(`{ currentUser { email payments { nodes { id } } } user(id: "${idOf("admin")}") { email } }`);
    expect(await recorded()).toEqual([]);
  });

  test("returns no mark, and no answer if the read cannot be recorded", async () => {
    const query = "{ users { nodes { username email } } }";
    const { text } = await ask(query);
    expect(text).toContain("ada@example.org");
    expect(text).not.toMatch(/read_[0-9a-f]{8}/);
    await asOwner("alter function private.record_personal_data_reads rename to record_reads_elsewhere", []);
    try {
      const answer = await ask(query);
      expect(codeOf(answer)).toBe("INTERNAL");
      expect(answer.text).not.toContain("ada@example.org");
      expect((await ask(query, "ada")).text).toContain("ada@example.org");
    } finally {
      await asOwner("alter function private.record_reads_elsewhere rename to record_personal_data_reads", []);
    }
  });
});

test("shows people the reads of their data by role, and hides the reader's name and address [C11]", async () => {
  const { ask } = apis.planned!;
  await ask(`query Support { user(id: "${idOf("ada")}") { email } }`, { token: actors.get("admin")!.token });
  const mine =
    "{ currentUser { personalDataReads { nodes { actorRoles origin relations isOwn rowCount } } } }";
  const read = {
    actorRoles: ["admin"],
    origin: "api",
    relations: ["identity.users"],
    isOwn: false,
    rowCount: "1",
  };
  const answer = await ask(mine, { token: actors.get("ada")!.token });
  expect(answer.errors).toBeUndefined();
  expect(answer.data.currentUser.personalDataReads.nodes).toEqual([read]);
  expect(
    (await ask(mine, { token: actors.get("bob")!.token })).data.currentUser.personalDataReads.nodes,
  ).toEqual([]);
  const all = "{ personalDataReads { nodes { userId actorId operation ipAddress } } }";
  expect((await ask(all, { token: actors.get("ada")!.token })).data.personalDataReads.nodes).toEqual([]);
  expect((await ask(all, { token: actors.get("admin")!.token })).data.personalDataReads.nodes).toEqual([
    { userId: idOf("ada"), actorId: idOf("admin"), operation: "Support", ipAddress: "127.0.0.1" },
  ]);
});

test("keeps a read of a deleted person and by a deleted reader, without both [S14]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const [reader, subject] = await tx.rows<{ id: string }>(
      "insert into identity.users (username) values ('reader'), ('subject') returning id",
    );
    await tx.rows(
      `insert into security.personal_data_reads (read_id, user_id, actor_id, origin, source, relations, subject_count, ip_address, user_agent, correlation_id, reason)
       values (gen_random_uuid(), $1, $2, 'api', 'x', '{identity.users}', 1, '192.0.2.1', 'program', 'request', 'ticket of subject')`,
      [subject!.id, reader!.id],
    );
    const rows = () =>
      tx.rows(
        "select user_id, actor_id, host(ip_address) as ip, user_agent, correlation_id, reason from security.personal_data_reads",
      );
    await tx.rows("delete from identity.users where id = $1", [subject!.id]);
    expect(await rows()).toEqual([
      {
        user_id: null,
        actor_id: reader!.id,
        ip: "192.0.2.1",
        user_agent: "program",
        correlation_id: "request",
        reason: null,
      },
    ]);
    await tx.rows("delete from identity.users where id = $1", [reader!.id]);
    expect(await rows()).toEqual([
      { user_id: null, actor_id: null, ip: null, user_agent: null, correlation_id: null, reason: null },
    ]);
  });
});

test("names the first thousand people of a read, and counts the rows of the others", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.rows("insert into identity.users (username) select 'many' || n from generate_series(1, 1200) n");
    await tx.rows(
      `select private.record_personal_data_reads(
         (select jsonb_agg(jsonb_build_object('relation', 'identity.users', 'user_id', id, 'rows', 2)) from identity.users where username like 'many%'), 'x')`,
    );
    expect(
      await tx.rows(
        "select user_id is null as is_rest, count(*)::int as n, sum(row_count)::int as rows, max(subject_count) as people from security.personal_data_reads group by 1 order by 1",
      ),
    ).toEqual([
      { is_rest: false, n: 1000, rows: 2000, people: 1200 },
      { is_rest: true, n: 1, rows: 400, people: 1200 },
    ]);
  });
});
