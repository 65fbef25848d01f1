import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import {
  type Answer,
  type Api,
  codeOf,
  PASSWORD,
  type SignedIn,
  signIn,
  signUp,
  startApi,
} from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { emailsTo, templatesTo, tokenTo } from "../support/mail.ts";

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

const mutate = (name: string, input: object | null, token?: string): Promise<Answer> => {
  const type = `${name[0]!.toUpperCase()}${name.slice(1)}Input`;
  return input === null
    ? api.ask(`mutation { ${name} { ok } }`, { token })
    : api.ask(`mutation ($input: ${type}!) { ${name}(input: $input) { ok } }`, {
        token,
        variables: { input },
      });
};
const verifyEmail = (token: string) => mutate("verifyEmail", { token });
const changeEmail = (account: SignedIn, newEmail: string, currentPassword = PASSWORD) =>
  mutate("changeEmail", { newEmail, currentPassword }, account.token);
const fieldOf = (answer: Answer) => [codeOf(answer), answer.errors?.[0]?.extensions.field];
const user = async (id: string) =>
  (
    await asOwner<{
      email: string | null;
      is_verified: boolean;
      phone_number: string | null;
      failed_login_attempts: number;
    }>("select email, is_verified, phone_number, failed_login_attempts from identity.users where id = $1", [
      id,
    ])
  )[0];

describe("the address given at registration", () => {
  test("is verified by the registration link, once, in any browser [A1]", async () => {
    const { userId } = await signUp(api, "fresh");
    expect(await user(userId)).toMatchObject({ is_verified: false });
    const token = await tokenTo(db, "fresh@example.org", "verify-email");
    expect(token).toMatch(/^plv_[A-Za-z0-9_-]{43}$/);
    expect((await verifyEmail(token)).data).toEqual({ verifyEmail: { ok: true } });
    expect(await user(userId)).toMatchObject({ email: "fresh@example.org", is_verified: true });
    expect(fieldOf(await verifyEmail(token))).toEqual(["BAD_USER_INPUT", "token"]);
    expect(JSON.stringify(await asOwner("select * from private.user_verifications"))).not.toContain(token);
  });

  test("gets another link on request, at most five a day", async () => {
    const account = await signUp(api, "eager");
    for (let round = 0; round < 4; round++)
      expect((await mutate("requestEmailVerification", null, account.token)).errors).toBeUndefined();
    expect(codeOf(await mutate("requestEmailVerification", null, account.token))).toBe("RATE_LIMITED");
    expect(await templatesTo(db, "eager@example.org")).toHaveLength(5);
    // The first link works as well as the last.
    const [first] = await emailsTo(db, "eager@example.org");
    expect((await verifyEmail(first!.token!)).errors).toBeUndefined();
    expect(codeOf(await mutate("requestEmailVerification", null, account.token))).toBe("CONFLICT");
  });

  test("is not verified by an expired link or by a link of a disabled account", async () => {
    await signUp(api, "late");
    const token = await tokenTo(db, "late@example.org", "verify-email");
    await asOwner(
      "update private.user_verifications set expires_at = now() where new_value = 'late@example.org'",
    );
    expect(codeOf(await verifyEmail(token))).toBe("BAD_USER_INPUT");
    await signUp(api, "banned");
    await asOwner("update identity.users set account_status = 'disabled' where username = 'banned'");
    expect(codeOf(await verifyEmail(await tokenTo(db, "banned@example.org", "verify-email")))).toBe(
      "BAD_USER_INPUT",
    );
  });

  test("is optional", async () => {
    const account = await signUp(api, "private-person");
    await asOwner("update identity.users set email = null where id = $1", [account.userId]);
    expect(codeOf(await mutate("requestEmailVerification", null, account.token))).toBe("CONFLICT");
    expect((await changeEmail(account, "private2@example.org")).errors).toBeUndefined();
    expect(
      (await verifyEmail(await tokenTo(db, "private2@example.org", "verify-email"))).errors,
    ).toBeUndefined();
    expect(await user(account.userId)).toMatchObject({ email: "private2@example.org", is_verified: true });
  });
});

describe("changeEmail", () => {
  test("takes effect only after the new address is verified, then notifies the old one", async () => {
    const account = await signUp(api, "mover");
    expect((await changeEmail(account, " Moved@Example.org ")).data).toEqual({ changeEmail: { ok: true } });
    expect(await user(account.userId)).toMatchObject({ email: "mover@example.org" });
    expect(await templatesTo(db, "mover@example.org")).not.toContain("email-changed");
    expect(
      (await verifyEmail(await tokenTo(db, "moved@example.org", "verify-email"))).errors,
    ).toBeUndefined();
    expect(await user(account.userId)).toMatchObject({ email: "moved@example.org", is_verified: true });
    expect(await templatesTo(db, "mover@example.org")).toContain("email-changed");
    expect((await signIn(api, "moved@example.org")).userId).toBe(account.userId);
  });

  test("requires a session and the current password, and counts a wrong one", async () => {
    const account = await signUp(api, "stolen");
    expect(codeOf(await changeEmail(account, "thief@example.org", "a wrong password"))).toBe(
      "INVALID_CREDENTIALS",
    );
    expect(await user(account.userId)).toMatchObject({ failed_login_attempts: 1 });
    expect(await emailsTo(db, "thief@example.org")).toEqual([]);
    expect(
      codeOf(await mutate("changeEmail", { newEmail: "a@example.org", currentPassword: PASSWORD })),
    ).toBe("UNAUTHENTICATED");
  });

  test("does not reveal that an address is taken: it notifies the holder and returns the same answer", async () => {
    await signUp(api, "holder");
    const account = await signUp(api, "prober");
    const free = await changeEmail(account, "free@example.org");
    const taken = await changeEmail(account, "HOLDER@example.org");
    expect(taken.text).toBe(free.text);
    const emails = await emailsTo(db, "holder@example.org");
    expect(emails.map(({ template }) => template)).toEqual(["verify-email", "address-taken"]);
    expect(emails[1]!.token).toBeUndefined();
    expect(JSON.stringify(emails[1]!.variables)).not.toContain("prober");
  });

  test("gives the address to the first account that verifies it, by its latest link only", async () => {
    const first = await signUp(api, "first-one");
    const second = await signUp(api, "second-one");
    for (const account of [first, second]) await changeEmail(account, "wanted@example.org");
    const [mailOfFirst, mailOfSecond] = await emailsTo(db, "wanted@example.org");
    expect((await verifyEmail(mailOfSecond!.token!)).errors).toBeUndefined();
    expect(fieldOf(await verifyEmail(mailOfFirst!.token!))).toEqual(["BAD_USER_INPUT", "token"]);
    expect(await user(first.userId)).toMatchObject({ email: "first-one@example.org" });

    await changeEmail(first, "one@example.org");
    await changeEmail(first, "two@example.org");
    expect(codeOf(await verifyEmail(await tokenTo(db, "one@example.org", "verify-email")))).toBe(
      "BAD_USER_INPUT",
    );
    expect((await verifyEmail(await tokenTo(db, "two@example.org", "verify-email"))).errors).toBeUndefined();
  });

  test("accepts one of twenty concurrent uses of a link, and notifies the old address once", async () => {
    const account = await signUp(api, "double-click");
    await changeEmail(account, "clicked@example.org");
    const token = await tokenTo(db, "clicked@example.org", "verify-email");
    const answers = await Promise.all(Array.from({ length: 20 }, () => verifyEmail(token)));
    expect(answers.filter(({ errors }) => !errors)).toHaveLength(1);
    expect(
      (await templatesTo(db, "double-click@example.org")).filter((name) => name === "email-changed"),
    ).toHaveLength(1);
  });

  test("is cancelled by a new password, so that a stolen old one gains nothing", async () => {
    const account = await signUp(api, "victim");
    await changeEmail(account, "attacker@example.org");
    const changed = await api.ask(
      `mutation { changePassword(input: { currentPassword: "${PASSWORD}", newPassword: "a whole new sentence" }) { accessToken } }`,
      { token: account.token },
    );
    expect(changed.errors).toBeUndefined();
    expect(codeOf(await verifyEmail(await tokenTo(db, "attacker@example.org", "verify-email")))).toBe(
      "BAD_USER_INPUT",
    );
    // The link for the current address belongs to this account and stays valid.
    expect(
      (await verifyEmail(await tokenTo(db, "victim@example.org", "verify-email"))).errors,
    ).toBeUndefined();
  });

  test("rejects the current address, and too many requests", async () => {
    const account = await signUp(api, "repeater");
    await verifyEmail(await tokenTo(db, "repeater@example.org", "verify-email"));
    expect(fieldOf(await changeEmail(account, "repeater@example.org"))).toEqual([
      "BAD_USER_INPUT",
      "newEmail",
    ]);
    for (let round = 0; round < 4; round++) await changeEmail(account, `r${round}@example.org`);
    expect(codeOf(await changeEmail(account, "r5@example.org"))).toBe("RATE_LIMITED");
  });
});

describe("a phone number", () => {
  const request = (account: SignedIn, phoneNumber: string) =>
    mutate("requestPhoneVerification", { phoneNumber }, account.token);
  const verify = (account: SignedIn, code: string) => mutate("verifyPhone", { code }, account.token);
  const wrong = (code: string) => String((Number(code) + 1) % 1e8).padStart(8, "0");

  test("takes effect after its code is entered; the code is stored as a slow hash and sealed in the outbox [A1]", async () => {
    const account = await signUp(api, "caller");
    expect((await request(account, "+49 (151) 1234-5678")).data).toEqual({
      requestPhoneVerification: { ok: true },
    });
    expect(await user(account.userId)).toMatchObject({ phone_number: null });
    const [sms] = await emailsTo(db, "+4915112345678");
    expect(sms).toMatchObject({
      channel: "sms",
      template: "phone-code",
      token: expect.stringMatching(/^\d{8}$/),
    });
    const [row] = await asOwner<{ code_hash: string }>(
      "select code_hash from private.user_verifications where kind = 'phone'",
    );
    expect(row!.code_hash).toMatch(/^\$argon2id\$/);
    expect(fieldOf(await verify(account, wrong(sms!.token!)))).toEqual(["BAD_USER_INPUT", "code"]);
    expect((await verify(account, sms!.token!.replace(/^(....)/, "$1 "))).data).toEqual({
      verifyPhone: { ok: true },
    });
    expect(await user(account.userId)).toMatchObject({ phone_number: "+4915112345678" });
    expect(codeOf(await verify(account, sms!.token!))).toBe("BAD_USER_INPUT");
    expect(await templatesTo(db, "caller@example.org")).toContain("phone-changed");
  });

  test("allows five attempts over all sessions, concurrent ones included, then rejects even the right code", async () => {
    const account = await signUp(api, "guessed");
    const elsewhere = await signIn(api, "guessed");
    await request(account, "+12025550101");
    const code = await tokenTo(db, "+12025550101", "phone-code");
    await Promise.all(
      Array.from({ length: 12 }, (_, index) => verify(index % 2 ? account : elsewhere, wrong(code))),
    );
    expect(
      await asOwner("select attempts from private.user_verifications where user_id = $1 and kind = 'phone'", [
        account.userId,
      ]),
    ).toEqual([{ attempts: 5 }]);
    expect(codeOf(await verify(account, code))).toBe("BAD_USER_INPUT");
  });

  test("accepts a code once among concurrent attempts, until the next code, for ten minutes", async () => {
    const account = await signUp(api, "many-codes");
    await request(account, "+12025550102");
    const old = await tokenTo(db, "+12025550102", "phone-code");
    await request(account, "+12025550102");
    const code = await tokenTo(db, "+12025550102", "phone-code");
    if (old !== code) expect(codeOf(await verify(account, old))).toBe("BAD_USER_INPUT");
    const answers = await Promise.all(Array.from({ length: 4 }, () => verify(account, code)));
    expect(answers.filter(({ errors }) => !errors)).toHaveLength(1);
    await request(account, "+12025550103");
    await asOwner(
      "update private.user_verifications set expires_at = now() where new_value = '+12025550103'",
    );
    expect(codeOf(await verify(account, await tokenTo(db, "+12025550103", "phone-code")))).toBe(
      "BAD_USER_INPUT",
    );
  });

  test("belongs to one account and is not verified by another account's code", async () => {
    const first = await signUp(api, "shares1");
    const second = await signUp(api, "shares2");
    await request(first, "+12025550104");
    const code = await tokenTo(db, "+12025550104", "phone-code");
    expect(codeOf(await verify(second, code))).toBe("BAD_USER_INPUT");
    expect((await verify(first, code)).errors).toBeUndefined();
    await request(second, "+12025550104");
    const taken = await verify(second, await tokenTo(db, "+12025550104", "phone-code"));
    expect(fieldOf(taken)).toEqual(["CONFLICT", "phoneNumber"]);
  });

  test("receives at most five messages a day over all accounts", async () => {
    const accounts = [await signUp(api, "bomber1"), await signUp(api, "bomber2")];
    for (let round = 0; round < 5; round++)
      expect((await request(accounts[round % 2]!, "+12025550105")).errors).toBeUndefined();
    expect(codeOf(await request(accounts[0]!, "+12025550105"))).toBe("RATE_LIMITED");
    expect(await emailsTo(db, "+12025550105")).toHaveLength(5);
  });

  test("cannot be verified if no text message can be sent", async () => {
    const account = await signUp(api, "unreachable");
    const silent = await startApi(db);
    try {
      const answer = await silent.ask(
        'mutation { requestPhoneVerification(input: { phoneNumber: "+12025550106" }) { ok } }',
        { token: account.token },
      );
      expect(codeOf(answer)).toBe("UNAVAILABLE");
    } finally {
      await silent.close();
    }
  });
});

describe("hostile input returns a typed error and has no effect", () => {
  let account: SignedIn;
  beforeAll(async () => {
    account = await signUp(api, "hostile");
  });
  const long = "x".repeat(100_000);
  const unknown = `plv_${"A".repeat(43)}`;
  const email = (newEmail: unknown) => ({ newEmail, currentPassword: PASSWORD });
  test.each<[string, string, unknown]>([
    ["no address", "changeEmail", { currentPassword: PASSWORD }],
    ["no password", "changeEmail", { newEmail: "a@example.org" }],
    ["a number for an address", "changeEmail", email(7)],
    ["an empty address", "changeEmail", email("")],
    ["no @", "changeEmail", email("hostile")],
    ["two @", "changeEmail", email("a@b@example.org")],
    ["NUL", "changeEmail", email("a\0@example.org")],
    ["half a surrogate pair", "changeEmail", email("a\ud800@example.org")],
    ["an injected header", "changeEmail", email("a@example.org\r\nBcc: b@example.org")],
    ["two addresses", "changeEmail", email("a@example.org,b@example.org")],
    ["a name with an address", "changeEmail", email("A <a@example.org>")],
    ["an overlong address", "changeEmail", email(`${"a".repeat(250)}@example.org`)],
    ["an enormous address", "changeEmail", email(`${long}@example.org`)],
    ["an overlong password", "changeEmail", { newEmail: "a@example.org", currentPassword: long }],
    ["no token", "verifyEmail", {}],
    ["a list for a token", "verifyEmail", { token: [unknown, unknown] }],
    ["an unknown token", "verifyEmail", { token: unknown }],
    ["a password reset token", "verifyEmail", { token: `plp_${"A".repeat(43)}` }],
    ["a token with NUL", "verifyEmail", { token: `${unknown}\0` }],
    ["a token of Cyrillic look-alikes", "verifyEmail", { token: unknown.replaceAll("A", "\u0410") }],
    ["an enormous token", "verifyEmail", { token: long }],
    ["no number", "requestPhoneVerification", {}],
    ["a number without its country", "requestPhoneVerification", { phoneNumber: "015112345678" }],
    ["letters", "requestPhoneVerification", { phoneNumber: "+49CALLME" }],
    ["digits of another script", "requestPhoneVerification", { phoneNumber: "+٤٩١٥١١٢٣٤٥" }],
    ["an extension", "requestPhoneVerification", { phoneNumber: "+12025550101;ext=1" }],
    ["two numbers", "requestPhoneVerification", { phoneNumber: "+12025550101\n+12025550102" }],
    ["too many digits", "requestPhoneVerification", { phoneNumber: "+1234567890123456" }],
    ["an enormous number", "requestPhoneVerification", { phoneNumber: `+${"1".repeat(9999)}` }],
    ["no code", "verifyPhone", {}],
    ["an integer", "verifyPhone", { code: 12345678 }],
    ["seven digits", "verifyPhone", { code: "1234567" }],
    ["full-width digits", "verifyPhone", { code: "１２３４５６７８" }],
    ["a code with NUL", "verifyPhone", { code: "1234567\0" }],
    ["a code that was never requested", "verifyPhone", { code: "12345678" }],
    ["an enormous code", "verifyPhone", { code: "1".repeat(9999) }],
  ])("%s (%s)", async (_what, name, input) => {
    const answer = await mutate(name, input as object, account.token);
    expect(codeOf(answer)).toBe("BAD_USER_INPUT");
    expect(answer.text.length).toBeLessThan(2_000);
    expect(await user(account.userId)).toMatchObject({
      email: "hostile@example.org",
      phone_number: null,
      failed_login_attempts: 0,
    });
  });

  test.each([
    ["requestEmailVerification", null],
    ["changeEmail", { newEmail: "a@example.org", currentPassword: PASSWORD }],
    ["requestPhoneVerification", { phoneNumber: "+12025550109" }],
    ["verifyPhone", { code: "12345678" }],
  ])("%s requires a session", async (name, input) => {
    expect(codeOf(await mutate(name, input))).toBe("UNAUTHENTICATED");
  });
});
