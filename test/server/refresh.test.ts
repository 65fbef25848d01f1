import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import {
  type Answer,
  type Api,
  codeOf,
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

const refresh = (refreshToken: string): Promise<Answer> =>
  api.ask(
    "mutation ($token: String!) { refresh(input: { refreshToken: $token }) { accessToken refreshToken user { id } } }",
    { variables: { token: refreshToken } },
  );

describe("refresh", () => {
  const liveTokens = async (userId: string) =>
    (
      await asOwner<{ count: number }>(
        "select count(*)::integer from private.refresh_tokens t join identity.user_sessions s on s.id = t.session_id where t.user_id = $1 and t.used_at is null and s.ended_at is null",
        [userId],
      )
    )[0]!.count;

  test("returns new tokens that work", async () => {
    const { refreshToken } = await signIn(api, "ada");
    const { data } = await refresh(refreshToken);
    expect(data.refresh.user).toEqual({ id: ada.userId });
    expect(data.refresh.refreshToken).not.toBe(refreshToken);
    expect(
      (await api.ask("{ currentUser { id } }", { token: data.refresh.accessToken })).data.currentUser,
    ).toEqual({
      id: ada.userId,
    });
  });

  test("returns the same successor when repeated after a lost answer", async () => {
    const { refreshToken } = await signIn(api, "ada");
    const first = (await refresh(refreshToken)).data.refresh.refreshToken;
    expect((await refresh(refreshToken)).data.refresh.refreshToken).toBe(first);
    expect((await refresh(first)).data.refresh.user).toEqual({ id: ada.userId });
  });

  test("with an older token ends the whole session, even though the request fails", async () => {
    const session = await signIn(api, "ada");
    const second = (await refresh(session.refreshToken)).data.refresh;
    const third = (await refresh(second.refreshToken)).data.refresh;
    const stolen = await refresh(session.refreshToken);
    expect(codeOf(stolen)).toBe("UNAUTHENTICATED");
    expect(codeOf(await refresh(third.refreshToken))).toBe("UNAUTHENTICATED");
    expect(codeOf(await refresh(second.refreshToken))).toBe("UNAUTHENTICATED");
    const { accessToken } = third;
    await until(async () => (await api.ask("{ currentUser { id } }", { token: accessToken })).status === 401);
    const [event] = await asOwner(
      "select severity from security.security_audit_log where event_type = 'refresh_token_reused' and user_id = $1",
      [ada.userId],
    );
    expect(event).toEqual({ severity: "critical" });
  });

  test("leaves one valid token after many concurrent calls", async () => {
    const { refreshToken, userId } = await signUp(api, "parallel");
    const answers = await Promise.all(Array.from({ length: 12 }, () => refresh(refreshToken)));
    const successors = new Set(answers.map(({ data }) => data.refresh?.refreshToken));
    expect(successors.size).toBe(1);
    expect(await liveTokens(userId)).toBe(1);
    expect((await refresh([...successors][0])).data.refresh.user).toEqual({ id: userId });
  });

  test.each(["", "plr_", "nonsense", `plr_${"a".repeat(43)}`, "plr_\u0000"])("rejects %j", async (token) => {
    expect(codeOf(await refresh(token))).toBe("UNAUTHENTICATED");
  });

  test("rejects an access token", async () => {
    expect(codeOf(await refresh(ada.token))).toBe("UNAUTHENTICATED");
  });
});
