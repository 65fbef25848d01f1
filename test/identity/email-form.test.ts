import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { normalizeEmail, readVouchedEmail } from "../../src/auth/email-hash.ts";
import { createTestDatabase, expectSqlState, rowsAs, type TestDatabase } from "../support/database.ts";

// The same rule twice: in SQL for every way into the database, and in TypeScript for privacy mode, where an address must not be sent
// to the database.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});
const asOwner = rowsAs("owner", () => db);

const inSql = async (addresses: string[]): Promise<(string | null)[]> =>
  (
    await asOwner<{ form: string | null }>(
      "select plinth.normalize_email(a) as form from unnest($1::text[]) with ordinality as t (a, n) order by n",
      [addresses],
    )
  ).map(({ form }) => form);
const inBoth = async (address: string): Promise<string | null> => {
  const [form] = await inSql([address]);
  expect([address, normalizeEmail(address) ?? null]).toEqual([address, form]);
  return form!;
};

/** The database does not know which characters are unassigned; once assigned, they must not stand for another address. */
const isAssigned = (character: string) => !/\p{Cn}/u.test(character);
/** Every assigned character except NUL, which PostgreSQL cannot store; a sample of the unassigned and private ones. */
const CHARACTERS = Array.from({ length: 0x10ffff }, (_, index) => index + 1)
  .filter((point) => point < 0xd800 || point > 0xdfff)
  .map((point) => String.fromCodePoint(point))
  .filter((character, index) => index % 101 === 0 || !/[\p{Cn}\p{Co}]/u.test(character));

describe("two spellings of one mailbox have one form", () => {
  test.each([
    ["Ada@Example.ORG", "ada@example.org"],
    ["\u00a0\t ada@example.org\u3000\n", "ada@example.org"],
    ["jose\u0301@example.org", "jos\u00e9@example.org"],
    ["JOSE\u0301@example.org", "jos\u00e9@example.org"],
    ["ada@m\u00fcnchen.de", "ada@xn--mnchen-3ya.de"],
    ["ada@MU\u0308NCHEN.de", "ada@xn--mnchen-3ya.de"],
    ["ada@xn--mnchen-3ya.DE", "ada@xn--mnchen-3ya.de"],
    ["ada@mail.\u4f8b\u3048.\u30c6\u30b9\u30c8", "ada@mail.xn--r8jz45g.xn--zckzah"],
    ["ada@fa\u00df.de", "ada@xn--fa-hia.de"],
  ])("normalizes %j", async (typed, form) => {
    expect(await inBoth(typed)).toBe(form);
    expect(await inBoth(form)).toBe(form);
  });
});

describe("another mailbox has another form or none", () => {
  test.each([
    ["a capital of another language", "\u0130van@example.org", "i\u0307van@example.org"],
    ["the Kelvin sign", "mi\u212ae@example.org", null],
    ["the Kelvin sign in a domain", "mike@\u212aite.org", null],
    ["fullwidth letters in a domain", "ada@\uff45xample.org", null],
    ["another full stop", "ada@example\u3002org", null],
    ["a zero-width space", "a\u200bda@example.org", null],
    ["right to left", "\u202eada@example.org", null],
    ["a byte order mark", "\ufeffada@example.org", null],
    ["an invisible letter", "a\u3164da@example.org", null],
    ["a soft hyphen in a domain", "ada@exa\u00admple.org", null],
    ["white space", "a da@example.org", null],
    ["two addresses", "ada@example.org,bob@example.org", null],
    ["the root's full stop", "ada@example.org.", null],
    ["an empty label", "ada@example..org", null],
    ["no domain", "ada@", null],
    ["two at signs", "ada@b@example.org", null],
    ["an address that is too long", `${"a".repeat(250)}@example.org`, null],
  ])("is not folded: %s", async (_, typed, form) => {
    expect(await inBoth(typed)).toBe(form);
  });
});

test.each([
  ["before the at sign", (c: string) => `a${c}b@example.org`, isAssigned],
  // SQL also accepts characters that no domain contains. Their form is an ASCII domain of its own, which cannot be
  // registered.
  ["after the at sign", (c: string) => `ada@a${c}b.org`, () => false],
])("SQL and TypeScript agree on every character %s", async (_, make, mustBeRefusedBySql) => {
  for (let start = 0; start < CHARACTERS.length; start += 50_000) {
    const characters = CHARACTERS.slice(start, start + 50_000);
    const forms = await inSql(characters.map(make));
    const differing = characters.filter((character, index) => {
      const typed = normalizeEmail(make(character)) ?? null;
      return typed !== forms[index] && (typed !== null || mustBeRefusedBySql(character));
    });
    expect(differing.map((character) => character.codePointAt(0)!.toString(16))).toEqual([]);
  }
});

test("two characters of a domain share a form only by case and composition", async () => {
  const byForm = new Map<string, string>();
  const folded = (text: string) => text.normalize("NFD").toLowerCase().normalize("NFC");
  for (let start = 0; start < CHARACTERS.length; start += 50_000) {
    const characters = CHARACTERS.slice(start, start + 50_000);
    const forms = await inSql(characters.map((c) => `ada@a${c}b.org`));
    for (const [index, form] of forms.entries()) {
      if (form === null) continue;
      const other = byForm.get(form);
      if (other === undefined) byForm.set(form, characters[index]!);
      else expect(folded(characters[index]!)).toBe(folded(other));
    }
  }
});

test("keeps an address that a provider vouches for, without folding it", () => {
  const cases: [string, string | undefined][] = [
    ["Ada@Example.org", "ada@example.org"],
    ["ada@m\u00fcnchen.de", "ada@xn--mnchen-3ya.de"],
    ["ada@xn--mnchen-3ya.de", "ada@xn--mnchen-3ya.de"],
    ["mi\u212ae@example.org", undefined],
    ["jose\u0301@example.org", undefined],
    ["\u00c9ric@example.org", undefined],
    ["\u0130van@example.org", undefined],
    ["ada@M\u00dcNCHEN.de", undefined],
  ];
  for (const [told, believed] of cases) expect([told, readVouchedEmail(told)]).toEqual([told, believed]);
});

describe("the table", () => {
  test("stores the form on every write", async () => {
    expect(
      await asOwner(
        "insert into identity.users (username, email) values (E'\\tUmlaut ', ' Umlaut@M\u00fcnchen.de') returning username, email",
      ),
    ).toEqual([{ username: "umlaut", email: "umlaut@xn--mnchen-3ya.de" }]);
    await expectSqlState(
      asOwner("insert into identity.users (username, email) values ('other', 'umlaut@xn--mnchen-3ya.de')"),
      "23505",
    );
  });

  test("rejects an address without a form, even if the row is marked as an exception", async () => {
    for (const statement of [
      "insert into identity.users (username, email) values ('bad', 'a\u200bb@example.org')",
      "insert into identity.users (username, email, has_irregular_address) values ('bad', 'a\u200bb@example.org', true)",
      "update identity.users set has_irregular_address = true, email = 'a\u200bb@example.org' where username = 'umlaut'",
      "with marked as (update identity.users set has_irregular_address = true where username = 'umlaut' returning has_irregular_address) select 1 / (not has_irregular_address)::integer from marked; update identity.users set email = 'A B@example.org' where username = 'umlaut'",
    ])
      await expect(asOwner(statement)).rejects.toMatchObject({ constraint: "users_email_check" });
  });

  test("finds an account by every spelling, and by no other mailbox's", async () => {
    await asOwner("insert into identity.users (username, email) values ('ivan', 'ivan@example.org')");
    const find = async (typed: string) =>
      (
        await asOwner<{ username: string | null }>(
          "select u.username from (values (private.find_account($1))) a (id) left join identity.users u on u.id = a.id",
          [typed],
        )
      )[0]!.username;
    expect(await find(" IVAN@example.org")).toBe("ivan");
    expect(await find("\u0130van@example.org")).toBeNull();
    expect(await find("\u0130van")).toBeNull();
    expect(await find("\u00a0Umlaut@m\u00fcnchen.DE")).toBe("umlaut");
  });
});
