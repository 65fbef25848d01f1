import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { Secret, TOTP } from "otpauth";
import { type Answer, type Api, codeOf, PASSWORD, type SignedIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { type Misbehaviour, SoftwareAuthenticator } from "../support/software-authenticator.ts";

// Second factors as an application uses them: over HTTP, with an authenticator in software.

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let name: string;
let sequence = 0;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db, { PLINTH_APP_ORIGINS: "http://localhost:5678", PLINTH_APP_NAME: "Acme" });
});
afterAll(async () => {
  await api.close();
  await db.drop();
});
beforeEach(async () => {
  name = `ada${sequence++}`;
  ada = await signUp(api, name);
});

const asOwner = rowsAs("owner", () => db);

/** Input type and selection of each mutation; the type is undefined where it takes nothing. */
const MUTATIONS = {
  startTotp: ["StartTotpInput!", "factorId secret uri"],
  confirmTotp: ["ConfirmTotpInput!", "factor { id kind name confirmedAt } recoveryCodes"],
  startPasskeyRegistration: ["StartPasskeyRegistrationInput!", "options"],
  finishPasskeyRegistration: ["FinishPasskeyRegistrationInput!", "factor { id kind name } recoveryCodes"],
  startPasskeySignIn: ["StartPasskeySignInInput!", "options"],
  finishPasskeySignIn: ["FinishPasskeySignInInput!", "accessToken user { username }"],
  completeSignIn: ["CompleteSignInInput!", "accessToken refreshToken user { id username }"],
  startPasskeyReauthentication: [null, "options"],
  reauthenticate: ["ReauthenticateInput!", "authenticatedAt"],
  regenerateRecoveryCodes: [null, "recoveryCodes"],
  deleteMfaFactor: ["DeleteMfaFactorInput!", "result { id }"],
  updateMfaFactor: ["UpdateMfaFactorInput!", "mfaFactor { name }"],
} as const;
type Mutation = keyof typeof MUTATIONS;

const run = (mutation: Mutation, input?: object, token?: string): Promise<Answer> => {
  const [type, fields] = MUTATIONS[mutation];
  return type === null
    ? api.ask(`mutation { it: ${mutation} { ${fields} } }`, { token })
    : api.ask(`mutation ($input: ${type}) { it: ${mutation}(input: $input) { ${fields} } }`, {
        ...{ variables: { input: input ?? {} }, token },
      });
};
const must = async (mutation: Mutation, input?: object, token?: string) => {
  const answer = await run(mutation, input, token);
  if (!answer.data?.it) throw new Error(`${mutation}: ${answer.text}`);
  return answer.data.it;
};
const code = (secret: string) => TOTP.generate({ secret: Secret.fromBase32(secret) });
/** No code of the next hour, nor of the minutes before. */
const wrongCode = (secret: string): string => {
  const steps = Array.from({ length: 140 }, (_, i) => Date.now() + (i - 20) * 30_000);
  const right = new Set(
    steps.map((timestamp) => TOTP.generate({ secret: Secret.fromBase32(secret), timestamp })),
  );
  for (let n = 0; ; n++) {
    const candidate = String(n).padStart(6, "0");
    if (!right.has(candidate)) return candidate;
  }
};
/** Lets a test use the current code again. */
const forgetSteps = () => asOwner("update private.totp_secrets set last_used_step = null");
const makeStale = (token = ada.token) =>
  asOwner(
    "update identity.user_sessions set authenticated_at = now() - interval '11 minutes' where id = $1",
    [JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString()).sid],
  );

const enrolTotp = async () => {
  const { factorId, secret, uri } = await must("startTotp", { name: "Phone" }, ada.token);
  const { recoveryCodes } = await must("confirmTotp", { factorId, code: code(secret) }, ada.token);
  await forgetSteps();
  return { factorId, secret, uri, recoveryCodes } as {
    factorId: string;
    secret: string;
    uri: string;
    recoveryCodes: string[] | null;
  };
};
const enrolPasskey = async (behaviour?: Misbehaviour, passwordless = true) => {
  const authenticator = new SoftwareAuthenticator(behaviour);
  const { options } = await must("startPasskeyRegistration", { passwordless }, ada.token);
  const response = authenticator.create(options);
  const added = await must("finishPasskeyRegistration", { response, name: "Laptop" }, ada.token);
  return { authenticator, ...added } as {
    authenticator: SoftwareAuthenticator;
    factor: { id: string };
    recoveryCodes: string[] | null;
  };
};
const login = async () => {
  const { data, text } = await api.ask(
    `mutation ($input: LoginInput!) {
       login(input: $input) { accessToken refreshToken user { id } challenge { token expiresAt methods } }
     }`,
    { variables: { input: { identifier: name, password: PASSWORD } } },
  );
  if (!data?.login) throw new Error(text);
  return data.login as {
    accessToken: string | null;
    refreshToken: string | null;
    user: object | null;
    challenge: { token: string; expiresAt: string; methods: string[] } | null;
  };
};
const challenge = async () => (await login()).challenge!.token;

describe("an authenticator app [A2]", () => {
  test("is enrolled, requested at the next sign-in, and completes it", async () => {
    const { uri, secret, factorId, recoveryCodes } = await enrolTotp();
    expect(uri).toBe(
      `otpauth://totp/Acme:${name}?issuer=Acme&secret=${secret}&algorithm=SHA1&digits=6&period=30`,
    );
    expect(recoveryCodes).toHaveLength(10);
    const startedAt = Date.now();
    const half = await login();
    expect(half).toMatchObject({ accessToken: null, refreshToken: null, user: null });
    expect(half.challenge!.token).toMatch(/^plc_[A-Za-z0-9_-]{43}$/);
    expect(half.challenge!.methods).toEqual(["totp", "recovery_code"]);
    const expiresAt = Date.parse(half.challenge!.expiresAt);
    expect(expiresAt).toBeGreaterThan(startedAt + 9 * 60_000);
    expect(expiresAt).toBeLessThanOrEqual(Date.now() + 10 * 60_000);
    const typed = code(secret).replace(/^(...)/, "$1 ");
    const done = await must("completeSignIn", { challengeToken: half.challenge!.token, code: typed });
    expect(done.user).toEqual({ id: ada.userId, username: name });
    const { data } = await api.ask(
      "{ currentUser { mfaFactors { nodes { id kind name confirmedAt lastUsedAt } } } recoveryCodesLeft }",
      { token: done.accessToken },
    );
    expect(data.currentUser.mfaFactors.nodes).toEqual([
      {
        ...{ id: factorId, kind: "totp", name: "Phone" },
        ...{ confirmedAt: expect.any(String), lastUsedAt: expect.any(String) },
      },
    ]);
    expect(data.recoveryCodesLeft).toBe(10);
  });

  test("changes nothing until it is confirmed", async () => {
    const { factorId, secret } = await must("startTotp", {}, ada.token);
    expect((await login()).challenge).toBeNull();
    const wrong = await run("confirmTotp", { factorId, code: wrongCode(secret) }, ada.token);
    expect(wrong.errors![0]!.extensions).toMatchObject({ code: "BAD_USER_INPUT", field: "code" });
    expect((await login()).challenge).toBeNull();
  });

  test("code is rejected the second time, with the error of a wrong one", async () => {
    const { secret } = await enrolTotp();
    const now = code(secret);
    await must("completeSignIn", { challengeToken: await challenge(), code: now });
    const again = await run("completeSignIn", { challengeToken: await challenge(), code: now });
    const wrong = await run("completeSignIn", {
      challengeToken: await challenge(),
      recoveryCode: "0".repeat(24),
    });
    expect(codeOf(again)).toBe("INVALID_CREDENTIALS");
    expect(again.text).toBe(wrong.text);
  });

  test("is locked after ten wrong codes on ten challenges, with the same error", async () => {
    const { secret } = await enrolTotp();
    const answers: string[] = [];
    for (let i = 0; i < 10; i++) {
      const answer = await run("completeSignIn", {
        challengeToken: await challenge(),
        code: wrongCode(secret),
      });
      answers.push(answer.text);
    }
    // The lock would end before a machine that stands still goes on.
    await asOwner("update private.mfa_attempts set locked_until = locked_until + interval '1 hour'");
    const locked = await run("completeSignIn", { challengeToken: await challenge(), code: code(secret) });
    expect(new Set([...answers, locked.text]).size).toBe(1);
    await asOwner("update private.mfa_attempts set locked_until = now()");
    await must("completeSignIn", { challengeToken: await challenge(), code: code(secret) });
  });

  test("secret is encrypted for its account and opens nothing when copied to another [A2]", async () => {
    const { factorId, secret } = await enrolTotp();
    const [row] = await asOwner<{ sealed_secret: string }>(
      "select sealed_secret from private.totp_secrets where factor_id = $1",
      [factorId],
    );
    expect(row!.sealed_secret).toMatch(/^v1\./);
    const bytes = Buffer.from(Secret.fromBase32(secret).buffer);
    expect(Buffer.from(row!.sealed_secret.slice(3), "base64url").includes(bytes)).toBe(false);
    name = `ada${sequence++}`;
    ada = await signUp(api, name);
    const { factorId: victims } = await enrolTotp();
    await asOwner("update private.totp_secrets set sealed_secret = $1 where factor_id = $2", [
      ...[row!.sealed_secret, victims],
    ]);
    const answer = await run("completeSignIn", { challengeToken: await challenge(), code: code(secret) });
    expect(codeOf(answer)).toBe("INTERNAL");
  });
});

describe("recovery codes [A2]", () => {
  test("sign in once each, however they are typed", async () => {
    const { recoveryCodes } = await enrolTotp();
    const [first, second] = recoveryCodes!;
    await must("completeSignIn", { challengeToken: await challenge(), recoveryCode: first });
    const again = await run("completeSignIn", { challengeToken: await challenge(), recoveryCode: first });
    expect(codeOf(again)).toBe("INVALID_CREDENTIALS");
    const typed = second!.toUpperCase().replaceAll("-", " ").replaceAll("0", "O").replaceAll("1", "l");
    await must("completeSignIn", { challengeToken: await challenge(), recoveryCode: typed });
    const { data } = await api.ask("{ recoveryCodesLeft }", { token: ada.token });
    expect(data.recoveryCodesLeft).toBe(8);
  });

  test("invalidate the previous set when regenerated", async () => {
    const { recoveryCodes: old } = await enrolTotp();
    const { recoveryCodes } = await must("regenerateRecoveryCodes", undefined, ada.token);
    expect(recoveryCodes).toHaveLength(10);
    const dead = await run("completeSignIn", { challengeToken: await challenge(), recoveryCode: old![0] });
    expect(codeOf(dead)).toBe("INVALID_CREDENTIALS");
    await must("completeSignIn", { challengeToken: await challenge(), recoveryCode: recoveryCodes[0] });
  });

  test("require a second factor", async () => {
    expect(codeOf(await run("regenerateRecoveryCodes", undefined, ada.token))).toBe("CONFLICT");
    expect(codeOf(await run("regenerateRecoveryCodes"))).toBe("UNAUTHENTICATED");
  });
});

describe("a passkey [A2]", () => {
  const signInAlone = async (authenticator: SoftwareAuthenticator, wrong?: Misbehaviour) => {
    const { options } = await must("startPasskeySignIn", {});
    return run("finishPasskeySignIn", { response: authenticator.get(options, wrong), deviceName: "Laptop" });
  };

  test("signs in on its own, without a challenge", async () => {
    const { authenticator, recoveryCodes } = await enrolPasskey();
    expect(recoveryCodes).toHaveLength(10);
    const { options } = await must("startPasskeySignIn", {});
    expect(options).toMatchObject({ rpId: "localhost", userVerification: "required", allowCredentials: [] });
    const answer = await signInAlone(authenticator);
    expect(answer.data.it.user).toEqual({ username: name });
    const [session] = await asOwner(
      "select authentication_methods as m, device_name as d from identity.user_sessions where user_id = $1 and device_name = 'Laptop'",
      [ada.userId],
    );
    expect(session).toEqual({ m: ["hwk", "mfa"], d: "Laptop" });
  });

  test.each<[string, Misbehaviour]>([
    ["whose user is not verified", { userVerified: false }],
    ["with a bad signature", { tamperSignature: true }],
    ["on another site", { origin: "https://evil.example", rpId: "evil.example" }],
    ["with a counter that decreased", { signCount: 0 }],
    ["in another site's frame", { crossOrigin: true }],
    ["without its user handle", { userHandle: null }],
  ])("%s gets the error of an unknown one", async (_what, wrong) => {
    const { authenticator } = await enrolPasskey();
    await signInAlone(authenticator);
    const refused = await signInAlone(authenticator, wrong);
    expect(codeOf(refused)).toBe("INVALID_CREDENTIALS");
    const stranger = new SoftwareAuthenticator();
    expect((await signInAlone(stranger)).text).toBe(refused.text);
  });

  test("of a disabled account gets the same error", async () => {
    const { authenticator } = await enrolPasskey();
    await asOwner("update identity.users set account_status = 'disabled' where id = $1", [ada.userId]);
    const refused = await signInAlone(authenticator);
    expect(codeOf(refused)).toBe("INVALID_CREDENTIALS");
    expect((await signInAlone(new SoftwareAuthenticator())).text).toBe(refused.text);
  });

  test("completes a sign-in as second factor, verified or not, with an answer that works once", async () => {
    const { authenticator } = await enrolPasskey({ userVerified: false }, false);
    const { token, methods } = (await login()).challenge!;
    expect(methods).toEqual(["passkey", "recovery_code"]);
    const { options } = await must("startPasskeySignIn", { challengeToken: token });
    expect(options.allowCredentials).toEqual([
      {
        ...{ id: authenticator.credentialId.toString("base64url"), type: "public-key" },
        transports: ["internal", "hybrid"],
      },
    ]);
    const passkeyResponse = authenticator.get(options, { userHandle: null });
    await must("completeSignIn", { challengeToken: token, passkeyResponse });
    const again = await run("completeSignIn", { challengeToken: await challenge(), passkeyResponse });
    expect(codeOf(again)).toBe("INVALID_CREDENTIALS");
  });

  test("answers only the challenge that it was created for", async () => {
    const { authenticator } = await enrolPasskey();
    const alone = authenticator.get((await must("startPasskeySignIn", {})).options);
    const crossed = await run("completeSignIn", {
      challengeToken: await challenge(),
      passkeyResponse: alone,
    });
    expect(codeOf(crossed)).toBe("INVALID_CREDENTIALS");
    const confirming = (await must("startPasskeyReauthentication", undefined, ada.token)).options;
    const response = authenticator.get(confirming);
    expect(codeOf(await run("finishPasskeySignIn", { response }))).toBe("INVALID_CREDENTIALS");
    const { options } = await must("startPasskeySignIn", { challengeToken: await challenge() });
    const ofChallenge = authenticator.get(options);
    expect(codeOf(await run("reauthenticate", { passkeyResponse: ofChallenge }, ada.token))).toBe(
      "INVALID_CREDENTIALS",
    );
  });

  test("of another user completes nothing", async () => {
    const { authenticator: hers } = await enrolPasskey();
    name = `ada${sequence++}`;
    ada = await signUp(api, name);
    await enrolPasskey();
    const challengeToken = await challenge();
    const { options } = await must("startPasskeySignIn", { challengeToken });
    const answer = await run("completeSignIn", { challengeToken, passkeyResponse: hers.get(options) });
    expect(codeOf(answer)).toBe("INVALID_CREDENTIALS");
  });

  test("is not added if it belongs to another account or answers an old or foreign challenge", async () => {
    const { authenticator } = await enrolPasskey();
    const { options: excluding } = await must("startPasskeyRegistration", {}, ada.token);
    expect(excluding.excludeCredentials).toMatchObject([
      { id: authenticator.credentialId.toString("base64url") },
    ]);
    const other = await signUp(api, `ada${sequence++}`);
    const { options } = await must("startPasskeyRegistration", {}, other.token);
    const response = authenticator.create(options);
    expect(codeOf(await run("finishPasskeyRegistration", { response }, other.token))).toBe("CONFLICT");
    expect(codeOf(await run("finishPasskeyRegistration", { response }, other.token))).toBe("BAD_USER_INPUT");
    const foreign = new SoftwareAuthenticator().create(excluding);
    expect(codeOf(await run("finishPasskeyRegistration", { response: foreign }, other.token))).toBe(
      "BAD_USER_INPUT",
    );
  });
});

describe("a half-finished sign-in [A2]", () => {
  test("gives access to nothing: its token is no access token and no refresh token", async () => {
    await enrolTotp();
    const token = await challenge();
    const asBearer = await api.ask("{ currentUser { id } }", { token });
    expect(asBearer.status).toBe(401);
    expect(codeOf(asBearer)).toBe("UNAUTHENTICATED");
    const refreshed = await api.ask(
      "mutation ($t: String!) { refresh(input: { refreshToken: $t }) { accessToken } }",
      { variables: { t: token } },
    );
    expect(codeOf(refreshed)).toBe("UNAUTHENTICATED");
  });

  test("reads nothing in the operation that started it", async () => {
    await enrolTotp();
    const { data } = await api.ask(
      `mutation ($input: LoginInput!) {
         login(input: $input) { accessToken user { id } query { currentUser { id } users { totalCount } } }
       }`,
      { variables: { input: { identifier: name, password: PASSWORD } } },
    );
    expect(data.login).toMatchObject({ accessToken: null, user: null, query: { currentUser: null } });
  });

  test("is completed once", async () => {
    const { recoveryCodes } = await enrolTotp();
    const challengeToken = await challenge();
    const [first, second] = recoveryCodes!;
    await must("completeSignIn", { challengeToken, recoveryCode: first });
    expect(codeOf(await run("completeSignIn", { challengeToken, recoveryCode: second }))).toBe(
      "INVALID_CREDENTIALS",
    );
  });

  test("ends when the password changes", async () => {
    const { recoveryCodes } = await enrolTotp();
    const challengeToken = await challenge();
    const changed = await api.ask(
      `mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { accessToken } }`,
      {
        variables: { input: { currentPassword: PASSWORD, newPassword: "quite another long sentence" } },
        token: ada.token,
      },
    );
    expect(changed.errors).toBeUndefined();
    const answer = await run("completeSignIn", { challengeToken, recoveryCode: recoveryCodes![0] });
    expect(codeOf(answer)).toBe("INVALID_CREDENTIALS");
  });

  test("does not occur at registration, which signs the user in", async () => {
    expect(ada.token).toMatch(/^eyJ/);
  });
});

describe("sensitive changes [A2]", () => {
  test("require reauthentication, with an error that an application can recognise", async () => {
    await makeStale();
    const answer = await run("startTotp", {}, ada.token);
    expect(answer.errors![0]!.extensions).toMatchObject({
      ...{ code: "FORBIDDEN", hint: "Confirm it is you with reauthenticate." },
    });
    const startedAt = Date.now();
    const { authenticatedAt } = await must("reauthenticate", { password: PASSWORD }, ada.token);
    // The database may have another clock.
    expect(Date.parse(authenticatedAt)).toBeGreaterThan(startedAt - 60_000);
    expect(Date.parse(authenticatedAt)).toBeLessThan(Date.now() + 60_000);
    await must("startTotp", {}, ada.token);
  });

  test("reject a wrong password and count it", async () => {
    await makeStale();
    expect(codeOf(await run("reauthenticate", { password: "a wrong password" }, ada.token))).toBe(
      "INVALID_CREDENTIALS",
    );
    expect(codeOf(await run("startTotp", {}, ada.token))).toBe("FORBIDDEN");
    const [row] = await asOwner("select failed_login_attempts as n from identity.users where id = $1", [
      ada.userId,
    ]);
    expect(row).toEqual({ n: 1 });
  });

  test("require a code, a recovery code or a passkey from a user with a second factor, not the password", async () => {
    const { secret, recoveryCodes } = await enrolTotp();
    const { authenticator } = await enrolPasskey();
    const password = await run("reauthenticate", { password: PASSWORD }, ada.token);
    expect(password.errors![0]!.extensions).toMatchObject({ code: "BAD_USER_INPUT", field: "password" });
    const wrong = await run("reauthenticate", { password: "a wrong password" }, ada.token);
    expect(wrong.text).toBe(password.text);
    await must("reauthenticate", { code: code(secret) }, ada.token);
    await must("reauthenticate", { recoveryCode: recoveryCodes![0] }, ada.token);
    await makeStale();
    const { options } = await must("startPasskeyReauthentication", undefined, ada.token);
    await must("reauthenticate", { passkeyResponse: authenticator.get(options) }, ada.token);
    await must("regenerateRecoveryCodes", undefined, ada.token);
  });

  test("let only the owner remove a factor, and sign-ins are as before", async () => {
    const { factorId } = await enrolTotp();
    await makeStale();
    expect(codeOf(await run("deleteMfaFactor", { factorId }, ada.token))).toBe("FORBIDDEN");
    await asOwner("update identity.user_sessions set authenticated_at = now()");
    const other = await signUp(api, `ada${sequence++}`);
    expect(codeOf(await run("deleteMfaFactor", { factorId }, other.token))).toBe("NOT_FOUND");
    expect(codeOf(await run("deleteMfaFactor", { factorId }))).toMatch(/UNAUTHENTICATED/);
    await must("deleteMfaFactor", { factorId }, ada.token);
    const half = await login();
    expect(half.challenge).toBeNull();
    expect(half.accessToken).toMatch(/^eyJ/);
    const { data } = await api.ask("{ recoveryCodesLeft }", { token: ada.token });
    expect(data.recoveryCodesLeft).toBe(0);
  });

  test("keep the last passkey of an account without a password", async () => {
    const { factor } = await enrolPasskey();
    await asOwner("delete from private.user_passwords where user_id = $1", [ada.userId]);
    expect(codeOf(await run("deleteMfaFactor", { factorId: factor.id }, ada.token))).toBe("CONFLICT");
    const { factor: second } = await enrolPasskey();
    await must("deleteMfaFactor", { factorId: factor.id }, ada.token);
    expect(codeOf(await run("deleteMfaFactor", { factorId: second.id }, ada.token))).toBe("CONFLICT");
  });
});

describe("a role that requires a second factor", () => {
  test("has no effect in a session without one, and full effect in a session with one", async () => {
    const seen = async (token: string): Promise<boolean> =>
      (await api.ask("{ users { totalCount } }", { token })).data.users.totalCount > 1;
    await asOwner("select access.grant_role($1, 'admin')", [ada.userId]);
    const { accessToken: elsewhere } = await login();
    expect(await seen(ada.token)).toBe(true);
    await asOwner("update access.roles set requires_mfa = true where role_name = 'admin'");
    try {
      expect(await seen(ada.token)).toBe(false);
      const { secret } = await enrolTotp();
      // The session that enrolled has shown the factor; a session of the password alone has not.
      expect(await seen(ada.token)).toBe(true);
      expect(await seen(elsewhere!)).toBe(false);
      const input = { challengeToken: await challenge(), code: code(secret) };
      expect(await seen((await must("completeSignIn", input)).accessToken)).toBe(true);
      await forgetSteps();
      await must("reauthenticate", { code: code(secret) }, elsewhere!);
      expect(await seen(elsewhere!)).toBe(true);
    } finally {
      await asOwner("update access.roles set requires_mfa = false");
    }
  });
});

describe("the list of factors", () => {
  test("contains only the user's own factors, under the names that the user gave", async () => {
    const { factorId } = await enrolTotp();
    const other = await signUp(api, `ada${sequence++}`);
    const rename = (token: string) =>
      run("updateMfaFactor", { id: factorId, patch: { name: "Blue phone" } }, token);
    expect(codeOf(await rename(other.token))).toBe("NOT_FOUND");
    expect((await rename(ada.token)).data.it.mfaFactor).toEqual({ name: "Blue phone" });
    const query = `query ($id: UUID!) { mfaFactor(id: $id) { name } }`;
    const seen = await api.ask(query, { variables: { id: factorId }, token: other.token });
    expect(seen.data.mfaFactor).toBeNull();
  });

  test("has its events in the audit log with their severity", async () => {
    const { recoveryCodes, factorId } = await enrolTotp();
    await must("completeSignIn", { challengeToken: await challenge(), recoveryCode: recoveryCodes![0] });
    await run("completeSignIn", { challengeToken: await challenge(), recoveryCode: recoveryCodes![0] });
    await must("deleteMfaFactor", { factorId }, ada.token);
    const rows = await asOwner<{ e: string; s: string }>(
      "select event_type as e, severity as s from security.security_audit_log where user_id = $1",
      [ada.userId],
    );
    const events = Object.fromEntries(rows.map(({ e, s }) => [e, s]));
    expect(events).toMatchObject({
      ...{ factor_added: "info", recovery_codes_made: "info", sign_in_challenged: "info" },
      ...{ recovery_code_used: "warning", mfa_failed: "warning", factor_removed: "warning" },
    });
  });
});

describe("hostile clients", () => {
  const TEXTS: readonly [string, unknown][] = [
    ["nothing", ""],
    ["NUL", "a\u0000b"],
    ["a lone surrogate", "\ud800"],
    ["a line break", "a\nb"],
    ["a thousand characters", "x".repeat(1_000)],
    ["a number", 5],
    ["an object", { a: 1 }],
    ["SQL", "'; drop table identity.users; --"],
    ["digits of another alphabet", "١٢٣٤٥٦"],
    ["a full-width look-alike", "１２３４５６"],
  ];
  const RESPONSES: readonly [string, unknown][] = [
    ["null", null],
    ["a text", "x"],
    ["a number", 5],
    ["a list", []],
    ["an empty object", {}],
    ["an object within", { id: {}, response: { clientDataJSON: {} } }],
    ["NUL", { id: "a\u0000", response: { clientDataJSON: "\u0000" } }],
    [
      "a prototype",
      JSON.parse('{"__proto__": {"id": "x"}, "response": {"__proto__": {"clientDataJSON": "x"}}}'),
    ],
    ["a long id", { id: "A".repeat(5_000), response: { clientDataJSON: "A".repeat(50_000) } }],
  ];
  const TYPED = /^(BAD_USER_INPUT|INVALID_CREDENTIALS|NOT_FOUND|GRAPHQL_VALIDATION_FAILED)$/;
  const PLC = `plc_${"A".repeat(43)}`;

  test.each<[Mutation, (value: unknown) => object]>([
    ["confirmTotp", (value) => ({ factorId: "00000000-0000-7000-8000-00000000000a", code: value })],
    ["confirmTotp", (value) => ({ factorId: value, code: "123456" })],
    ["completeSignIn", (value) => ({ challengeToken: value, code: "123456" })],
    ["completeSignIn", (value) => ({ challengeToken: PLC, code: value })],
    ["completeSignIn", (value) => ({ challengeToken: PLC, recoveryCode: value })],
    ["startPasskeySignIn", (value) => ({ challengeToken: value })],
    ["reauthenticate", (value) => ({ password: value })],
    ["reauthenticate", (value) => ({ code: value })],
    ["reauthenticate", (value) => ({ recoveryCode: value })],
    ["finishPasskeySignIn", (value) => ({ response: {}, deviceName: value })],
    ["finishPasskeyRegistration", (value) => ({ response: {}, name: value })],
    ["deleteMfaFactor", (value) => ({ factorId: value })],
  ])("%s returns a typed error for each hostile text", async (mutation, inputOf) => {
    for (const [what, value] of TEXTS) {
      const got = codeOf(await run(mutation, inputOf(value), ada.token));
      if (!TYPED.test(got)) throw new Error(`${mutation} with ${what}: ${got}`);
    }
  });

  test("startTotp returns a typed error for each name that cannot be stored, and stores nothing", async () => {
    for (const [what, value] of TEXTS.slice(0, 7)) {
      const got = codeOf(await run("startTotp", { name: value }, ada.token));
      if (got !== "BAD_USER_INPUT" && got !== "GRAPHQL_VALIDATION_FAILED") throw new Error(`${what}: ${got}`);
    }
    expect(await asOwner("select from identity.mfa_factors where user_id = $1", [ada.userId])).toHaveLength(
      0,
    );
  });

  test.each<[Mutation, (value: unknown) => object]>([
    ["finishPasskeyRegistration", (response) => ({ response })],
    ["finishPasskeySignIn", (response) => ({ response })],
    ["reauthenticate", (passkeyResponse) => ({ passkeyResponse })],
    ["completeSignIn", (passkeyResponse) => ({ challengeToken: PLC, passkeyResponse })],
  ])("%s returns a typed error for each hostile passkey", async (mutation, inputOf) => {
    for (const [what, value] of RESPONSES) {
      const got = codeOf(await run(mutation, inputOf(value), ada.token));
      if (!TYPED.test(got)) throw new Error(`${mutation} with ${what}: ${got}`);
    }
  });

  test("get a typed error for none or two answers at once and consume nothing", async () => {
    const { secret, recoveryCodes } = await enrolTotp();
    const challengeToken = await challenge();
    const both = { code: code(secret), recoveryCode: recoveryCodes![0] };
    for (const shown of [{}, both]) {
      expect(codeOf(await run("completeSignIn", { challengeToken, ...shown }))).toBe("BAD_USER_INPUT");
      expect(codeOf(await run("reauthenticate", shown, ada.token))).toBe("BAD_USER_INPUT");
    }
    await must("completeSignIn", { challengeToken, recoveryCode: recoveryCodes![0] });
  });

  test("cannot enrol, confirm or change anything as a visitor", async () => {
    const id = "00000000-0000-7000-8000-00000000000a";
    for (const [mutation, input] of [
      ["startTotp", {}],
      ["confirmTotp", { factorId: id, code: "123456" }],
      ["startPasskeyRegistration", {}],
      ["finishPasskeyRegistration", { response: {} }],
      ["startPasskeyReauthentication", undefined],
      ["reauthenticate", { password: PASSWORD }],
      ["regenerateRecoveryCodes", undefined],
      ["deleteMfaFactor", { factorId: id }],
    ] as const)
      expect([mutation, codeOf(await run(mutation, input))]).toEqual([mutation, "UNAUTHENTICATED"]);
  });

  test("get one guess per operation, whatever its aliases", async () => {
    for (const field of [
      `completeSignIn(input: { challengeToken: "${PLC}", code: "123456" }) { accessToken }`,
      `reauthenticate(input: { code: "123456" }) { authenticatedAt }`,
      `finishPasskeySignIn(input: { response: {} }) { accessToken }`,
    ])
      expect(codeOf(await api.ask(`mutation { a: ${field} b: ${field} }`))).toBe("QUERY_TOO_COMPLEX");
  });
});

test("reveals no secret of a factor in the log or in any error [A2]", async () => {
  const { secret, recoveryCodes } = await enrolTotp();
  const { authenticator } = await enrolPasskey();
  const challengeToken = await challenge();
  const typed = code(secret);
  const wrong = await run("completeSignIn", {
    challengeToken,
    code: "000000",
    recoveryCode: recoveryCodes![1],
  });
  await must("completeSignIn", { challengeToken, code: typed });
  await must("completeSignIn", { challengeToken: await challenge(), recoveryCode: recoveryCodes![0] });
  const { options } = await must("startPasskeySignIn", {});
  await must("finishPasskeySignIn", { response: authenticator.get(options) });
  const log = JSON.stringify(api.logLines);
  expect(log).toContain('"path":"/graphql"');
  const [first, second] = recoveryCodes!;
  const secrets = [secret, "otpauth:", challengeToken, "plc_", first!, second!, first!.replaceAll("-", "")];
  for (const text of [log, wrong.text]) {
    for (const each of secrets) expect(text).not.toContain(each);
    // Six digits may occur in an id or a duration.
    expect(text).not.toMatch(new RegExp(`(?<![\\w.-])${typed}(?![\\w.-])`));
  }
});

test("takes the application's name and address from the settings", async () => {
  const { loadConfig } = await import("../../src/config/config.ts");
  expect(loadConfig({}).app).toEqual({
    name: "Plinth",
    rpId: "localhost",
    origins: ["http://localhost:5678"],
  });
  expect(loadConfig({ PLINTH_RP_ID: "example.com" }).app.origins).toEqual(["https://example.com"]);
  const many = "https://example.com,https://app.example.com:8443";
  expect(loadConfig({ PLINTH_RP_ID: "example.com", PLINTH_APP_ORIGINS: many }).app.origins).toEqual(
    many.split(","),
  );
  for (const settings of [
    { PLINTH_APP_ORIGINS: "http://example.com", PLINTH_RP_ID: "example.com" },
    { PLINTH_APP_ORIGINS: "https://notexample.com", PLINTH_RP_ID: "example.com" },
    { PLINTH_APP_ORIGINS: "https://example.com/login", PLINTH_RP_ID: "example.com" },
    { PLINTH_APP_ORIGINS: "nonsense" },
    { PLINTH_RP_ID: "https://example.com" },
    { PLINTH_APP_NAME: "a:b" },
  ])
    expect(() => loadConfig(settings)).toThrow(expect.objectContaining({ code: "INVALID_SETTING" }));
});
