import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createEmailHasher } from "../../src/auth/email-hasher.ts";
import { parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer } from "../../src/auth/sealing.ts";
import { type Api, codeOf, MASTER_KEYS, PASSWORD, signIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { templatesTo, tokenTo } from "../support/mail.ts";

// Every operation reads an address in the same way. The rule itself: test/identity/email-form.test.ts.

let db: TestDatabase;
let api: Api;
let privateApi: Api;
beforeAll(async () => {
  db = await createTestDatabase();
  [api, privateApi] = await Promise.all([startApi(db), startApi(db, { PLINTH_PRIVACY_MODE: "true" })]);
});
afterAll(async () => {
  await api.close();
  await privateApi.close();
  await db.drop();
});
const asOwner = rowsAs("owner", () => db);
const asService = rowsAs("service", () => db);

const register = (to: Api, username: string, email: string) =>
  to.ask("mutation ($input: RegisterInput!) { register(input: $input) { user { id } } }", {
    variables: { input: { username, email, password: PASSWORD } },
  });
const logIn = (to: Api, identifier: string, password = PASSWORD) =>
  to.ask("mutation ($input: LoginInput!) { login(input: $input) { user { id } } }", {
    variables: { input: { identifier, password } },
  });
const requestReset = (identifier: string) =>
  api.ask("mutation ($input: RequestPasswordResetInput!) { requestPasswordReset(input: $input) { ok } }", {
    variables: { input: { identifier } },
  });

describe.each([
  ["with clear addresses", () => api, "clear"],
  ["in privacy mode", () => privateApi, "private"],
])("%s", (_, to, name) => {
  test("treats every spelling of a mailbox as the same account", async () => {
    const address = `${name}-jos\u00e9@m\u00fcnchen.de`;
    expect((await register(to(), `${name}-jose`, address)).errors).toBeUndefined();
    const spellings = [
      `${name}-jose\u0301@m\u00fcnchen.de`,
      `\u00a0${name.toUpperCase()}-JOSE\u0301@MU\u0308NCHEN.DE\u3000`,
      `${name}-jos\u00e9@xn--mnchen-3ya.de`,
    ];
    for (const spelling of spellings) {
      expect((await logIn(to(), spelling)).errors).toBeUndefined();
      const again = await register(to(), `${name}-jose2`, spelling);
      expect([codeOf(again), again.errors![0]!.extensions.field]).toEqual(["CONFLICT", "email"]);
    }
  });

  test("does not count another mailbox's sign-ins against an account", async () => {
    expect((await register(to(), `${name}-ivan`, `ivan@${name}.example`)).errors).toBeUndefined();
    for (let round = 0; round < 6; round++)
      for (const other of [`\u0130van@${name}.example`, `\u0130van`])
        expect(codeOf(await logIn(to(), other, "a wrong password"))).toBe("INVALID_CREDENTIALS");
    expect((await logIn(to(), `ivan@${name}.example`)).errors).toBeUndefined();
    expect((await register(to(), `${name}-ivan2`, `\u0130van@${name}.example`)).errors).toBeUndefined();
  });

  test.each([
    "mi\u212ae@example.org",
    "a\u200bda@example.org",
    "\u202eada@example.org",
    "ada@example\u3002org",
    "ada@example.org.",
  ])("rejects %j", async (address) => {
    const refused = await register(to(), `${name}-refused`, address);
    expect([codeOf(refused), refused.errors![0]!.extensions.field]).toEqual(["BAD_USER_INPUT", "email"]);
    expect(codeOf(await logIn(to(), address))).toBe("INVALID_CREDENTIALS");
  });
});

test("mails a reset for every spelling of the address", async () => {
  await register(api, "renee", "ren\u00e9e@b\u00fccher.de");
  const stored = "ren\u00e9e@xn--bcher-kva.de";
  await requestReset("rene\u0301e@bu\u0308cher.de");
  await requestReset(" REN\u00c9E@xn--bcher-kva.de");
  expect(await templatesTo(db, stored)).toEqual(["verify-email", "password-reset", "password-reset"]);
});

test("stores a changed address in its form and treats another spelling of the same address as no change", async () => {
  const { token } = await signUp(api, "mover");
  const change = (newEmail: string) =>
    api.ask("mutation ($input: ChangeEmailInput!) { changeEmail(input: $input) { ok } }", {
      token,
      variables: { input: { newEmail, currentPassword: PASSWORD } },
    });
  expect((await change("Mover@M\u00fcnchen.de")).errors).toBeUndefined();
  const link = await tokenTo(db, "mover@xn--mnchen-3ya.de", "verify-email");
  await api.ask("mutation ($input: VerifyEmailInput!) { verifyEmail(input: $input) { ok } }", {
    variables: { input: { token: link } },
  });
  expect((await signIn(api, "mover@m\u00fcnchen.de")).token).toEqual(expect.any(String));
  expect(codeOf(await change("mover@mu\u0308nchen.de"))).toBe("BAD_USER_INPUT");
});

test("records attempts on one address under its form", async () => {
  for (const typed of ["Attempt@m\u00fcnchen.de", "attempt@mu\u0308nchen.de", "attempt@xn--mnchen-3ya.de"])
    await logIn(api, typed, "a wrong password");
  expect(
    await asOwner(
      "select email, count(*)::integer as n from security.login_attempts where email like 'attempt@%' group by 1",
    ),
  ).toEqual([{ email: "attempt@xn--mnchen-3ya.de", n: 3 }]);
});

test("finds an account created in privacy mode before domains were ASCII", async () => {
  const { userId } = await signUp(api, "former");
  const hasher = createEmailHasher({
    sealer: createSealer(parseMasterKeys(MASTER_KEYS)),
    query: (text, values) => asService<{ key: string | null }>(text, [...values]),
  });
  const hash = await hasher.hashText("former@m\u00fcnchen.de");
  await asOwner("update identity.users set email = null, hashed_email = $2 where id = $1", [userId, hash]);
  for (const typed of ["former@m\u00fcnchen.de", "former@xn--mnchen-3ya.de"])
    expect((await logIn(privateApi, typed)).data.login.user.id).toBe(userId);
});
