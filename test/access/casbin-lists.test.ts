import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { grantRole, registerUser } from "../support/accounts.ts";
import { modelText, replacePolicy } from "../support/casbin.ts";
import {
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
  withClient,
} from "../support/database.ts";

// Access rules in the policies of an application's table, as the real roles.

let db: TestDatabase;
let ada: string;
let bob: string;
let admin: string;
beforeAll(async () => {
  db = await createTestDatabase();
  [ada, bob, admin] = (await Promise.all(["ada", "bob", "admin"].map((name) => registerUser(db, name)))) as [
    string,
    string,
    string,
  ];
  await grantRole(db, admin, "admin");
  await withClient(db.url("owner"), async (client) => {
    await client.query(`
      create table plinth.documents (name text primary key);
      alter table plinth.documents enable row level security;
      grant select on plinth.documents to ${db.rolePrefix}_user;
      insert into plinth.documents select 'doc' || i from generate_series(1, 50) i`);
  });
});
afterAll(() => db.drop());

const PERMITS = "access.casbin_permits((select access.casbin_permit('read')), name)";
const OBJECTS = "name in (select access.casbin_objects('read'))";
const OBJECTS_AND_PATTERN = `${OBJECTS} or name ~ (select access.casbin_pattern('read'))`;

async function usePolicy(tx: Transaction, condition: string): Promise<void> {
  await tx.asOwner();
  await tx.rows("drop policy if exists by_rules on plinth.documents");
  await tx.rows(`create policy by_rules on plinth.documents for select using (${condition})`);
}
async function visible(tx: Transaction, user: string): Promise<string[]> {
  await tx.asUser(user);
  const rows = await tx.attempt<{ name: string }>(
    "select name from plinth.documents order by length(name), name",
  );
  await tx.asOwner();
  return rows.map(({ name }) => name);
}

test("a visitor sees no rows of such a policy, and is asked to sign in for a question", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.rows(`grant usage on schema plinth to ${db.rolePrefix}_anonymous`);
    await tx.rows(`grant select on plinth.documents to ${db.rolePrefix}_anonymous`);
    await replacePolicy(tx, modelText(), ["p, staff, doc1, read"]);
    for (const condition of [PERMITS, OBJECTS_AND_PATTERN]) {
      await usePolicy(tx, condition);
      await tx.asAnonymous();
      expect(await tx.attempt("select from plinth.documents")).toEqual([]);
    }
    await expectSqlState(tx.attempt("select access.enforce('staff', 'doc1', 'read')"), "PL401");
  });
});

test("users without manage_access_rules learn nothing from rejected rules, and lock nothing", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await replacePolicy(tx, modelText(), ["p, staff, doc1, read"]);
    await tx.asUser(ada);
    for (const rule of ["'q', 'a'", "'p', 'a'", "'g', 'a', 'b'"])
      await expectSqlState(
        tx.attempt(
          `insert into access.casbin_rules (ptype, v0${rule.split(",").length > 2 ? ", v1" : ""}) values (${rule})`,
        ),
        "42501",
      );
    await expectSqlState(
      tx.attempt("insert into access.casbin_models (name, definition) values ('x', 'y')"),
      "42501",
    );
  });
  await inRolledBackTransaction(db, async (tx) => {
    const change = () => tx.attempt("update access.casbin_rules set v0 = 'x'");
    const locks = () =>
      tx.rows("select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()");
    await tx.asUser(ada);
    await change();
    expect(await locks()).toHaveLength(0);
    await tx.asUser(admin);
    await change();
    expect(await locks()).toHaveLength(1);
  });
});

const WITH_EFFECT = {
  p: "sub, obj, act, eft",
  e: "some(where (p.eft == allow)) && !some(where (p.eft == deny))",
};

test("a policy shows the rows that the rules permit, and others in the next statement after a change [C5]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    for (const condition of [PERMITS, OBJECTS, OBJECTS_AND_PATTERN]) {
      await usePolicy(tx, condition);
      await replacePolicy(tx, modelText(), [
        `g, ${ada}, staff`,
        "p, staff, doc1, read",
        "p, staff, doc2, write",
        `p, ${bob}, doc3, read`,
      ]);
      expect(await visible(tx, ada)).toEqual(["doc1"]);
      expect(await visible(tx, bob)).toEqual(["doc3"]);
      expect(await visible(tx, admin)).toEqual([]);
      await tx.rows("update access.casbin_rules set v2 = 'read' where v2 = 'write'");
      expect(await visible(tx, ada)).toEqual(["doc1", "doc2"]);
    }
  });
});

test.each<[name: string, definition: string, rules: readonly string[], expected: readonly string[]]>([
  [
    "patterns with a denied one",
    modelText({ ...WITH_EFFECT, m: "r.sub == p.sub && regexMatch(r.obj, p.obj) && r.act == p.act" }),
    ["p, ADA, ^doc4\\d?$, read, allow", "p, ADA, 4[1-8]$, read, deny"],
    ["doc4", "doc40", "doc49"],
  ],
  [
    "a default of allow",
    modelText({
      ...WITH_EFFECT,
      e: "!some(where (p.eft == deny))",
      m: "r.sub == p.sub && keyMatch(r.obj, p.obj)",
    }),
    [
      "p, ADA, doc1*, read, deny",
      "p, ADA, doc2*, read, deny",
      "p, ADA, doc3*, read, deny",
      "p, ADA, doc4*, read, deny",
    ],
    ["doc5", "doc6", "doc7", "doc8", "doc9", "doc50"],
  ],
  [
    "groups of objects",
    `${modelText({ m: "r.sub == p.sub && g(r.obj, p.obj)" })}`,
    ["p, ADA, letters, read", "g, doc7, letters", "g, drafts, letters", "g, doc8, drafts"],
    ["doc7", "doc8"],
  ],
  [
    "priorities, which are asked per row",
    modelText({
      ...WITH_EFFECT,
      e: "priority(p.eft) || deny",
      m: "r.sub == p.sub && keyMatch(r.obj, p.obj)",
    }),
    ["p, ADA, doc11, read, deny", "p, ADA, doc1*, read, allow"],
    ["doc1", "doc10", "doc12", "doc13", "doc14", "doc15", "doc16", "doc17", "doc18", "doc19"],
  ],
  [
    "conditions over the object, which are asked per row",
    modelText({ m: "eval(p.obj)" }),
    ['p, x, r.obj == "doc5", read'],
    ["doc5"],
  ],
])("a policy applies %s", async (name, definition, rules, expected) => {
  await inRolledBackTransaction(db, async (tx) => {
    await usePolicy(tx, PERMITS);
    await replacePolicy(
      tx,
      definition,
      rules.map((rule) => rule.replaceAll("ADA", ada)),
    );
    expect(await visible(tx, ada)).toEqual(expected);
    if (!name.includes("asked per row")) {
      await usePolicy(tx, OBJECTS_AND_PATTERN);
      expect(await visible(tx, ada)).toEqual(expected);
    }
    const many = await tx.rows<{ name: string }>(
      "select access.enforce_many($1, array(select name from plinth.documents order by length(name), name), 'read') as name",
      [ada],
    );
    expect(many.map(({ name }) => name)).toEqual(expected);
  });
});

test.each([
  ["priorities", modelText({ ...WITH_EFFECT, e: "priority(p.eft) || deny" })],
  ["conditions over the object", modelText({ m: "r.obj.length > 4 && r.act == p.act" })],
])("sets and patterns of objects are an error for %s", async (_name, definition) => {
  await inRolledBackTransaction(db, async (tx) => {
    await replacePolicy(tx, definition, ["p, x, doc1, read"]);
    await tx.asUser(ada);
    await expectSqlState(tx.attempt("select access.casbin_objects('read')"), "PL422");
    await expectSqlState(tx.attempt("select access.casbin_pattern('read')"), "PL422");
  });
});

test("no object escapes a denial by characters that JavaScript counts as two", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const names = ["/a/\u{1F600}", "/a/x", "/b/\u{1F600}", "/b/x"];
    await tx.rows("insert into plinth.documents select unnest($1::text[])", [names]);
    const definition = modelText({ ...WITH_EFFECT, m: "keyMatch2(r.obj, p.obj)" });
    await replacePolicy(tx, definition, ["p, x, /:any/:name, read, allow", "p, x, /a/:name, read, deny"]);
    await usePolicy(tx, PERMITS);
    expect(await visible(tx, ada)).toEqual(["/b/x", "/b/\u{1F600}"]);
    await usePolicy(tx, OBJECTS_AND_PATTERN);
    expect(await visible(tx, ada)).toEqual(["/b/x"]);
  });
});

test("no user and no rules see nothing", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await usePolicy(tx, PERMITS);
    await replacePolicy(tx, modelText({ m: "r.act == p.act" }), []);
    expect(await visible(tx, ada)).toEqual([]);
    await replacePolicy(tx, modelText({ m: "r.act == p.act" }), ["p, x, x, read"]);
    expect(await visible(tx, ada)).toHaveLength(50);
    await tx.asUser(null);
    expect(await tx.rows("select from plinth.documents")).toEqual([]);
    await tx.asOwner();
  });
});

test("a user asks about themselves, with the permission about others; the server's roles ask about all [C5]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await replacePolicy(tx, modelText(), [`p, ${ada}, doc1, read`]);
    const ask = (subject: string) =>
      tx.attempt<{ answer: boolean }>("select access.enforce($1, 'doc1', 'read') as answer", [subject]);
    await tx.asUser(ada);
    expect(await ask(ada)).toEqual([{ answer: true }]);
    await expectSqlState(ask(bob), "PL403");
    await expectSqlState(tx.attempt("select access.enforce_many($1, '{doc1}', 'read')", [bob]), "PL403");
    await expectSqlState(tx.attempt(`select access.enforce_abac('{"Age": 18}', '{}', 'read')`), "PL403");
    await expectSqlState(tx.attempt("select private.casbin_enforce('default', '[]')"), "42501");
    await tx.asUser(null);
    await expectSqlState(ask(ada), "PL401");
    await tx.asAnonymous();
    await expectSqlState(ask(ada), "PL401");
    await tx.asUser(admin);
    expect(await ask(ada)).toEqual([{ answer: true }]);
    for (const become of [tx.asService, tx.asWorker, tx.asOwner]) {
      await become();
      expect(await ask(ada)).toEqual([{ answer: true }]);
    }
  });
});

test("a subject that the context names needs the permission, too", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await replacePolicy(tx, modelText({ r: "user, obj, act", m: "r.user == p.sub" }), [
      `p, ${bob}, doc1, read`,
    ]);
    await tx.asUser(ada);
    await expectSqlState(
      tx.attempt("select access.enforce($1, 'doc1', 'read', $2)", [ada, { user: bob }]),
      "PL403",
    );
  });
});

test("only users with manage_access_rules read and write models, rules and versions", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await replacePolicy(tx, modelText(), ["p, a, b, c"]);
    await tx.asUser(ada);
    for (const table of ["casbin_models", "casbin_rules", "casbin_versions", "casbin_changes"])
      expect(await tx.rows(`select from access.${table}`)).toEqual([]);
    await expectSqlState(
      tx.attempt("insert into access.casbin_rules (ptype, v0, v1, v2) values ('p', 'a', 'b', 'c')"),
      "42501",
    );
    await expectSqlState(tx.attempt("select access.restore_casbin_version(1)"), "PL403");
    await expectSqlState(
      tx.attempt("select access.replace_casbin_policy('x', $1, '[]')", [modelText()]),
      "PL403",
    );
    await tx.asUser(admin);
    expect(await tx.rows("update access.casbin_rules set v0 = 'z' returning v0, updated_by")).toEqual([
      { v0: "z", updated_by: admin },
    ]);
    // Parsed forms are the database's.
    await expectSqlState(tx.attempt("update access.casbin_rules set compiled = '{}'"), "42501");
  });
});
