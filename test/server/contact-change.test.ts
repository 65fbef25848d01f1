import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { type Answer, type Api, codeOf, PASSWORD, type SignedIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { emailsTo, tokenTo } from "../support/mail.ts";

// A link, code or reset is sent for the current address or number. None of them works after a change.

let db: TestDatabase;
let api: Api;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db, {}, { canSendSms: true });
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);

const mutate = (name: string, input: object, token?: string): Promise<Answer> =>
  api.ask(
    `mutation ($input: ${name[0]!.toUpperCase()}${name.slice(1)}Input!) { ${name}(input: $input) { ok } }`,
    { token, variables: { input } },
  );
const verifyEmail = (token: string) => mutate("verifyEmail", { token });
const changeEmail = (account: SignedIn, newEmail: string) =>
  mutate("changeEmail", { newEmail, currentPassword: PASSWORD }, account.token);
const requestReset = (identifier: string) => mutate("requestPasswordReset", { identifier });
const resetPassword = (token: string) =>
  mutate("resetPassword", { token, newPassword: "a whole new sentence of words" });
const verifyPhone = (account: SignedIn, code: string) => mutate("verifyPhone", { code }, account.token);
const requestPhone = (account: SignedIn, phoneNumber: string) =>
  mutate("requestPhoneVerification", { phoneNumber }, account.token);
const succeeds = async (answer: Promise<Answer>) => expect((await answer).errors).toBeUndefined();
const user = async (id: string) =>
  (
    await asOwner<{ email: string | null; is_verified: boolean; phone_number: string | null }>(
      "select email, is_verified, phone_number from identity.users where id = $1",
      [id],
    )
  )[0];

/** An account with everything open that can be sent for it: two links, a code and a reset. */
async function withOpenLinks(username: string, phoneNumber: string) {
  return openLinks(await signUp(api, username), username, phoneNumber);
}

async function openLinks(account: SignedIn, username: string, phoneNumber: string) {
  const registration = await tokenTo(db, `${username}@example.org`, "verify-email");
  await succeeds(changeEmail(account, `${username}-next@example.org`));
  const change = await tokenTo(db, `${username}-next@example.org`, "verify-email");
  await succeeds(requestPhone(account, phoneNumber));
  const code = (await emailsTo(db, phoneNumber)).at(-1)!.token!;
  await succeeds(requestReset(username));
  const reset = await tokenTo(db, `${username}@example.org`, "password-reset");
  return { account, registration, change, code, reset };
}

async function expectAllEnded(open: Awaited<ReturnType<typeof withOpenLinks>>): Promise<void> {
  const before = await user(open.account.userId);
  expect(codeOf(await verifyEmail(open.registration))).toBe("BAD_USER_INPUT");
  expect(codeOf(await verifyEmail(open.change))).toBe("BAD_USER_INPUT");
  expect(codeOf(await verifyPhone(open.account, open.code))).toBe("BAD_USER_INPUT");
  expect(codeOf(await resetPassword(open.reset))).toBe("BAD_USER_INPUT");
  expect(await user(open.account.userId)).toEqual(before);
}

describe("a changed address", () => {
  test("is not changed back by the registration link sent to a mistyped address", async () => {
    const account = await signUp(api, "mistyped");
    const first = await tokenTo(db, "mistyped@example.org", "verify-email");
    await succeeds(changeEmail(account, "right@example.org"));
    await succeeds(verifyEmail(await tokenTo(db, "right@example.org", "verify-email")));
    expect(codeOf(await verifyEmail(first))).toBe("BAD_USER_INPUT");
    expect(await user(account.userId)).toMatchObject({ email: "right@example.org", is_verified: true });
  });

  test("invalidates every open link, code and reset when the user changes it", async () => {
    const open = await withOpenLinks("by-user", "+4915100000001");
    await succeeds(verifyEmail(open.change));
    await expectAllEnded(open);
    expect(await user(open.account.userId)).toMatchObject({ email: "by-user-next@example.org" });
  });

  test.each([
    ["another address", "sql1", "email = 'sql-other@example.org'"],
    ["another address in privacy mode", "sql2", "email = null, hashed_email = sha256('sql-other')"],
    ["no address", "sql3", "email = null, hashed_email = null"],
  ])("invalidates every open link, code and reset when plain SQL sets %s", async (_, username, change) => {
    const open = await withOpenLinks(username, `+491510000001${username.at(-1)}`);
    await asOwner(`update identity.users set ${change} where id = $1`, [open.account.userId]);
    await expectAllEnded(open);
  });

  test("is unverified when plain SQL sets it without saying otherwise", async () => {
    const account = await signUp(api, "unproven");
    await succeeds(verifyEmail(await tokenTo(db, "unproven@example.org", "verify-email")));
    await asOwner("update identity.users set email = 'unproven2@example.org' where id = $1", [
      account.userId,
    ]);
    expect(await user(account.userId)).toMatchObject({ is_verified: false });
    await asOwner(
      "update identity.users set email = 'unproven3@example.org', email_verified_at = now() where id = $1",
      [account.userId],
    );
    expect(await user(account.userId)).toMatchObject({ is_verified: true });
  });

  test("keeps open links, codes and resets when only its spelling or hash is stored again", async () => {
    const open = await withOpenLinks("same", "+4915100000002");
    await asOwner("update identity.users set email = ' SAME@example.org' where id = $1", [
      open.account.userId,
    ]);
    await asOwner("update identity.users set hashed_email = sha256('same') where id = $1", [
      open.account.userId,
    ]);
    await succeeds(verifyEmail(open.registration));
    await succeeds(verifyPhone(open.account, open.code));
    await succeeds(resetPassword(open.reset));
  });
});

describe("a changed phone number", () => {
  test("invalidates the earlier code when a later code verified it", async () => {
    const account = await signUp(api, "two-codes");
    await succeeds(requestPhone(account, "+4915100000003"));
    const first = (await emailsTo(db, "+4915100000003")).at(-1)!.token!;
    await succeeds(requestPhone(account, "+4915100000004"));
    const second = (await emailsTo(db, "+4915100000004")).at(-1)!.token!;
    await succeeds(verifyPhone(account, second));
    expect(codeOf(await verifyPhone(account, first))).toBe("BAD_USER_INPUT");
    expect(await user(account.userId)).toMatchObject({ phone_number: "+4915100000004" });
    // A first number does not invalidate the registration link.
    await succeeds(verifyEmail(await tokenTo(db, "two-codes@example.org", "verify-email")));
  });

  test("invalidates every open link, code and reset when plain SQL changes it", async () => {
    const account = await signUp(api, "rang");
    await asOwner(
      "update identity.users set phone_number = '+4915100000005', phone_verified_at = now() where id = $1",
      [account.userId],
    );
    const open = await openLinks(account, "rang", "+4915100000006");
    await asOwner("update identity.users set phone_number = null, phone_verified_at = null where id = $1", [
      account.userId,
    ]);
    await expectAllEnded(open);
  });
});
