import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { grantRole, registerUser } from "../support/accounts.ts";
import { type Api, codeOf, type SignedIn, signUp, startApi } from "../support/api.ts";
import {
  asRole,
  createTestDatabase,
  expectSqlState,
  rowsAs,
  type TestDatabase,
  withClient,
} from "../support/database.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let admin: string;
let sequence = 0;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  admin = await registerUser(db, "admin");
  await grantRole(db, admin, "admin");
  await asOwner(
    `insert into identity.consent_purposes (name, version, title, text_url, required, published_at) values
       ('terms', 1, 'Terms', 'https://example.com/terms/1', true, now() - interval '2 days'),
       ('terms', 2, 'Terms', 'https://example.com/terms/2', true, now() - interval '1 day'),
       ('terms', 3, 'Terms', 'https://example.com/terms/3', true, now() + interval '1 day'),
       ('newsletter', 1, 'Newsletter', 'https://example.com/newsletter', false, now() - interval '1 day'),
       ('draft', 1, 'Draft', 'https://example.com/draft', false, null)`,
  );
});
afterAll(async () => {
  await api.close();
  await db.drop();
});
beforeEach(async () => {
  ada = await signUp(api, `ada${sequence++}`);
});

const asOwner = rowsAs("owner", () => db);
/** Runs a statement as a user and commits it. */
const asUser = async <T extends object>(userId: string, sql: string, params: unknown[] = []): Promise<T[]> =>
  withClient(db.url("authenticator"), async (client) => {
    await client.query("begin");
    await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: userId });
    const { rows } = await client.query<T>(sql, params);
    await client.query("commit");
    return rows;
  });
const give = (purpose: unknown, version: unknown, token: string | undefined = ada.token) =>
  api.ask(
    "mutation ($purpose: String!, $version: Int!) { giveConsent(input: { purpose: $purpose, version: $version }) { result { purpose version grantedAt withdrawnAt ipAddress } } }",
    { token, variables: { purpose, version } },
  );
const withdraw = (purpose: unknown, token: string | undefined = ada.token) =>
  api.ask(
    "mutation ($purpose: String!) { withdrawConsent(input: { purpose: $purpose }) { result { version grantedAt withdrawnAt } } }",
    {
      token,
      variables: { purpose },
    },
  );
const missing = async (): Promise<string[]> => {
  const { data } = await api.ask("{ currentUser { missingConsents { nodes { name version } } } }", {
    token: ada.token,
  });
  return data.currentUser.missingConsents.nodes.map(
    ({ name, version }: { name: string; version: number }) => `${name} ${version}`,
  );
};
const has = async (purpose: string) =>
  (
    await api.ask("query ($p: String!) { hasConsent(purpose: $p) }", {
      token: ada.token,
      variables: { p: purpose },
    })
  ).data.hasConsent;
const history = (userId = ada.userId) =>
  asOwner<{ purpose: string; version: number; what: string }>(
    `select purpose, version, case when granted_at is null then 'withdrawn' else 'granted' end as what
     from identity.consents where user_id = $1 order by decided_at`,
    [userId],
  );

describe("consent [C11]", () => {
  test("is requested for the newest published version, given and withdrawn, and every decision is kept", async () => {
    expect(await missing()).toEqual(["newsletter 1", "terms 2"]);
    expect((await give("terms", 2)).data.giveConsent.result).toEqual({
      purpose: "terms",
      version: 2,
      grantedAt: expect.any(String),
      withdrawnAt: null,
      ipAddress: "127.0.0.1",
    });
    expect([await has("terms"), await has("newsletter"), await has("nothing")]).toEqual([true, false, false]);
    expect(await missing()).toEqual(["newsletter 1"]);
    expect((await withdraw("terms")).data.withdrawConsent.result).toMatchObject({
      version: 2,
      grantedAt: null,
    });
    expect(await has("terms")).toBe(false);
    expect(codeOf(await withdraw("terms"))).toBe("NOT_FOUND");
    await give("terms", 2);
    expect(await has("terms")).toBe(true);
    expect((await history()).map(({ what }) => what)).toEqual(["granted", "withdrawn", "granted"]);
    const events = await asOwner<{ event_type: string }>(
      "select event_type from security.security_audit_log where user_id = $1 and event_type like 'consent%' order by id",
      [ada.userId],
    );
    expect(events.map(({ event_type }) => event_type)).toEqual([
      "consent_given",
      "consent_withdrawn",
      "consent_given",
    ]);
  });

  test("to an older version no longer counts once a newer one is published, and can still be withdrawn", async () => {
    await asOwner(
      "insert into identity.consent_purposes (name, version, title, text_url, published_at) values ('beta', 1, 'Beta', 'https://example.com', now())",
    );
    await give("beta", 1);
    expect(await has("beta")).toBe(true);
    await asOwner(
      "insert into identity.consent_purposes (name, version, title, text_url, published_at) values ('beta', 2, 'Beta', 'https://example.com', now())",
    );
    expect(await has("beta")).toBe(false);
    expect(await missing()).toContain("beta 2");
    expect(codeOf(await give("beta", 1))).toBe("CONFLICT");
    expect((await withdraw("beta")).data.withdrawConsent.result.version).toBe(1);
  });

  test.each<[string, unknown, unknown, string]>([
    ["an unknown purpose", "nothing", 1, "NOT_FOUND"],
    ["a draft", "draft", 1, "NOT_FOUND"],
    ["a version not yet published", "terms", 3, "NOT_FOUND"],
    ["an old version", "terms", 1, "CONFLICT"],
    ["version 0", "terms", 0, "NOT_FOUND"],
    ["a negative version", "terms", -1, "NOT_FOUND"],
    ["a version that is not an integer", "terms", 1.5, "BAD_USER_INPUT"],
    ["a version out of range", "terms", 2 ** 40, "BAD_USER_INPUT"],
    ["no version", "terms", null, "BAD_USER_INPUT"],
    ["no purpose", null, 1, "BAD_USER_INPUT"],
    ["NUL", "terms\0", 2, "BAD_USER_INPUT"],
    ["a look-alike", "tеrms", 2, "NOT_FOUND"],
    ["capitals", "TERMS", 2, "NOT_FOUND"],
    ["an oversized name", "x".repeat(100_000), 2, "NOT_FOUND"],
    ["SQL", "terms'; drop table identity.consents; --", 2, "NOT_FOUND"],
    ["a list", ["terms"], 2, "BAD_USER_INPUT"],
  ])("cannot be given to %s", async (_what, purpose, version, code) => {
    expect(codeOf(await give(purpose, version))).toBe(code);
    expect(await history()).toEqual([]);
  });

  test.each<[string, unknown, string]>([
    ["a purpose without consent", "terms", "NOT_FOUND"],
    ["null", null, "BAD_USER_INPUT"],
    ["NUL", "\0", "BAD_USER_INPUT"],
    ["an object", { a: 1 }, "BAD_USER_INPUT"],
  ])("cannot be withdrawn from %s", async (_what, purpose, code) => {
    expect(codeOf(await withdraw(purpose))).toBe(code);
  });

  test("can only be given by a user who is signed in", async () => {
    expect(
      codeOf(
        await api.ask(
          'mutation { giveConsent(input: { purpose: "terms", version: 2 }) { clientMutationId } }',
        ),
      ),
    ).toBe("UNAUTHENTICATED");
    expect(
      (await api.ask("{ currentConsentPurposes { nodes { name version } } }")).data.currentConsentPurposes
        .nodes,
    ).toContainEqual({ name: "terms", version: 2 });
  });

  test("given in twenty concurrent requests is one decision", async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, () =>
        asUser<{ id: string }>(ada.userId, "select id from identity.give_consent('terms', 2)"),
      ),
    );
    expect(new Set(outcomes.map(([row]) => row!.id)).size).toBe(1);
    expect(await history()).toHaveLength(1);
  });

  test("given and withdrawn concurrently ends in one order, with alternating decisions", async () => {
    await give("terms", 2);
    await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) =>
        asUser(
          ada.userId,
          i % 2 ? "select identity.give_consent('terms', 2)" : "select identity.withdraw_consent('terms')",
        ),
      ),
    );
    const decisions = (await history()).map(({ what }) => what);
    decisions.forEach((what, i) => {
      expect(what).toBe(i % 2 ? "withdrawn" : "granted");
    });
    expect(await has("terms")).toBe(decisions.at(-1) === "granted");
  });

  test.each([
    "insert into identity.consents (user_id, purpose, version, granted_at) values (plinth.current_user_id(), 'terms', 2, now())",
    "update identity.consents set granted_at = now()",
    "delete from identity.consents",
  ])("cannot be written in another way: %s", async (sql) => {
    await expectSqlState(asUser(ada.userId, sql), "42501");
    await expectSqlState(asUser(admin, sql), "42501");
  });

  test("is not visible to others", async () => {
    await give("terms", 2);
    const bob = await signUp(api, `bob${sequence++}`);
    expect(await asUser(bob.userId, "select from identity.consents")).toEqual([]);
    expect(await asUser(admin, "select from identity.consents")).toEqual([]);
    // An administrator sees the account, and must not read "has not consented" from hidden rows.
    const rows = await asUser(
      admin,
      "select m.name from identity.users u, identity.users_missing_consents(u) m where u.id = $1",
      [ada.userId],
    );
    expect(rows).toEqual([]);
  });

  test("is deleted with the account [S14]", async () => {
    await give("terms", 2);
    await asOwner("delete from identity.users where id = $1", [ada.userId]);
    expect(await history()).toEqual([]);
  });
});

describe("a purpose [C11]", () => {
  const insert = (name: string, version: number, published: string | null = null) =>
    asUser(
      admin,
      "insert into identity.consent_purposes (name, version, title, text_url, published_at) values ($1, $2, 'T', 'https://example.com', $3)",
      [name, version, published],
    );

  test("is written by users with manage_consents, and cannot be changed once published", async () => {
    await insert("research", 1);
    await asUser(admin, "update identity.consent_purposes set title = 'Research' where name = 'research'");
    await asUser(admin, "update identity.consent_purposes set published_at = now() where name = 'research'");
    for (const sql of [
      "update identity.consent_purposes set title = 'x' where name = 'research'",
      "update identity.consent_purposes set published_at = null where name = 'research'",
      "delete from identity.consent_purposes where name = 'research'",
    ]) {
      await expectSqlState(asUser(admin, sql), "PL409");
      await expectSqlState(asOwner(sql), "PL409");
    }
    await expectSqlState(
      asUser(
        ada.userId,
        "insert into identity.consent_purposes (name, version, title, text_url) values ('x', 1, 'x', 'https://x')",
      ),
      "42501",
    );
  });

  test.each([
    ["a name with spaces", { name: "a b" }, "name"],
    ["version 0", { version: 0 }, "version"],
    ["an empty title", { title: "" }, "title"],
    ["a script as address", { textUrl: "javascript:alert(1)" }, "textUrl"],
    ["NUL in the title", { title: "a\0" }, undefined],
  ])("cannot be created with %s", async (_what, change, field) => {
    const { token, userId } = await signUp(api, `manager${sequence++}`);
    await grantRole(db, userId, "admin");
    const consentPurpose = {
      name: "valid",
      version: 1,
      title: "T",
      textUrl: "https://example.com",
      ...change,
    };
    const answer = await api.ask(
      "mutation ($input: ConsentPurposeInput!) { createConsentPurpose(input: { consentPurpose: $input }) { clientMutationId } }",
      { token, variables: { input: consentPurpose } },
    );
    expect([codeOf(answer), answer.errors?.[0]?.extensions.field]).toEqual(["BAD_USER_INPUT", field]);
  });
});

test("lets analysts count decisions by purpose and version, without any person [C11]", async () => {
  await asOwner(
    "insert into identity.consent_purposes (name, version, title, text_url, published_at) values ('counted', 1, 'C', 'https://example.com', now())",
  );
  const people = await Promise.all([1, 2, 3].map(() => registerUser(db, `counted${sequence++}`)));
  for (const person of people) await asUser(person, "select identity.give_consent('counted', 1)");
  await asUser(people[0]!, "select identity.withdraw_consent('counted')");
  await asOwner(
    "insert into identity.consent_purposes (name, version, title, text_url, published_at) values ('counted', 2, 'C', 'https://example.com', now())",
  );
  await asUser(people[1]!, "select identity.give_consent('counted', 2)");
  const { rows, fields } = await withClient(db.url("analyst"), (client) =>
    client.query(
      "select purpose, version, consented_users::integer, withdrawn_users::integer from consent_counts where purpose = 'counted' order by version",
    ),
  );
  expect(rows).toEqual([
    { purpose: "counted", version: 1, consented_users: 1, withdrawn_users: 1 },
    { purpose: "counted", version: 2, consented_users: 1, withdrawn_users: 0 },
  ]);
  expect(fields).toHaveLength(4);
  await expectSqlState(
    withClient(db.url("analyst"), (client) => client.query("select from identity.consents")),
    "42501",
  );
});
