import { createHash, pbkdf2Sync, scryptSync } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import bcrypt from "bcryptjs";
import { type ForeignPasswordHash, importedPasswordHash } from "../../src/auth/foreign-password-hash.ts";
import { registerUser } from "../support/accounts.ts";
import { type Answer, type Api, codeOf, PASSWORD, startApi } from "../support/api.ts";
import {
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  rowsAs,
  type TestDatabase,
} from "../support/database.ts";
import { type Work, workOf } from "../support/work-of.ts";

// Accounts that came with another system's password hash.

let db: TestDatabase;
let api: Api;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);

const login = (identifier: string, password: string): Promise<Answer> =>
  api.ask("mutation ($input: LoginInput!) { login(input: $input) { accessToken user { username } } }", {
    variables: { input: { identifier, password } },
  });

/** As the import does: the account, then its hash. */
async function importAccount(username: string, input: ForeignPasswordHash): Promise<string> {
  const userId = await registerUser(db, username);
  const { passwordHash, hashAlgorithm } = await importedPasswordHash(input);
  await asOwner(
    "update private.user_passwords set password_hash = $2, hash_algorithm = $3 where user_id = $1",
    [userId, passwordHash, hashAlgorithm],
  );
  return userId;
}

const algorithmOf = async (userId: string) =>
  (
    await asOwner<{ hash_algorithm: string }>(
      "select hash_algorithm from private.user_passwords where user_id = $1",
      [userId],
    )
  )[0]!.hash_algorithm;

const md5 = (password: string): ForeignPasswordHash => ({
  hash: createHash("md5").update(password).digest("hex"),
  algorithm: "md5",
});

const FAMILIES: Readonly<Record<string, ForeignPasswordHash>> = {
  md5: md5(PASSWORD),
  "salted-sha512": {
    hash: createHash("sha512").update(`${PASSWORD}sea-salt`).digest("base64"),
    salt: "sea-salt",
    algorithm: "sha512",
    order: "password-salt",
  },
  django: {
    hash: `pbkdf2_sha256$600000$seasalt$${pbkdf2Sync(PASSWORD, "seasalt", 600_000, 32, "sha256").toString("base64")}`,
  },
  werkzeug: {
    hash: `scrypt:32768:8:1$seasalt$${scryptSync(PASSWORD, "seasalt", 64, { N: 32_768, r: 8, p: 1, maxmem: 2 ** 27 }).toString("hex")}`,
  },
  // argon2_cffi.low_level.hash_secret_raw with 1 MiB
  "headphone-mode": {
    hash: "440304f3935bf02c697c8cb909ad17379476c1e37fef0461c60174b21830cfbd",
    salt: "736f6d6573616c74736f6d6573616c74",
    algorithm: "argon2:m=1024,t=1,p=1",
  },
  "cheap-bcrypt": { hash: bcrypt.hashSync(PASSWORD, 4) },
  bcrypt: { hash: bcrypt.hashSync(PASSWORD, 10) },
  "django-bcrypt": {
    hash: `bcrypt_sha256$${bcrypt.hashSync(createHash("sha256").update(PASSWORD).digest("hex"), 4)}`,
  },
};

test.each(Object.entries(FAMILIES))(
  "signs in an account with a %s hash and replaces the hash by argon2id [H4]",
  async (name, input) => {
    const userId = await importAccount(name, input);
    expect(await algorithmOf(userId)).toBe(name === "bcrypt" ? "bcrypt" : "wrapped");
    for (let round = 0; round < 2; round++) {
      expect((await login(name, PASSWORD)).data.login.user).toEqual({ username: name });
      expect(await algorithmOf(userId)).toBe("argon2id");
    }
  },
);

test("does the same work for unknown accounts, and for wrong passwords and locks of imported accounts", async () => {
  const userId = await importAccount("imported", md5(PASSWORD));
  const locked = await importAccount("imported-locked", md5(PASSWORD));
  await asOwner("update identity.users set locked_until = now() + interval '1 hour' where id = $1", [locked]);
  const works: Record<string, Work> = {};
  for (const [name, identifier, password] of [
    ["wrong", "imported", "a wrong password"],
    ["locked", "imported-locked", PASSWORD],
    ["unknown", "nobody-at-all", PASSWORD],
  ] as const) {
    const startedAt = performance.now();
    works[name] = await workOf(async () =>
      expect(codeOf(await login(identifier, password))).toBe("INVALID_CREDENTIALS"),
    );
    // Every refusal waits, so that the hashes of an imported account do not show.
    expect([name, performance.now() - startedAt > 990]).toEqual([name, true]);
  }
  expect(works.wrong).toEqual(works.locked);
  expect(works.unknown!.statements).toEqual(works.wrong!.statements);
  expect(await algorithmOf(userId)).toBe("wrapped");
});

test("rejects a new password that an imported hash of the history matches [A2]", async () => {
  const userId = await importAccount("historian", md5("an old but gold password"));
  await asOwner(
    `insert into private.password_history (user_id, password_hash, hash_algorithm)
     select user_id, password_hash, hash_algorithm from private.user_passwords where user_id = $1`,
    [userId],
  );
  const { passwordHash } = await importedPasswordHash(md5(PASSWORD));
  await asOwner("update private.user_passwords set password_hash = $2 where user_id = $1", [
    userId,
    passwordHash,
  ]);
  const token = (await login("historian", PASSWORD)).data.login.accessToken as string;
  const change = (newPassword: string) =>
    api.ask("mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { accessToken } }", {
      token,
      variables: { input: { currentPassword: PASSWORD, newPassword } },
    });
  const refused = await change("an old but gold password");
  expect([codeOf(refused), refused.errors?.[0]?.extensions?.field]).toEqual([
    "BAD_USER_INPUT",
    "newPassword",
  ]);
  expect((await change("an entirely new password")).errors).toBeUndefined();
});

test("a rollback of the migration deletes wrapped hashes and keeps others, after which their users reset them", async () => {
  const folder = new URL("../../migrations/rollback/", import.meta.url);
  const file = readdirSync(folder).find((name) => name.endsWith("-foreign-password-hashes.sql"))!;
  const rollback = readFileSync(new URL(file, folder), "utf8").replaceAll(/^--!restore .*$/gm, "");
  const wrapped = await importAccount("lost", md5(PASSWORD));
  const kept = await importAccount("kept", FAMILIES.bcrypt!);
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    await tx.rows(rollback);
    expect(
      await tx.rows("select user_id from private.user_passwords where user_id = any ($1)", [[wrapped, kept]]),
    ).toEqual([{ user_id: kept }]);
    await expectSqlState(
      tx.attempt("update private.user_passwords set hash_algorithm = 'wrapped' where user_id = $1", [kept]),
      "23514",
    );
  });
  expect(await algorithmOf(wrapped)).toBe("wrapped");
});

test("the query of docs/accounts.md counts the accounts whose hash is still to be replaced", async () => {
  const page = readFileSync(new URL("../../docs/accounts.md", import.meta.url), "utf8");
  const [query] = /select hash_algorithm, count.*/.exec(page)!;
  await importAccount("left", md5(PASSWORD));
  const left = await asOwner<{ hash_algorithm: string; count: string }>(query);
  expect(left.find(({ hash_algorithm: name }) => name === "wrapped")).toBeDefined();
  expect(left.find(({ hash_algorithm: name }) => name === "argon2id")).toBeUndefined();
});

test("stores no wrapped hash without its scheme and its argon2id hash", async () => {
  const { passwordHash } = await importedPasswordHash(md5(PASSWORD));
  const userId = await registerUser(db, "damaged");
  for (const damaged of [
    createHash("md5").update(PASSWORD).digest("hex"),
    passwordHash.replace("f=md5-salt-password,", ""),
    passwordHash.slice(0, passwordHash.lastIndexOf("$")),
  ])
    await expect(
      asOwner(
        "update private.user_passwords set password_hash = $2, hash_algorithm = 'wrapped' where user_id = $1",
        [userId, damaged],
      ),
    ).rejects.toMatchObject({ constraint: "user_passwords_password_hash_check" });
});
