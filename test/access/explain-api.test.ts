import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { IDS } from "../support/access-probes/ids.ts";
import { type Actor, seedActors } from "../support/access-seed.ts";
import { type Answer, type Api, codeOf, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";

// explainAccess over HTTP: only for holders of explain_access, recorded, and without values of the row.

let db: TestDatabase;
let api: Api;
let actors: ReadonlyMap<string, Actor>;
const owner = rowsAs("owner", () => db);
beforeAll(async () => {
  db = await createTestDatabase();
  actors = await seedActors(db);
  api = await startApi(db);
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const ASK = `mutation ($input: ExplainAccessInput!) {
  explainAccess(input: $input) {
    result {
      verdict reason databaseRole operation object changes notes
      grants { privilege object columns missingColumns isHeld grantedTo }
      policies {
        relation purpose policy command isPermissive description condition outcome error
        parts { depth operator condition outcome isOpen error }
      }
    }
  }
}`;
const ask = (actor: string, input: Record<string, unknown>): Promise<Answer> =>
  api.ask(ASK, { token: actors.get(actor)!.token, variables: { input } });
const CHAT = { operation: "select", object: "llm.chats", userId: IDS.ada, key: IDS.bob };
const events = () =>
  owner(
    "select actor_id, user_id, event_data, severity from security.security_audit_log where event_type = 'access_explained' order by id",
  );

test("explains to a holder of explain_access and to an administrator, and records each question", async () => {
  await owner("update llm.chats set title = 'the canary' where id = $1", [IDS.bob]);
  for (const actor of ["explain_access", "admin"]) {
    const before = await events();
    const { data, errors, text } = await ask(actor, CHAT);
    expect(errors).toBeUndefined();
    expect(data.explainAccess.result).toMatchObject({
      verdict: "denied",
      reason: "The row does not pass the policies for select: the statement succeeds and finds no row.",
      object: "llm.chats",
      changes: ["The policy all_own on llm.chats passes if the row's user_id is the id of the user."],
      policies: [
        {
          policy: "all_own",
          outcome: false,
          parts: [
            {
              depth: 0,
              operator: null,
              condition: "user_id = plinth.current_user_id()",
              outcome: false,
              isOpen: false,
            },
          ],
        },
      ],
    });
    expect(text).not.toContain("canary");
    expect((await events()).slice(before.length)).toEqual([
      {
        actor_id: actors.get(actor)!.userId,
        user_id: IDS.ada,
        event_data: { operation: "select", object: "llm.chats", key: IDS.bob },
        severity: "info",
      },
    ]);
  }
});

test("rejects everyone else, and visitors, without a record", async () => {
  const before = await events();
  for (const actor of ["ada", "manage_roles", "manage_users"]) {
    const answer = await ask(actor, CHAT);
    expect([actor, codeOf(answer)]).toEqual([actor, "FORBIDDEN"]);
    expect(answer.data?.explainAccess ?? null).toBeNull();
  }
  expect(codeOf(await ask("visitor", CHAT))).toBe("UNAUTHENTICATED");
  expect(await events()).toEqual(before);
});

test("tells nothing of a row for which the role lacks a grant, and takes no long arguments", async () => {
  const missing = await ask("admin", {
    operation: "delete",
    object: "identity.user_sessions",
    userId: IDS.ada,
    key: IDS.bob,
  });
  expect(missing.data.explainAccess.result).toMatchObject({ verdict: "denied", policies: [] });
  expect(codeOf(await ask("admin", { ...CHAT, key: "x".repeat(9_000) }))).toBe("BAD_USER_INPUT");
});

test("answers as the other user and the visitor, and leaves the caller's own rights as they were", async () => {
  const own = await ask("admin", { ...CHAT, key: IDS.ada });
  expect(own.data.explainAccess.result).toMatchObject({ verdict: "allowed" });
  const visitor = await ask("admin", { ...CHAT, userId: null });
  expect(visitor.data.explainAccess.result).toMatchObject({
    verdict: "denied",
    databaseRole: `${db.rolePrefix}_anonymous`,
  });
  const both = await api.ask(
    `mutation ($input: ExplainAccessInput!) {
      explainAccess(input: $input) { result { verdict } query { currentUser { username } hasPermission(permission: "explain_access") } }
    }`,
    { token: actors.get("admin")!.token, variables: { input: CHAT } },
  );
  expect(both.data.explainAccess).toEqual({
    result: { verdict: "denied" },
    query: { currentUser: { username: "admin" }, hasPermission: true },
  });
});

test.each([
  [{ ...CHAT, key: { title: "the canary" } }, "BAD_USER_INPUT", "key"],
  [{ ...CHAT, key: "x" }, "BAD_USER_INPUT", "key"],
  [{ ...CHAT, databaseRole: "service" }, "BAD_USER_INPUT", "databaseRole"],
  [{ ...CHAT, operation: "truncate" }, "BAD_USER_INPUT", "operation"],
  [{ ...CHAT, object: "llm.nope" }, "NOT_FOUND", "object"],
  [{ ...CHAT, userId: "00000000-0000-7000-8000-0000000000ff" }, "NOT_FOUND", "userId"],
  [{ ...CHAT, operation: "insert", newValues: { nope: 1 } }, "BAD_USER_INPUT", "newValues"],
])("rejects %j with %s at %s", async (input, code, field) => {
  const { errors } = await ask("admin", input);
  expect(errors?.map(({ extensions }) => [extensions.code, extensions.field])).toEqual([[code, field]]);
});
