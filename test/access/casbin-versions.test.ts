import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { grantRole } from "../support/accounts.ts";
import { type Api, codeOf, type SignedIn, signUp, startApi } from "../support/api.ts";
import { enforce, modelText, replacePolicy } from "../support/casbin.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  rowsAs,
  type TestDatabase,
  type Transaction,
} from "../support/database.ts";
import { untilWaiting, whileLocked } from "../support/waiting.ts";

let db: TestDatabase;
let api: Api;
let admin: SignedIn;
let ada: SignedIn;
const owner = rowsAs("owner", () => db);
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  [admin, ada] = [await signUp(api, "admin"), await signUp(api, "ada")];
  await grantRole(db, admin.userId, "admin");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const latest = async (tx: Transaction) =>
  Number((await tx.rows<{ v: string }>("select max(version) as v from access.casbin_versions"))[0]!.v);
const rulesOf = async (tx: Transaction) =>
  (
    await tx.rows<{ rule: string }>(
      "select concat_ws(', ', id, ptype, v0, v1, v2, is_active) as rule from access.casbin_rules order by id",
    )
  ).map(({ rule }) => rule);

test("each statement makes one version with the old and new values of its rows, and none without a change [C5]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await replacePolicy(tx, modelText(), ["p, a, b, c", "p, d, e, f"]);
    const before = await latest(tx);
    await tx.asUser(admin.userId);
    await tx.rows("update access.casbin_rules set v2 = 'read'");
    await tx.rows("update access.casbin_rules set v2 = 'read'");
    await tx.rows("delete from access.casbin_rules where v0 = 'a'");
    await tx.asOwner();
    expect(
      await tx.rows(
        `select v.version - $1 as version, v.created_by, c.old_values ->> 'v2' as old, c.new_values ->> 'v2' as new
         from access.casbin_versions v join access.casbin_changes c using (version)
         where v.version > $1 order by c.id`,
        [before],
      ),
    ).toEqual([
      { version: "1", created_by: admin.userId, old: "c", new: "read" },
      { version: "1", created_by: admin.userId, old: "f", new: "read" },
      { version: "2", created_by: admin.userId, old: "read", new: null },
    ]);
  });
});

test("a version is restored with its rules, their order and the model, as a new version [C5]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await replacePolicy(tx, modelText(), ["p, a, o, read", "g, ada, a"]);
    const first = { version: await latest(tx), rules: await rulesOf(tx) };
    await tx.rows("update access.casbin_rules set is_active = false where ptype = 'g'");
    const second = { version: await latest(tx), rules: await rulesOf(tx) };
    await replacePolicy(tx, modelText({ p: "sub, act", m: "r.sub == p.sub" }), ["p, bob, read"]);
    await replacePolicy(tx, modelText({ m: "true" }), [], "other");
    expect(await enforce(tx, ["bob", "o", "read"])).toBe(true);

    await tx.rows("select access.restore_casbin_version($1)", [first.version]);
    expect(await rulesOf(tx)).toEqual(first.rules);
    expect(await enforce(tx, ["ada", "o", "read"])).toBe(true);
    expect(await enforce(tx, ["bob", "o", "read"])).toBe(false);
    expect(await tx.rows("select name from access.casbin_models")).toEqual([{ name: "default" }]);
    const restored = await latest(tx);
    expect(await tx.rows("select reason from access.casbin_versions where version = $1", [restored])).toEqual(
      [{ reason: `Restores version ${first.version}.` }],
    );

    // Forwards, too, and to before a restoration.
    await tx.rows("select access.restore_casbin_version($1)", [restored - 1]);
    expect(await enforce(tx, ["bob", "o", "read"])).toBe(true);
    expect(await enforce(tx, ["x", "o", "read"], "other")).toBe(true);
    await tx.rows("select access.restore_casbin_version($1)", [second.version]);
    expect(await rulesOf(tx)).toEqual(second.rules);
    // The id of a restored rule is not given to a new one.
    await tx.rows("insert into access.casbin_rules (ptype, v0, v1, v2) values ('p', 'x', 'y', 'z')");
  });
});

test("an unknown version is not found", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await expect(tx.attempt("select access.restore_casbin_version(987654)")).rejects.toMatchObject({
      code: "PL404",
    });
  });
});

test("a policy is replaced as a whole or not at all, and in one version", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await replacePolicy(tx, modelText(), ["p, a, b, c"]);
    const [version, rules] = [await latest(tx), await rulesOf(tx)];
    await expect(replacePolicy(tx, modelText(), ["p, d, e, f", "p, bad"])).rejects.toMatchObject({
      code: "PL422",
    });
    await expect(
      tx.attempt("select access.replace_casbin_policy('default', $1, $2)", [
        modelText(),
        '[["p", "a"], ["p", 1]]',
      ]),
    ).rejects.toMatchObject({ code: "PL422", message: expect.stringContaining("Rule 2 ") });
    expect([await latest(tx), await rulesOf(tx)]).toEqual([version, rules]);
    await replacePolicy(tx, modelText(), ["p, a, b, c"]);
    expect(await latest(tx)).toBe(version);
    await replacePolicy(tx, modelText({ m: "g(r.sub, p.sub)" }), ["p, d, e, f", "g, x, y"]);
    const count = await tx.rows("select from access.casbin_versions where version > $1", [version]);
    expect(count).toHaveLength(1);
  });
});

test("rules that stay keep their number, time and author", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await replacePolicy(tx, modelText(), ["p, a, b, c", "p, d, e, f", "p, g, h, i"]);
    const [first, , third] = await rulesOf(tx);
    await replacePolicy(tx, modelText(), ["p, a, b, c", "p, g, h, i", "p, new, h, i"]);
    expect((await rulesOf(tx)).slice(0, 2)).toEqual([first, third]);
    expect(
      await tx.rows("select from access.casbin_changes where version = $1", [await latest(tx)]),
    ).toHaveLength(2);
  });
});

test("restoring waits for a change under way and takes it back", async () => {
  await owner("select access.replace_casbin_policy('default', $1, $2)", [
    modelText(),
    '[["p", "a", "o", "read"]]',
  ]);
  const [row] = await owner<{ version: string }>(
    "select max(version) as version from access.casbin_versions",
  );
  const restored = await whileLocked(
    db,
    [["insert into access.casbin_rules (ptype, v0, v1, v2) values ('p', 'late', 'o', 'read')"]],
    async () => {
      const restoring = owner("select access.restore_casbin_version($1)", [row!.version]);
      await untilWaiting(db);
      return { restoring };
    },
  );
  await restored.restoring;
  expect(await owner("select v0 from access.casbin_rules")).toEqual([{ v0: "a" }]);
});

test("rules are administered and asked over the API [C5]", async () => {
  const send = (person: SignedIn, query: string, variables: Record<string, unknown> = {}) =>
    api.ask(query, { token: person.token, variables });
  const replace = `mutation ($definition: String!, $rules: JSON!) {
    replaceCasbinPolicy(input: { model: "default", definition: $definition, rules: $rules, reason: "import" }) {
      result { version reason createdBy }
    }
  }`;
  const policy = {
    definition: modelText(),
    rules: [
      ["p", "staff", "doc1", "read"],
      ["g", ada.userId, "staff"],
    ],
  };
  expect(codeOf(await send(ada, replace, policy))).toBe("FORBIDDEN");
  const { data } = await send(admin, replace, policy);
  expect(data.replaceCasbinPolicy.result).toMatchObject({ reason: "import", createdBy: admin.userId });
  const bad = await send(admin, replace, { ...policy, definition: modelText({ m: "f(1)" }) });
  expect(bad.errors).toMatchObject([
    {
      message: "matchers, line 10, column 5: the function f is not supported.",
      extensions: { code: "BAD_USER_INPUT" },
    },
  ]);

  const may = `query ($sub: String!) { enforce(sub: $sub, obj: "doc1", act: "read") }`;
  expect((await send(ada, may, { sub: ada.userId })).data).toEqual({ enforce: true });
  expect(codeOf(await send(ada, may, { sub: admin.userId }))).toBe("FORBIDDEN");
  expect((await send(admin, may, { sub: ada.userId })).data).toEqual({ enforce: true });
  const list = `query ($sub: String!) { enforceMany(sub: $sub, objs: ["doc2", "doc1"], act: "read") { nodes } }`;
  const listed = await send(ada, list, { sub: ada.userId });
  expect(listed.errors).toBeUndefined();
  expect(listed.data.enforceMany.nodes).toEqual(["doc1"]);

  await owner("delete from access.casbin_rules");
  expect((await send(ada, may, { sub: ada.userId })).data).toEqual({ enforce: false });
  const restore = `mutation ($version: BigInt!) {
    restoreCasbinVersion(input: { version: $version }) { result { version } }
  }`;
  const { version } = data.replaceCasbinPolicy.result;
  expect(codeOf(await send(ada, restore, { version }))).toBe("FORBIDDEN");
  expect((await send(admin, restore, { version })).errors).toBeUndefined();
  expect((await send(ada, may, { sub: ada.userId })).data).toEqual({ enforce: true });
});
