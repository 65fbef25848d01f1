import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { enforce, modelText, replacePolicy } from "../support/casbin.ts";
import { createTestDatabase, inRolledBackTransaction, type TestDatabase } from "../support/database.ts";

// The answers of the engine by hand. The comparison with node-casbin is a test of its own.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

const DENY = "some(where (p.eft == allow)) && !some(where (p.eft == deny))";

describe("an expression", () => {
  // The matcher reads no rule, so that its value alone decides.
  test.each<[matcher: string, sub: unknown, expected: boolean]>([
    ['r.sub == "a"', "a", true],
    ["r.sub == 1", "1", true],
    ["r.sub == 1", true, true],
    ['r.sub == ""', 0, true],
    ["r.sub == null", null, true],
    ["r.sub == null", 0, false],
    ["r.sub.a == null", {}, true],
    ["r.sub == r.sub", { a: 1 }, true],
    ["r.sub.a == r.sub.b", { a: {}, b: {} }, false],
    ['r.sub == "1,2"', [1, 2], true],
    ["r.sub != 2", 1, true],
    ["!r.sub", "", true],
    ["!r.sub == true", 0, true],
    ["r.sub > 18", "19", true],
    ["r.sub > 18", "old", false],
    ["r.sub <= 18", "old", false],
    ['r.sub < "9"', "10", true],
    ["r.sub < 9", "10", false],
    ['r.sub < "\uFF61"', "\u{1F600}", true],
    ["r.sub.a > 18", {}, false],
    ["r.sub.Age >= 18 && r.sub.Age < 60", { Age: 18 }, true],
    ['r.sub["Age"] >= 18', { Age: 17 }, false],
    ["r.sub.a.b == 1", { a: { b: 1 } }, true],
    ["r.sub.length == 2", "ab", true],
    ["r.sub.length == 2", "\u{1F600}", true],
    ['r.sub in ("a", "b")', "b", true],
    ["r.sub in (1, 2)", "1", false],
    ["r.sub.Tag in r.sub.Tags", { Tag: "x", Tags: ["x"] }, true],
    ["r.sub + 1 == 3", 2, true],
    ['r.sub + 1 == "21"', "2", true],
    ["r.sub - 1 == 1", "2", true],
    ["2 + 3 * r.sub == 11", 3, true],
    ["r.sub / 0 > 1e308", 1, true],
    ["r.sub % 3 == 2", 5, true],
    ["r.sub % 3 == -2", -5, true],
    ["0.1 + r.sub == 0.3", 0.2, false],
    ["1e308 * r.sub > 1e308", 10, true],
    ["-r.sub == -1", 1, true],
    ["r.sub || false", "x", true],
    ["r.sub && true", 0, false],
    ['keyGet(r.sub, "/a/*") == "b"', "/a/b", true],
    ['keyGet2(r.sub, "/a/:id", "id") == "b"', "/a/b", true],
    ['ipMatch(r.sub, "10.0.0.0/8")', "10.1.2.3", true],
    ['ipMatch(r.sub, "10.0.0.0/8")', "11.1.2.3", false],
    ['ipMatch(r.sub, "::ffff:10.0.0.1")', "10.0.0.1", true],
    ['ipMatch(r.sub, "2001:db8::/32")', "2001:db8:1::7", true],
  ])("%s of %j is %j", async (matcher, sub, expected) => {
    await inRolledBackTransaction(db, async (tx) => {
      await replacePolicy(tx, modelText({ m: matcher }), []);
      expect(await enforce(tx, [sub, "o", "a"])).toBe(expected);
    });
  });

  test.each([
    ["r.sub.a.b == 1", {}],
    ["r.sub in r.obj", "a"],
    ['ipMatch(r.sub, "10.0.0.0/8")', "home"],
  ])("%s of %j is an error, as in node-casbin", async (matcher, sub) => {
    await inRolledBackTransaction(db, async (tx) => {
      await replacePolicy(tx, modelText({ m: matcher }), []);
      await expect(enforce(tx, [sub, "o", "a"])).rejects.toMatchObject({ code: "PL422" });
    });
  });
});

describe("a pattern", () => {
  test.each<[name: string, pattern: string, matching: readonly string[], other: readonly string[]]>([
    ["keyMatch", "/a/*", ["/a/", "/a/b/c"], ["/a", "/b/a/"]],
    ["keyMatch2", "/a/:id/b", ["/a/1/b"], ["/a/b", "/a/1/2/b"]],
    ["keyMatch2", "/a/*", ["/a/", "/a/b/c"], ["/a/b\nc"]],
    ["keyMatch3", "/a/{id}/b", ["/a/1/b"], ["/a//b"]],
    ["keyMatch4", "/a/{id}/b/{id}", ["/a/1/b/1"], ["/a/1/b/2"]],
    ["keyMatch4", "/a/{id}/b/{other}", ["/a/1/b/2"], ["/a/1/b/"]],
    ["keyMatch5", "/a/{id}", ["/a/1?x=/y", "/a/1"], ["/a/1/2"]],
    ["regexMatch", "^(GET|P.ST)$", ["GET", "POST"], ["GETS", "P\nST"]],
    ["regexMatch", "^\\w{2,3}$", ["ab", "abc"], ["a", "abcd", "äb"]],
    ["regexMatch", "[^a-c\\]]", ["d"], ["a", "]", ""]],
    ["regexMatch", "^.$", ["a", "\u00E4"], ["\u{1F600}"]],
    ["globMatch", "/a/*", ["/a/b", "/a//b", "/a/b/"], ["/a/", "/a/b/c", "/a/.b"]],
    ["globMatch", "?.txt", ["a.txt"], ["ab.txt", "..txt"]],
  ])("of %s, %s, matches %j and not %j", async (name, pattern, matching, other) => {
    await inRolledBackTransaction(db, async (tx) => {
      await replacePolicy(tx, modelText({ m: `${name}(r.obj, p.obj)` }), [`p, x, ${pattern}, x`]);
      for (const key of matching) expect([key, await enforce(tx, ["x", key, "x"])]).toEqual([key, true]);
      for (const key of other) expect([key, await enforce(tx, ["x", key, "x"])]).toEqual([key, false]);
    });
  });
});

test("roles are inherited, within their domain and up to ten levels [C5]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const chain = Array.from({ length: 12 }, (_, i) => `g, r${i}, r${i + 1}, d`);
    const m = "g(r.sub, p.sub, r.dom) && r.dom == p.dom && r.obj == p.obj && r.act == p.act";
    const domains = { r: "sub, dom, obj, act", p: "sub, dom, obj, act", g: "_, _, _", m };
    await replacePolicy(tx, modelText(domains), [...chain, "p, r11, d, o, read", "p, r11, e, o, read"]);
    expect(await enforce(tx, ["r1", "d", "o", "read"])).toBe(true);
    expect(await enforce(tx, ["r0", "d", "o", "read"])).toBe(false);
    expect(await enforce(tx, ["r1", "e", "o", "read"])).toBe(false);
    expect(await enforce(tx, ["r11", "e", "o", "read"])).toBe(true);
  });
});

test("a deny overrides, an unknown effect decides nothing [C5]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const rules = ["p, staff, o, read, allow", "p, ada, o, read, deny", "p, eve, o, read, maybe"];
    const roles = ["g, ada, staff", "g, bob, staff"];
    await replacePolicy(tx, modelText({ p: "sub, obj, act, eft", e: DENY }), [...rules, ...roles]);
    expect(await enforce(tx, ["ada", "o", "read"])).toBe(false);
    expect(await enforce(tx, ["bob", "o", "read"])).toBe(true);
    expect(await enforce(tx, ["eve", "o", "read"])).toBe(false);
    await tx.rows("update access.casbin_models set definition = $1", [
      modelText({ p: "sub, obj, act, eft", e: "!some(where (p.eft == deny))" }),
    ]);
    expect(await enforce(tx, ["eve", "o", "read"])).toBe(true);
    expect(await enforce(tx, ["ada", "o", "read"])).toBe(false);
  });
});

test("the first rule decides by priority: by its place, its number, or the distance of its subject [C5]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const e = "priority(p.eft) || deny";
    await replacePolicy(tx, modelText({ p: "sub, obj, act, eft", e }), [
      "p, ada, o, read, deny",
      "p, ada, o, read, allow",
    ]);
    expect(await enforce(tx, ["ada", "o", "read"])).toBe(false);
    await replacePolicy(tx, modelText({ p: "priority, sub, obj, act, eft", e }), [
      "p, 10, ada, o, read, deny",
      "p, 9, ada, o, read, allow",
    ]);
    expect(await enforce(tx, ["ada", "o", "read"])).toBe(true);
    await replacePolicy(tx, modelText({ p: "sub, obj, act, eft", e: "subjectPriority(p.eft) || deny" }), [
      "p, staff, o, read, deny",
      "p, ada, o, read, allow",
      "g, ada, editor",
      "g, editor, staff",
    ]);
    expect(await enforce(tx, ["ada", "o", "read"])).toBe(true);
    expect(await enforce(tx, ["editor", "o", "read"])).toBe(false);
  });
});

test("conditions of rules read subject, object and environment, such as a time window [C5]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const m = "eval(p.sub_rule) && r.obj.Department == p.department && r.act == p.act";
    const definition = modelText({ r: "sub, obj, act, env", p: "sub_rule, department, act", g: null, m });
    await replacePolicy(tx, definition, [
      "p, r.env.Hour >= 9 && r.env.Hour < 17 && r.sub.Id == r.obj.Owner, sales, read",
    ]);
    const ask = (sub: object, obj: object, hour: number) =>
      tx
        .rows<{ answer: boolean }>("select access.enforce_abac($1, $2, 'read', $3) as answer", [
          sub,
          obj,
          { Hour: hour },
        ])
        .then(([row]) => row!.answer);
    const [ada, hers] = [{ Id: "ada" }, { Owner: "ada", Department: "sales" }];
    expect(await ask(ada, hers, 9)).toBe(true);
    expect(await ask(ada, hers, 17)).toBe(false);
    expect(await ask({ Id: "bob" }, hers, 9)).toBe(false);
    expect(await ask(ada, { ...hers, Department: "it" }, 9)).toBe(false);
  });
});

test("a second set of definitions is chosen by its names", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const definition = `${modelText()}\nm2 = r2.sub.Age > 17 && r2.obj == p2.obj`
      .replace("[policy_definition]", "r2 = sub, obj\n[policy_definition]")
      .replace("[role_definition]", "p2 = obj\n[role_definition]");
    await replacePolicy(tx, definition, ["p, ada, o, read", "p2, film"]);
    const ask = (age: number, types: string) =>
      tx.attempt("select private.casbin_enforce('default', $1, $2) as answer", [
        JSON.stringify([{ Age: age }, "film"]),
        types,
      ]);
    expect(await ask(18, "{r2,p2,e,m2}")).toEqual([{ answer: true }]);
    expect(await ask(17, "{r2,p2,e,m2}")).toEqual([{ answer: false }]);
    await expect(ask(18, "{r,p2,e,m2}")).rejects.toMatchObject({ code: "PL422" });
    expect(await enforce(tx, ["ada", "o", "read"])).toBe(true);
  });
});

test("a request of the wrong size, an unknown model and a context without a value are errors", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await replacePolicy(tx, modelText({ r: "sub, dom, obj, act" }), ["p, ada, o, read"]);
    await expect(enforce(tx, ["ada"])).rejects.toMatchObject({ code: "PL422" });
    await expect(enforce(tx, ["ada"], "none")).rejects.toMatchObject({ code: "PL404" });
    await expect(tx.attempt("select access.enforce('ada', 'o', 'read')")).rejects.toMatchObject({
      code: "PL422",
      message: "The context lacks dom, which the model reads.",
    });
    expect(await tx.rows(`select access.enforce('ada', 'o', 'read', '{"dom": "d"}') as answer`)).toEqual([
      { answer: true },
    ]);
  });
});

test("changed, paused and deleted rules take effect in the next statement [C5]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await replacePolicy(tx, modelText(), ["p, staff, o, read", "g, ada, staff"]);
    const ask = () => enforce(tx, ["ada", "o", "read"]);
    expect(await ask()).toBe(true);
    await tx.rows("update access.casbin_rules set is_active = false where ptype = 'g'");
    expect(await ask()).toBe(false);
    await tx.rows("update access.casbin_rules set is_active = true");
    expect(await ask()).toBe(true);
    await tx.rows("update access.casbin_rules set v2 = 'write' where ptype = 'p'");
    expect(await ask()).toBe(false);
    await tx.rows("update access.casbin_models set definition = $1", [modelText({ m: "g(r.sub, p.sub)" })]);
    expect(await ask()).toBe(true);
    await tx.rows("delete from access.casbin_rules where ptype = 'p'");
    expect(await ask()).toBe(false);
  });
});
