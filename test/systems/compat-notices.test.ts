import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { isKnownPasswordHash, unwrappedPasswordHash } from "../../src/auth/foreign-password-hash.ts";
import { registerUser } from "../support/accounts.ts";
import { enableSystems } from "../support/compat.ts";
import { type CompatCaller, callerOf } from "../support/compat-callers.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";

// The triggers of the views send a NOTICE where they store something else than the statement says.

let db: TestDatabase;
let ada: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await registerUser(db, "ada");
  await registerUser(db, "bob");
  await enableSystems(db, ["headphone", "socializer", "cedrina"]);
});
afterAll(() => db.drop());

const asOwner = rowsAs("owner", () => db);

const bcrypt = (cost: number) =>
  `$2b$${String(cost).padStart(2, "0")}$${"abcdefghijklmnopqrstuu".padEnd(53, "x")}`;
const argon2 = (
  memory: number,
  passes: number,
  lanes: number,
  salt = "c2FsdHNhbHQ",
  digest = "x".repeat(43),
) => `$argon2id$v=19$m=${memory},t=${passes},p=${lanes}$${salt}$${digest}`;
const newUser = (hash: string) =>
  `insert into compat_headphone.users (username, password_hash) values ('eve', '${hash}')`;

/** Statements that are answered with the notice that begins so. */
const PROVOKED: Readonly<Record<string, readonly [caller: "application" | "ada", ...statements: string[]]>> =
  {
    "The password hash has an unknown format": ["application", newUser("md5:1234")],
    "The cost of the password hash is too high": ["application", newUser(bcrypt(14))],
    "The cost of the password hash is low": ["application", newUser(bcrypt(9))],
    "The encryption_key was not stored": [
      "application",
      "insert into compat_socializer.users (username, encryption_key) values ('eve', 'key')",
    ],
    "The tokens of the provider were not stored": [
      "application",
      "insert into compat_cedrina.oauth_profiles (user_id, provider, provider_user_id, access_token) values (1, 'google', '7', 'token')",
    ],
    "The user was invited": [
      "ada",
      "insert into compat_socializer.chat_rooms (creator_id, name) values (1, 'Garden')",
      "insert into compat_socializer.room_members (room_id, user_id) values (1, 2)",
    ],
  };

test("each notice is sent, and is a sentence that says what to do", async () => {
  const written = await asOwner(
    `select distinct m.found[1] as notice
     from pg_proc p
     cross join regexp_matches(p.prosrc, 'raise notice ''((?:[^'']|'''')*)''', 'g') m (found)
     where p.pronamespace in (select oid from pg_namespace where nspname ~ '^compat(_|$)')
     order by 1`,
  );
  const sent: string[] = [];
  for (const [start, [caller, ...statements]] of Object.entries(PROVOKED)) {
    const notices = await noticesOf(caller === "ada" ? { user: ada } : caller, statements);
    expect([start, notices]).toEqual([start, [expect.stringMatching(`^${start}`)]]);
    sent.push(...notices);
  }
  expect(sent.toSorted()).toEqual(written.map(({ notice }) => notice.replaceAll("''", "'")).toSorted());
  expect(sent.filter((notice) => !/^[A-Z][^:]*: (let|leave|hash) [^:]*\.$/.test(notice))).toEqual([]);
});

async function noticesOf(caller: CompatCaller, statements: readonly string[]): Promise<string[]> {
  const notices: string[] = [];
  await callerOf(db, "pg_catalog", caller, async (client) => {
    client.on("notice", ({ message }) => notices.push(message!));
    for (const statement of statements) await client.query(statement);
  });
  return notices;
}

test("the limits of a password hash are those of an import", async () => {
  const hashes = [
    ...[3, 4, 9, 10, 12, 13, 14, 31, 32].map(bcrypt),
    ...[7167, 7168, 19456, 262144, 262145].flatMap((memory) =>
      [1, 2, 4, 5, 6, 100, 147].map((passes) => argon2(memory, passes, 1)),
    ),
    ...[1, 8, 64, 65].map((lanes) => argon2(262144, 1, lanes)),
    argon2(15, 3, 2),
    argon2(19456, 0, 1),
    argon2(19456, 2, 1, "c2FsdA"),
    argon2(19456, 2, 1, "c2FsdHNhbHQ", "c2FsdHNhbHQ"),
    "md5$salt$5f4dcc3b5aa765d61d8327deb882cf99",
    "",
  ];
  const found = await asOwner(
    "select h.hash, compat.password_cost(h.hash) as cost from unnest($1::text[]) with ordinality h (hash, n) order by h.n",
    [hashes],
  );
  // The database stores with a notice, or not at all, the hashes that an import wraps.
  const expected = hashes.map((hash) => {
    if (!isKnownPasswordHash({ hash })) return "rejected";
    if (unwrappedPasswordHash({ hash })) return "fit";
    return hash.startsWith("md5") ? "rejected" : "low";
  });
  expect(
    found.map(({ hash, cost }) => [hash, cost === "unknown" || cost === "too high" ? "rejected" : cost]),
  ).toEqual(hashes.map((hash, index) => [hash, expected[index]]));
  expect(new Set(found.map(({ cost }) => cost))).toEqual(new Set(["fit", "low", "too high", "unknown"]));
});

test("a hash that is not stored leaves the password as it was", async () => {
  await callerOf(db, "compat_headphone", "application", async (client) => {
    const algorithm = "select hash_algorithm from security where user_id = 1";
    await client.query("update users set password_hash = $1 where id = 1", [bcrypt(12)]);
    expect((await client.query(algorithm)).rows).toEqual([{ hash_algorithm: "bcrypt" }]);
    for (const hash of ["md5:1234", argon2(9_999_999, 9, 1), ""]) {
      await client.query("update users set password_hash = $1 where id = 1", [hash]);
      expect((await client.query(algorithm)).rows).toEqual([{ hash_algorithm: "bcrypt" }]);
    }
  });
});
