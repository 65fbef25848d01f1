import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { enforce, modelText, replacePolicy } from "../support/casbin.ts";
import { createTestDatabase, inRolledBackTransaction, type TestDatabase } from "../support/database.ts";

// Texts that are made to break out of the grammar, to match too much, or to take long.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

const SQL = "'; drop table access.casbin_rules; --";

test("SQL in rules, requests and models is text [C5]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const texts = [SQL, "$$", "\\", "%", "_", "{}", '"', "null", "\u202E", "\u{1F600}", "e\u0301"];
    for (const m of [
      "r.sub == p.sub",
      "g(r.sub, p.sub)",
      "keyMatch(r.sub, p.sub)",
      "r.sub in (p.sub, p.obj)",
    ]) {
      await replacePolicy(
        tx,
        modelText({ m }),
        texts.map((text) => `p, ${text}, o, a`),
      );
      for (const text of texts) expect([text, await enforce(tx, [text, "o", "a"])]).toEqual([text, true]);
      for (const other of ["x", "%%", "\u00E9", "\u{1F601}", `${SQL} `])
        expect([other, await enforce(tx, [other, "o", "a"])]).toEqual([other, false]);
    }
    await expect(replacePolicy(tx, modelText({ m: SQL }), [])).rejects.toMatchObject({ code: "PL422" });
    await expect(
      replacePolicy(tx, modelText({ m: "r.sub == 'x' || pg_sleep(1)" }), []),
    ).rejects.toMatchObject({
      code: "PL422",
    });
    await expect(
      replacePolicy(tx, modelText({ m: "eval(p.sub)" }), [`p, ${SQL}, o, a`]),
    ).rejects.toMatchObject({
      code: "PL422",
    });
    expect(await tx.rows("select from access.casbin_rules")).not.toEqual([]);
  });
});

test("long and deeply nested texts are rejected, not evaluated", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const deep = (count: number) => `${"(".repeat(count)}true${")".repeat(count)}`;
    await expect(replacePolicy(tx, modelText({ m: deep(1000) }), [])).rejects.toMatchObject({
      code: "PL422",
    });
    await expect(replacePolicy(tx, modelText({ m: "!".repeat(5000) }), [])).rejects.toMatchObject({
      code: "PL422",
    });
    await expect(replacePolicy(tx, modelText({ m: `1${" + 1".repeat(900)} > 0` }), [])).rejects.toMatchObject(
      {
        code: "PL422",
      },
    );
    await expect(replacePolicy(tx, modelText({ m: "true ".repeat(10_000) }), [])).rejects.toThrow();
    await expect(replacePolicy(tx, modelText(), [`p, ${"x".repeat(257)}, o, a`])).rejects.toMatchObject({
      code: "PL422",
    });
    // A long chain of conditions is one node.
    await replacePolicy(tx, modelText({ m: `true${" && r.sub == p.sub".repeat(200)}` }), ["p, x, o, a"]);
    expect(await enforce(tx, ["x", "o", "a"])).toBe(true);
    const long = "x".repeat(1_000_000);
    expect(await enforce(tx, [long, "o", "a"])).toBe(false);
  });
});

test("patterns that take long elsewhere match or are rejected", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const definition = modelText({ m: "regexMatch(r.obj, p.obj)" });
    // Backtracking would take 2^60 steps; the statement's limit would end it.
    await tx.rows("set local statement_timeout = '5min'");
    for (const pattern of ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "^(.*a){10}$"]) {
      await replacePolicy(tx, definition, [`p, x, ${pattern}, a`]);
      expect(await enforce(tx, ["x", `${"a".repeat(60)}!`, "a"])).toBe(false);
      expect(await enforce(tx, ["x", "a".repeat(60), "a"])).toBe(true);
    }
    for (const pattern of ["((a{20}){20}){20}", "a{1000}", "a**", "***=x", "(?i)x", "\\y", "x{2}{2}"])
      await expect(replacePolicy(tx, definition, [`p, x, ${pattern}, a`])).rejects.toMatchObject({
        code: "PL422",
      });
    // Copies of parts that may be empty: PostgreSQL would take seconds to make the automaton.
    for (const pattern of [`(${"\\S?".repeat(80)}){9}`, `(${"(a|b|c)*".repeat(27)}){10}`])
      await expect(replacePolicy(tx, definition, [`p, x, ${pattern}, a`])).rejects.toMatchObject({
        code: "PL422",
        message: expect.stringContaining("too complex"),
      });
    // POSIX classes are no classes in JavaScript.
    await replacePolicy(tx, definition, ["p, x, ^[[:alpha:]]+$, a"]);
    expect(await enforce(tx, ["x", "b", "a"])).toBe(false);
    expect(await enforce(tx, ["x", "a]", "a"])).toBe(true);
  });
});

test("a list of objects has a limit", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await replacePolicy(tx, modelText(), []);
    const many = "select from access.enforce_many('x', array_fill('o'::text, array[$1::integer]), 'a')";
    expect(await tx.attempt(many, [10_000])).toEqual([]);
    await expect(tx.attempt(many, [10_001])).rejects.toMatchObject({ code: "PL422" });
  });
});

test("a cycle of 10,000 roles ends", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await replacePolicy(tx, modelText(), ["p, role9, o, a", "p, role11, o, b"]);
    await tx.rows(
      `insert into access.casbin_rules (ptype, v0, v1)
       select 'g', 'role' || i, 'role' || (i + 1) % 10000 from generate_series(0, 9999) i`,
    );
    expect(await enforce(tx, ["role0", "o", "a"])).toBe(true);
    expect(await enforce(tx, ["role0", "o", "b"])).toBe(false);
    expect(await enforce(tx, ["role9999", "o", "a"])).toBe(true);
    const e = "subjectPriority(p.eft) || deny";
    await tx.rows("update access.casbin_models set definition = $1", [
      modelText({ p: "sub, obj, act, eft", e }),
    ]);
    await expect(enforce(tx, ["role0", "o", "a"])).rejects.toMatchObject({ code: "PL422" });
  });
});

test("an object with the private key of NaN is no number", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await replacePolicy(tx, modelText({ m: "r.sub > 18 || r.sub == 19" }), []);
    expect(await enforce(tx, [{ "\u0001": "19" }, "o", "a"])).toBe(false);
    expect(await enforce(tx, [{ "\u0001": "NaN" }, "o", "a"])).toBe(false);
  });
});
