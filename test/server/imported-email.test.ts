import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { createEmailHasher } from "../../src/auth/email-hasher.ts";
import {
  checkScheme,
  findScheme,
  IMPORTED_EMAIL_RELATION,
  keyedEmailId,
  storeScheme,
} from "../../src/auth/imported-email-hash.ts";
import { parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer } from "../../src/auth/sealing.ts";
import { type Api, codeOf, MASTER_KEYS, PASSWORD, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { workOf } from "../support/work-of.ts";

// Accounts of another system that stored only SHA-256 of a salt and the lower-case address.

const SALT = "pepper of the other system";
const NAMES = ["reset", "login", "taken", "private"];
const sealer = createSealer(parseMasterKeys(MASTER_KEYS));

let db: TestDatabase;
let api: Api;
let privateApi: Api;
let owner: pg.Client;
const query = async (text: string, values: readonly unknown[]) => (await owner.query(text, [...values])).rows;

beforeAll(async () => {
  db = await createTestDatabase();
  [api, privateApi] = await Promise.all([startApi(db), startApi(db, { PLINTH_PRIVACY_MODE: "true" })]);
  owner = new pg.Client({ connectionString: db.url("owner") });
  await owner.connect();
  await storeScheme(sealer, query, { system: "socializer", algorithm: "sha256", salt: SALT });
  const hasher = createEmailHasher({ sealer, query });
  for (const name of NAMES) {
    await signUp(api, name);
    const foreign = createHash("sha256").update(`${SALT}${name}@example.org`).digest("hex");
    await owner.query(
      `with account as (
         update identity.users set email = null, hashed_email = null where username = $1 returning id
       )
       insert into plinth.external_ids (system, relation, external_id, row_id, user_id)
       select 'socializer', $2, $3, id, id from account`,
      // A row as the import writes it, and in one case as the other system's own application does.
      [name, IMPORTED_EMAIL_RELATION, name === "taken" ? foreign : await keyedEmailId(hasher, foreign)],
    );
  }
});
afterAll(async () => {
  await owner.end();
  await Promise.all([api.close(), privateApi.close()]);
  await db.drop();
});

const login = (server: Api, identifier: string, password = PASSWORD) =>
  server.ask(
    `mutation { login(input: { identifier: ${JSON.stringify(identifier)}, password: ${JSON.stringify(password)} }) { user { username } } }`,
  );
const account = async (name: string) =>
  (
    await query(
      `select u.email, u.hashed_email is not null as has_hash, u.is_verified,
         exists (select from plinth.external_ids e where e.relation = $2 and e.user_id = u.id) as is_imported
       from identity.users u where u.username = $1`,
      [name, IMPORTED_EMAIL_RELATION],
    )
  )[0];

test("signs in with an address of which another system kept only a hash, and keeps Plinth's keyed hash instead", async () => {
  expect(await account("login")).toEqual({
    email: null,
    has_hash: false,
    is_verified: false,
    is_imported: true,
  });
  for (let attempt = 0; attempt < 2; attempt++)
    expect((await login(api, " Login@Example.org")).data.login.user).toEqual({ username: "login" });
  expect(await account("login")).toEqual({
    email: "login@example.org",
    has_hash: true,
    is_verified: false,
    is_imported: false,
  });
});

test("stores no address in privacy mode", async () => {
  expect((await login(privateApi, "private@example.org")).data.login.user).toEqual({ username: "private" });
  expect(await account("private")).toEqual({
    email: null,
    has_hash: true,
    is_verified: false,
    is_imported: false,
  });
});

test("sends a link for a new password to an address of which another system kept only a hash", async () => {
  await api.ask(`mutation { requestPasswordReset(input: { identifier: "reset@example.org" }) { ok } }`);
  const mails = await query(
    "select template from private.mail_outbox where to_address = 'reset@example.org' and template = 'password-reset'",
    [],
  );
  expect(mails).toEqual([{ template: "password-reset" }]);
});

test("rejects a registration with the address of an imported account", async () => {
  const answer = await api.ask(
    `mutation { register(input: { username: "second", email: "taken@example.org", password: "${PASSWORD}" }) { accessToken } }`,
  );
  expect(codeOf(answer)).toBe("CONFLICT");
});

test("causes the same statements for known and unknown addresses", async () => {
  const attempts = ["nobody@example.org", "login@example.org"];
  const works = [];
  for (let round = 0; round < 2; round++)
    for (const [place, identifier] of attempts.entries())
      works[place] = await workOf(() => login(api, identifier, "a wrong password"));
  expect(works[1]).toEqual(works[0]);
  expect(works[0]!.statements.join()).toContain("adopt_imported_email");
});

test("rejects a second hash function, and keeps neither hash nor salt in clear", async () => {
  const stored = await findScheme(sealer, query);
  const scheme = { system: "socializer", algorithm: "sha256", salt: SALT } as const;
  expect(stored).toEqual(scheme);
  checkScheme(scheme, stored);
  for (const other of [{ algorithm: "md5" }, { salt: "" }, { system: "cedrina" }] as const)
    expect(() => checkScheme({ ...scheme, ...other }, stored)).toThrow(
      expect.objectContaining({ code: "CONFLICT" }),
    );
  const [row] = await query(
    "select sealed_key as key from private.lookup_keys where name = 'imported email'",
    [],
  );
  expect(row!.key).not.toContain(SALT);
  expect(row!.key).not.toContain("sha256");
});
