import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { type Answer, type Api, codeOf, type SignedIn, signUp, startApi } from "../support/api.ts";
import {
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  rowsAs,
  type TestDatabase,
} from "../support/database.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let sequence = 0;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
});
afterAll(async () => {
  await api.close();
  await db.drop();
});
beforeEach(async () => {
  ada = await signUp(api, `ada${sequence++}`);
});

const asOwner = rowsAs("owner", () => db);
const update = (patch: Record<string, unknown>, token = ada.token, userId = ada.userId): Promise<Answer> =>
  api.ask(
    "mutation ($id: UUID!, $patch: UserSecuritySettingPatch!) { updateUserSecuritySetting(input: { userId: $id, patch: $patch }) { userSecuritySetting { allowedNetworks sessionTimeoutMinutes } } }",
    { token, variables: { id: userId, patch } },
  );
const setNetworks = (
  input: Record<string, unknown>,
  token: string | undefined = ada.token,
): Promise<Answer> =>
  api.ask(
    "mutation ($input: SetAllowedNetworksInput!) { setAllowedNetworks(input: $input) { result { allowedNetworks } } }",
    { token, variables: { input } },
  );
const networks = async () =>
  (
    await asOwner<{ n: string[] | null }>(
      "select allowed_networks::text[] as n from identity.user_security_settings where user_id = $1",
      [ada.userId],
    )
  )[0]!.n;
const events = async () =>
  (
    await asOwner<{ data: unknown }>(
      "select event_data as data from security.security_audit_log where user_id = $1 and event_type = 'security_settings_changed' order by id",
      [ada.userId],
    )
  ).map(({ data }) => data);

describe("the networks a user allows [A6]", () => {
  test.each([[["127.0.0.0/8"]], [["10.0.0.0/8", "127.0.0.1/32"]], [["0.0.0.0/0"]], [["0.0.0.0/0", "::/0"]]])(
    "may be %j, which contain the caller's address",
    async (allowedNetworks) => {
      expect((await update({ allowedNetworks })).errors).toBeUndefined();
      expect(await networks()).toEqual(allowedNetworks);
      expect((await setNetworks({ networks: null })).data.setAllowedNetworks.result).toEqual({
        allowedNetworks: null,
      });
    },
  );

  test.each([
    ["only another network", ["10.0.0.0/8"]],
    ["only networks of the other kind", ["::/0"]],
    ["an empty list", []],
    ["a null in the list", [null]],
  ])("cannot be %s without force", async (_what, allowedNetworks) => {
    for (const answer of [
      await update({ allowedNetworks }),
      await setNetworks({ networks: allowedNetworks }),
    ])
      expect([codeOf(answer), answer.errors?.[0]?.extensions.field]).toEqual([
        "BAD_USER_INPUT",
        "allowedNetworks",
      ]);
    expect(await networks()).toBeNull();
    expect(await events()).toEqual([]);
  });

  test("lock out their owner at the next refresh with force", async () => {
    expect((await setNetworks({ networks: ["10.0.0.0/8"], force: true })).errors).toBeUndefined();
    expect(await networks()).toEqual(["10.0.0.0/8"]);
    // Force covers one statement.
    expect(codeOf(await update({ allowedNetworks: ["10.0.0.0/9"] }))).toBe("BAD_USER_INPUT");
    const refresh = await api.ask(
      "mutation ($t: String!) { refresh(input: { refreshToken: $t }) { accessToken } }",
      {
        variables: { t: ada.refreshToken },
      },
    );
    expect(codeOf(refresh)).toBe("UNAUTHENTICATED");
  });

  test("are forced for one statement, not for the rest of a transaction", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada.userId);
      await tx.set("plinth.client_ip", "192.0.2.1");
      await tx.rows("select identity.set_allowed_networks('{10.0.0.0/8}', true)");
      await expectSqlState(
        tx.attempt("update identity.user_security_settings set allowed_networks = '{10.0.0.0/9}'"),
        "PL422",
      );
    });
  });

  test.each<[string, unknown]>([
    ["an invalid network", ["nonsense"]],
    ["a mask that is too long", ["10.0.0.0/33"]],
    ["bits right of the mask", ["10.0.0.1/8"]],
    ["NUL", ["\0"]],
    ["SQL", ["10.0.0.0/8'; drop table identity.users; --"]],
    ["an oversized text", ["1".repeat(100_000)]],
    ["too many", Array(51).fill("127.0.0.0/8")],
    ["a boolean", [true]],
    ["an object", { a: 1 }],
  ])("cannot be %s", async (_what, value) => {
    for (const answer of [
      await update({ allowedNetworks: value }),
      await setNetworks({ networks: value, force: true }),
    ])
      expect(codeOf(answer)).toBe("BAD_USER_INPUT");
    expect(await networks()).toBeNull();
  });

  test("can be changed by their owner only", async () => {
    const bob = await signUp(api, `bob${sequence++}`);
    expect(codeOf(await update({ allowedNetworks: ["0.0.0.0/0"] }, bob.token))).toBe("NOT_FOUND");
    expect(codeOf(await api.ask("mutation { setAllowedNetworks(input: {}) { clientMutationId } }"))).toBe(
      "UNAUTHENTICATED",
    );
    expect(await networks()).toBeNull();
  });
});

test.each([4, 43201, -1, 0, 1.5, "x", 2 ** 40])(
  "rejects a session timeout of %j minutes [A6]",
  async (minutes) => {
    expect(codeOf(await update({ sessionTimeoutMinutes: minutes }))).toBe("BAD_USER_INPUT");
  },
);

test("audits a change of sign-in rules with old and new value, and nothing without a change [A6]", async () => {
  await update({ sessionTimeoutMinutes: 30 });
  await update({ sessionTimeoutMinutes: 30 });
  await update({ sessionTimeoutMinutes: null, allowedNetworks: ["127.0.0.0/8"] });
  expect(await events()).toEqual([
    { session_timeout_minutes: { old: null, new: 30 } },
    {
      session_timeout_minutes: { old: 30, new: null },
      allowed_networks: { old: null, new: ["127.0.0.0/8"] },
    },
  ]);
});
