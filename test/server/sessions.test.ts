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
  until,
} from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  ada = await signUp(api, "ada");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);

const login = (identifier: string, password: string, headers: Record<string, string> = {}): Promise<Answer> =>
  api.ask("mutation ($input: LoginInput!) { login(input: $input) { accessToken user { username } } }", {
    variables: { input: { identifier, password } },
    headers,
  });

const refresh = (refreshToken: string): Promise<Answer> =>
  api.ask(
    "mutation ($token: String!) { refresh(input: { refreshToken: $token }) { accessToken refreshToken user { id } } }",
    { variables: { token: refreshToken } },
  );

const statusWith = async (token: string) => (await api.ask("{ currentUser { id } }", { token })).status;
/** The server learns of a revocation by a notification. */
const untilRejected = (token: string) => until(async () => (await statusWith(token)) === 401);

describe("changePassword", () => {
  const change = (token: string | undefined, currentPassword: string, newPassword: string): Promise<Answer> =>
    api.ask(
      "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { accessToken refreshToken user { username } } }",
      { token, variables: { input: { currentPassword, newPassword } } },
    );
  const NEW_PASSWORD = "a whole new sentence";

  test("ends the other sessions and keeps the current one", async () => {
    const here = await signUp(api, "changer");
    const elsewhere = await signIn(api, "changer");
    const { changePassword } = (await change(here.token, PASSWORD, NEW_PASSWORD)).data;
    expect(changePassword.user).toEqual({ username: "changer" });
    await untilRejected(here.token);
    await untilRejected(elsewhere.token);
    expect(await statusWith(changePassword.accessToken)).toBe(200);
    expect(codeOf(await refresh(here.refreshToken))).toBe("UNAUTHENTICATED");
    expect(codeOf(await refresh(elsewhere.refreshToken))).toBe("UNAUTHENTICATED");
    expect((await refresh(changePassword.refreshToken)).data.refresh.user).toEqual({ id: here.userId });
    expect(codeOf(await login("changer", PASSWORD))).toBe("INVALID_CREDENTIALS");
    expect((await login("changer", NEW_PASSWORD)).data.login.user).toEqual({ username: "changer" });
  });

  test("counts a wrong current password like one at sign-in", async () => {
    const { token, userId } = await signUp(api, "guesser");
    expect(codeOf(await change(token, "a wrong password", NEW_PASSWORD))).toBe("INVALID_CREDENTIALS");
    expect(await asOwner("select failed_login_attempts from identity.users where id = $1", [userId])).toEqual(
      [{ failed_login_attempts: 1 }],
    );
  });

  test.each([
    ["a short one", "short"],
    ["one with the user's name", "picky-person picky-person"],
  ])("rejects %s and names the field", async (what, newPassword) => {
    const { token } = await signUp(api, what.includes("name") ? "picky-person" : "another-person");
    const answer = await change(token, PASSWORD, newPassword);
    expect([codeOf(answer), answer.errors?.[0]?.extensions.field]).toEqual(["BAD_USER_INPUT", "newPassword"]);
  });

  test("requires a signed-in user", async () => {
    expect(codeOf(await change(undefined, PASSWORD, NEW_PASSWORD))).toBe("UNAUTHENTICATED");
  });
});

describe("sessions", () => {
  test("are listed to their owner, and ending one keeps the rest", async () => {
    const first = await signUp(api, "traveller");
    const second = await signIn(api, "traveller");
    const { data } = await api.ask("{ currentUser { sessions { nodes { id isCurrent isActive } } } }", {
      token: second.token,
    });
    const sessions: { id: string; isCurrent: boolean }[] = data.currentUser.sessions.nodes;
    expect(sessions.map(({ isCurrent }) => isCurrent).sort()).toEqual([false, true]);
    const other = sessions.find(({ isCurrent }) => !isCurrent)!.id;

    const end = (token: string) =>
      api.ask("mutation ($id: UUID!) { endSession(input: { sessionId: $id }) { result { isActive } } }", {
        token,
        variables: { id: other },
      });
    expect(codeOf(await end(ada.token))).toBe("NOT_FOUND");
    expect((await end(second.token)).data.endSession.result).toEqual({ isActive: false });
    await untilRejected(first.token);
    expect(await statusWith(second.token)).toBe(200);
  });

  test("all end with logoutEverywhere", async () => {
    const first = await signUp(api, "leaver");
    const second = await signIn(api, "leaver");
    const { data } = await api.ask("mutation { logoutEverywhere(input: {}) { result } }", {
      token: second.token,
    });
    expect(data.logoutEverywhere.result).toBe(2);
    for (const { token, refreshToken } of [first, second]) {
      await untilRejected(token);
      expect(codeOf(await refresh(refreshToken))).toBe("UNAUTHENTICATED");
    }
  });
});
