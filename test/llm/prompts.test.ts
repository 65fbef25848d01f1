import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { grantRole, registerUser } from "../support/accounts.ts";
import { connect, connectAs, type UserConnection } from "../support/chat.ts";
import { createTestDatabase, expectSqlState, type TestDatabase } from "../support/database.ts";
import { untilWaiting, whileLocked } from "../support/waiting.ts";

// Prompts: every version is kept, labels point at a version, variables have types, the owner chooses readers, and uses are
// counted.

let db: TestDatabase;
let ada: UserConnection;
let bob: UserConnection;
let eve: UserConnection;
let editor: UserConnection;
let adaId: string;
let bobId: string;
let owner: Awaited<ReturnType<typeof connect>>;
beforeAll(async () => {
  db = await createTestDatabase();
  const ids = await Promise.all(["ada", "bob", "eve", "editor"].map((name) => registerUser(db, name)));
  await grantRole(db, ids[3]!, "moderator");
  [adaId, bobId] = ids as [string, string];
  [ada, bob, eve, editor] = (await Promise.all(ids.map((id) => connectAs(db, id)))) as [
    UserConnection,
    UserConnection,
    UserConnection,
    UserConnection,
  ];
  owner = await connect(db, "owner");
});
afterAll(async () => {
  for (const connection of [ada, bob, eve, editor, owner]) await connection.end();
  await db.drop();
});

let count = 0;
async function make(content: string, variables: unknown = [], user = ada): Promise<string> {
  count += 1;
  const [row] = await user.rows<{ id: string }>(
    "insert into llm.prompts (name, content, variables) values ($1, $2, $3) returning id",
    [`prompt ${count}`, content, JSON.stringify(variables)],
  );
  return row!.id;
}
const render = async (prompt: string, values: unknown = {}, args = "", user = ada) =>
  (
    await user.rows<{ text: string }>(`select llm.render_prompt($1, $2${args}) as text`, [
      prompt,
      JSON.stringify(values),
    ])
  )[0]!.text;

describe("versions", () => {
  test("are created only by a change of content or variables", async () => {
    const id = await make("one");
    await ada.rows("update llm.prompts set content = 'two' where id = $1", [id]);
    await ada.rows("update llm.prompts set is_for_developers = true, content = 'two' where id = $1", [id]);
    await ada.rows(`update llm.prompts set variables = '[{"name": "x", "type": "text"}]' where id = $1`, [
      id,
    ]);
    expect(
      await ada.rows(
        "select version, content, created_by from llm.prompt_versions where prompt_id = $1 order by version",
        [id],
      ),
    ).toEqual([
      { version: 1, content: "one", created_by: adaId },
      { version: 2, content: "two", created_by: adaId },
      { version: 3, content: "two", created_by: adaId },
    ]);
    expect(await ada.rows("select current_version from llm.prompts where id = $1", [id])).toEqual([
      { current_version: 3 },
    ]);
    await expectSqlState(ada.rows("update llm.prompts set current_version = 9"), "42501");
  });

  test("never change, not even by the database owner", async () => {
    const id = await make("one");
    await expectSqlState(ada.rows("update llm.prompt_versions set content = 'x'"), "42501");
    await expectSqlState(ada.rows("delete from llm.prompt_versions"), "42501");
    await expectSqlState(
      owner.rows("update llm.prompt_versions set content = 'x' where prompt_id = $1", [id]),
      "PL403",
    );
  });

  test("have no gap after concurrent changes", async () => {
    const id = await make("0");
    const connections = await Promise.all(Array.from({ length: 8 }, () => connectAs(db, adaId)));
    await Promise.all(
      connections.map(async (one, n) => {
        for (let i = 0; i < 5; i++)
          await one.rows("update llm.prompts set content = $2 where id = $1", [id, `${n}.${i}`]);
      }),
    );
    await Promise.all(connections.map((one) => one.end()));
    expect(
      await ada.rows(
        "select count(*)::integer as n, max(version) as last from llm.prompt_versions where prompt_id = $1",
        [id],
      ),
    ).toEqual([{ n: 41, last: 41 }]);
    expect(await render(id)).toBe(await render(id, {}, ", version => 41"));
  });

  test("outlive their author when the prompt does", async () => {
    const id = await registerUser(db, "leaver");
    await grantRole(db, id, "moderator");
    const leaver = await connectAs(db, id);
    const [prompt] = await leaver.rows<{ id: string }>(
      "insert into llm.prompts (user_id, name, content) values (null, 'library one', 'x') returning id",
    );
    await leaver.end();
    await owner.rows("delete from identity.users where id = $1", [id]);
    expect(
      await ada.rows("select created_by from llm.prompt_versions where prompt_id = $1", [prompt!.id]),
    ).toEqual([{ created_by: null }]);
  });
});

describe("labels", () => {
  test("point at a version, move and can be removed", async () => {
    const id = await make("one");
    await ada.rows("update llm.prompts set content = 'two' where id = $1", [id]);
    const label = (name: string, version: number | null, user = ada) =>
      user.rows("select version from llm.label_prompt($1, $2, $3)", [id, name, version]);
    await label("production", 1);
    expect(await render(id, {}, ", 'production'")).toBe("one");
    expect(await render(id)).toBe("two");
    await label("production", 2);
    expect(await render(id, {}, ", 'production'")).toBe("two");
    await expectSqlState(label("production", 3), "PL404");
    await expectSqlState(label("Not a label!", 1), "PL422");
    await expectSqlState(label("production", 1, bob), "PL404");
    expect(await label("production", null)).toEqual([{ version: 2 }]);
    expect(await label("production", null)).toEqual([{ version: null }]);
    await expectSqlState(render(id, {}, ", 'production'"), "PL404");
    await expectSqlState(render(id, {}, ", 'x', 1"), "PL422");
  });

  test("in the library can be set only by editors", async () => {
    const [prompt] = await editor.rows<{ id: string }>(
      "insert into llm.prompts (user_id, name, content) values (null, 'labelled', 'x') returning id",
    );
    await expectSqlState(ada.rows("select llm.label_prompt($1, 'staging', 1)", [prompt!.id]), "PL404");
    await editor.rows("select llm.label_prompt($1, 'staging', 1)", [prompt!.id]);
    expect(await render(prompt!.id, {}, ", 'staging'")).toBe("x");
  });
});

describe("variables", () => {
  const VARIABLES = [
    { name: "topic", type: "text" },
    { name: "count", type: "integer", default: 3 },
    { name: "ratio", type: "number", default: 0.5 },
    { name: "loud", type: "boolean", default: false },
    { name: "tone", type: "choice", choices: ["dry", "warm"], default: "dry" },
  ];

  test("are inserted by type, including defaults", async () => {
    const id = await make("{{topic}}/{{ count }}/{{ratio}}/{{loud}}/{{tone}}/{{topic}}", VARIABLES);
    expect(await render(id, { topic: "sea" })).toBe("sea/3/0.5/false/dry/sea");
    expect(await render(id, { topic: "", count: 10, ratio: -1e3, loud: true, tone: "warm" })).toBe(
      "/10/-1000/true/warm/",
    );
  });

  test.each<[string, Record<string, unknown>]>([
    ["a missing value", {}],
    ["an undeclared value", { topic: "x", other: 1 }],
    ["a number for a text", { topic: 1 }],
    ["null", { topic: null }],
    ["a fraction for an integer", { topic: "x", count: 1.5 }],
    ["a text for a number", { topic: "x", ratio: "1" }],
    ["a text for a boolean", { topic: "x", loud: "true" }],
    ["an unknown choice", { topic: "x", tone: "cold" }],
    ["an object", { topic: { a: 1 } }],
  ])("reject %s", async (_, values) => {
    const id = await make("{{topic}}", VARIABLES);
    await expect(render(id, values)).rejects.toMatchObject({ code: "PL422", column: "prompt_values" });
  });

  test("are inserted once: values and undeclared braces stay unchanged", async () => {
    const id = await make("{{a}} {{b}} {{c}} {{ {a} }} \\1 \\& {{A}}", [
      { name: "a", type: "text" },
      { name: "b", type: "text" },
    ]);
    expect(await render(id, { a: "{{b}}", b: "\\1 $1 \\& {{a}}" })).toBe(
      "{{b}} \\1 $1 \\& {{a}} {{c}} {{ {a} }} \\1 \\& {{A}}",
    );
  });

  test.each<[string, unknown]>([
    ["an object", {}],
    ["no name", [{ type: "text" }]],
    [
      "a repeated name",
      [
        { name: "a", type: "text" },
        { name: "a", type: "text" },
      ],
    ],
    ["a name with a space", [{ name: "a b", type: "text" }]],
    ["an unknown type", [{ name: "a", type: "date" }]],
    ["no type", [{ name: "a" }]],
    ["a choice without choices", [{ name: "a", type: "choice" }]],
    ["choices of a text", [{ name: "a", type: "text", choices: ["x"] }]],
    ["choices that are numbers", [{ name: "a", type: "choice", choices: [1] }]],
    ["a default of another type", [{ name: "a", type: "integer", default: "1" }]],
    ["a default that is no choice", [{ name: "a", type: "choice", choices: ["x"], default: "y" }]],
    ["an unknown key", [{ name: "a", type: "text", required: true }]],
    ["fifty-one", Array.from({ length: 51 }, (_, n) => ({ name: `a${n}`, type: "text" }))],
  ])("are rejected when declared with %s", async (_, variables) => {
    await expect(make("x", variables)).rejects.toMatchObject({
      constraint: "prompts_variables_are_declarations",
    });
  });
});

describe("sharing", () => {
  const sees = async (user: UserConnection, id: string) =>
    (await user.rows("select from llm.prompts where id = $1", [id])).length === 1;

  test("limits private prompts to the owner and shared ones to named users, and shows public ones to all", async () => {
    const id = await make("x");
    const setTo = (visibility: string) =>
      ada.rows("update llm.prompts set visibility = $2 where id = $1", [id, visibility]);
    await ada.rows("insert into llm.prompt_shares (prompt_id, user_id) values ($1, $2)", [id, bobId]);
    expect([await sees(bob, id), await sees(eve, id)]).toEqual([false, false]);
    await setTo("shared");
    expect([await sees(bob, id), await sees(eve, id)]).toEqual([true, false]);
    expect(await render(id, {}, "", bob)).toBe("x");
    expect(await bob.rows("select from llm.prompt_versions where prompt_id = $1", [id])).toHaveLength(1);
    for (const sql of [
      "update llm.prompts set content = 'y' where id = $1",
      "delete from llm.prompts where id = $1",
    ])
      expect(await bob.rows(`${sql} returning id`, [id])).toEqual([]);
    await bob.rows("select llm.use_prompt($1)", [id]);
    for (const one of [id, randomUUID()]) {
      await expectSqlState(render(one, {}, "", eve), "PL404");
      await expectSqlState(eve.rows("select llm.use_prompt($1)", [one]), "PL404");
    }
    await setTo("public");
    expect(await sees(eve, id)).toBe(true);
    await setTo("shared");
    await bob.rows("delete from llm.prompt_shares where prompt_id = $1", [id]);
    expect(await sees(bob, id)).toBe(false);
  });

  test("is controlled by the owner", async () => {
    const id = await make("x");
    await expectSqlState(
      bob.rows("insert into llm.prompt_shares (prompt_id, user_id) values ($1, $2)", [id, adaId]),
      "23503",
    );
    await expectSqlState(
      ada.rows("insert into llm.prompt_shares (prompt_id, owner_id, user_id) values ($1, $2, $2)", [
        id,
        bobId,
      ]),
      "42501",
    );
    await expectSqlState(
      ada.rows("insert into llm.prompt_shares (prompt_id, user_id) values ($1, $2)", [id, adaId]),
      "23514",
    );
  });
});

describe("uses", () => {
  test("are counted exactly under concurrency, each key once", async () => {
    const [prompt] = await editor.rows<{ id: string }>(
      "insert into llm.prompts (user_id, name, content) values (null, 'popular', 'x') returning id",
    );
    const connections = await Promise.all(
      [adaId, bobId, adaId, bobId, adaId, bobId].map((id) => connectAs(db, id)),
    );
    await Promise.all(
      connections.map(async (one) => {
        for (let i = 0; i < 10; i++) {
          await one.rows("select llm.use_prompt($1)", [prompt!.id]);
          // Three connections of each user report the same ten.
          await one.rows("select llm.use_prompt($1, $2)", [prompt!.id, `key ${i}`]);
        }
      }),
    );
    await Promise.all(connections.map((one) => one.end()));
    for (const user of [ada, bob])
      expect(
        await user.rows("select usage_count::integer as n from llm.user_prompts where prompt_id = $1", [
          prompt!.id,
        ]),
      ).toEqual([{ n: 40 }]);
    expect(
      await eve.rows("select llm.prompts_usage_count(p)::integer as n from llm.prompts p where id = $1", [
        prompt!.id,
      ]),
    ).toEqual([{ n: 80 }]);
    const other = await make("x");
    await expectSqlState(ada.rows("select llm.use_prompt($1, 'key 1')", [other]), "PL409");
  });

  test("lose their keys after a week", async () => {
    const worker = await connect(db, "worker");
    const id = await make("x");
    await ada.rows("select llm.use_prompt($1, 'old')", [id]);
    await owner.rows(
      "update private.prompt_use_keys set created_at = now() - interval '8 days' where idempotency_key = 'old'",
    );
    expect(await worker.rows("select private.delete_old_prompt_use_keys() as n")).toEqual([{ n: 1 }]);
    await worker.end();
  });
});

test("deletes an account while it writes a version of its prompt", async () => {
  const id = await registerUser(db, "dan");
  const dan = await connectAs(db, id);
  const prompt = await make("x", [], dan);
  let both: Promise<unknown> = Promise.resolve();
  await whileLocked(db, [["select from llm.prompts where id = $1 for update", [prompt]]], async () => {
    const writing = dan.rows("update llm.prompts set content = 'y' where id = $1", [prompt]);
    await untilWaiting(db, 1);
    both = Promise.allSettled([writing, owner.rows("delete from identity.users where id = $1", [id])]);
    await untilWaiting(db, 2);
  });
  expect(await both).toMatchObject([{ status: "fulfilled" }, { status: "fulfilled" }]);
  await dan.end();
});
