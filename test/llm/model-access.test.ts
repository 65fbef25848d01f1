import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { addModel, grantRole } from "../support/accounts.ts";
import { type Api, codeOf, type SignedIn, signUp, startApi } from "../support/api.ts";
import {
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  rowsAs,
  type TestDatabase,
} from "../support/database.ts";

// A model is usable because it is public, or granted to the user, to a role of theirs or to their plan. Each place that asks
// follows the same rule, and a grant that ends takes effect with the next statement.

let db: TestDatabase;
let api: Api;
let granter: SignedIn;
const owner = rowsAs("owner", () => db);
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  granter = await signUp(api, "granter");
  await owner(
    `with r as (insert into access.roles (role_name) values ('granters') returning id)
     insert into access.role_permissions (role_id, permission_id)
     select r.id, p.id from r, access.permissions p where p.permission_name = 'grant_model_access'`,
  );
  await grantRole(db, granter.userId, "granters");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const send = (person: SignedIn | undefined, query: string, variables: Record<string, unknown> = {}) =>
  api.ask(query, { token: person?.token, variables });
async function ask(person: SignedIn, query: string, variables: Record<string, unknown> = {}) {
  const answer = await send(person, query, variables);
  expect(answer.errors).toBeUndefined();
  return answer.data;
}
const failure = async (
  person: SignedIn | undefined,
  query: string,
  variables: Record<string, unknown> = {},
) => codeOf(await send(person, query, variables));
const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString();

let counter = 0;
let ada: SignedIn;
let model: string;
let role: string;
beforeEach(async () => {
  ada = await signUp(api, `ada${++counter}`);
  model = await addModel(db, { isPublic: false });
  await owner(
    `insert into billing.model_prices (model_id, input_price_per_million_tokens, output_price_per_million_tokens)
     values ($1, 1, 1)`,
    [model],
  );
  const [made] = await owner<{ id: string }>(
    "insert into access.roles (role_name) values ($1) returning id",
    [`painters${counter}`],
  );
  role = made!.id;
  await grantRole(db, ada.userId, `painters${counter}`);
});

/** The places that ask whether the user may use the model, which must agree. */
async function answers(person: SignedIn): Promise<readonly boolean[]> {
  const [of] = await owner<{ provider: string }>(
    "select provider_id as provider from llm.models where id = $1",
    [model],
  );
  const { provider } = of!;
  const lists = await ask(
    person,
    `query ($model: UUID!, $provider: UUID!) {
      can: canUseModel(modelId: $model)
      models(filter: { id: { equalTo: $model } }) { totalCount }
      modelPrices(filter: { modelId: { equalTo: $model } }) { totalCount }
      providers: modelProviders(filter: { id: { equalTo: $provider } }) { totalCount }
      why: modelAccessOf(filter: { modelId: { equalTo: $model } }) { nodes { source } }
    }`,
    { model, provider },
  );
  const chat = (await ask(person, "mutation { createChat(input: { chat: {} }) { chat { id } } }")).createChat
    .chat.id;
  const attempts = [
    [
      `mutation ($model: UUID!, $chat: UUID!) {
        createMessage(input: { message: { chatId: $chat, role: assistant, modelId: $model } }) { clientMutationId }
      }`,
      { model, chat },
    ],
    [
      `mutation ($model: UUID!, $chat: UUID!) {
        startTurn(input: { chatId: $chat, modelId: $model, maxTokens: "10" }) { clientMutationId }
      }`,
      { model, chat },
    ],
    [
      `mutation ($model: UUID!, $key: String!) {
        reserveTokens(input: { modelId: $model, maxTokens: "10", idempotencyKey: $key }) { clientMutationId }
      }`,
      { model, key: chat },
    ],
    [
      `mutation ($model: UUID!, $user: UUID!) {
        updateUserSetting(input: { userId: $user, patch: { defaultModelId: $model } }) { clientMutationId }
      }`,
      { model, user: person.userId },
    ],
  ] as const;
  // A model that is the default already is not asked about again.
  await owner("update identity.user_settings set default_model_id = null where user_id = $1", [
    person.userId,
  ]);
  const allowed: boolean[] = [];
  for (const [query, variables] of attempts) {
    const { errors } = await send(person, query, variables);
    if (errors) expect(errors[0]!.extensions.code).toMatch(/^(FORBIDDEN|NOT_FOUND)$/);
    allowed.push(!errors);
  }
  return [
    lists.can,
    lists.models.totalCount === 1,
    lists.modelPrices.totalCount === 1,
    lists.providers.totalCount === 1,
    lists.why.nodes.length > 0,
    ...allowed,
  ];
}
const ALL = Array.from({ length: 9 }, () => true);
const NONE = ALL.map(() => false);

const subscribe = (plan: string) =>
  owner(
    `insert into billing.user_subscriptions
       (user_id, plan_id, status, started_at, anchor_at, current_period_start, quota_period_start, quota_period_end)
     select $1, id, 'active', now(), now(), now(), now(), now() + interval '1 month'
     from billing.subscription_plans where code = $2`,
    [ada.userId, plan],
  );

/** A grant of each source: its creation, renewal and deletion over GraphQL, and its row. */
const SOURCES = {
  user: {
    input: () => ({ userId: ada.userId, modelId: model }),
    type: "UserModelAccess",
    row: () => `user_model_access where user_id = '${ada.userId}'`,
    key: async () => ({
      id: (
        await owner<{ id: string }>("select id from access.user_model_access where user_id = $1", [
          ada.userId,
        ])
      )[0]!.id,
    }),
    needed: async () => {},
    undo: "update access.user_model_access set is_active = false where user_id = $1",
  },
  role: {
    input: () => ({ roleId: role, modelId: model }),
    type: "RoleModelAccess",
    row: () => `role_model_access where role_id = '${role}'`,
    key: async () => ({ roleId: role, modelId: model }),
    needed: async () => {},
    undo: "delete from access.user_roles where user_id = $1",
  },
  plan: {
    input: () => ({ planCode: "premium", modelId: model }),
    type: "PlanModelAccess",
    row: () => `plan_model_access where model_id = '${model}'`,
    key: async () => ({ planCode: "premium", modelId: model }),
    needed: () => subscribe("premium"),
    undo: "update billing.user_subscriptions set status = 'expired', ended_at = now() where user_id = $1",
  },
} as const;

describe.each(Object.keys(SOURCES) as (keyof typeof SOURCES)[])("a grant by %s", (source) => {
  const { type, input, row, key, needed, undo } = SOURCES[source];
  const field = type[0]!.toLowerCase() + type.slice(1);
  const create = `mutation ($row: ${type}Input!) { create${type}(input: { ${field}: $row }) { ${field} { grantedBy reason } } }`;
  const update = `mutation ($input: Update${type}Input!) { update${type}(input: $input) { ${field} { grantedBy } } }`;
  const remove = `mutation ($input: Delete${type}Input!) { delete${type}(input: $input) { clientMutationId } }`;

  test("opens the model everywhere until it expires, is renewed, and is revoked", async () => {
    await needed();
    expect(await answers(ada)).toEqual(NONE);
    const made = await ask(granter, create, {
      row: { ...input(), expiresAt: inAnHour(), reason: "A trial." },
    });
    expect(made[`create${type}`][field]).toEqual({ grantedBy: granter.userId, reason: "A trial." });
    expect(await answers(ada)).toEqual(ALL);
    const why = (await ask(ada, "{ modelAccessOf { nodes { modelId source roleId planCode expiresAt } } }"))
      .modelAccessOf.nodes;
    expect(why).toEqual([
      {
        modelId: model,
        source,
        roleId: source === "role" ? role : null,
        planCode: source === "plan" ? "premium" : null,
        expiresAt: expect.anything(),
      },
    ]);
    await owner(
      `update access.${row().replace(" where", " set granted_at = now() - interval '2 days', expires_at = now() - interval '1 second' where")}`,
    );
    expect(await answers(ada)).toEqual(NONE);
    await ask(granter, update, { input: { ...(await key()), patch: { expiresAt: null } } });
    expect(await answers(ada)).toEqual(ALL);
    await ask(granter, remove, { input: await key() });
    expect(await answers(ada)).toEqual(NONE);
  });

  test("ends with its suspension, the role or the plan", async () => {
    await needed();
    await ask(granter, create, { row: input() });
    expect(await answers(ada)).toEqual(ALL);
    await owner(undo, [ada.userId]);
    expect(await answers(ada)).toEqual(NONE);
  });

  test("is made only with grant_model_access", async () => {
    expect(await failure(ada, create, { row: input() })).toBe("FORBIDDEN");
    expect(await failure(undefined, create, { row: input() })).toBe("UNAUTHENTICATED");
    await ask(granter, create, { row: input() });
    expect(await failure(ada, remove, { input: await key() })).toBe("NOT_FOUND");
    expect(await failure(granter, create, { row: input() })).toBe("CONFLICT");
  });

  test("opens neither an inactive model nor one of an inactive provider", async () => {
    await needed();
    await ask(granter, create, { row: input() });
    await owner("update llm.models set is_active = false where id = $1", [model]);
    expect(await answers(ada)).toEqual(NONE);
    await owner("update llm.models set is_active = true where id = $1", [model]);
    await owner(
      "update llm.model_providers set is_active = false where id = (select provider_id from llm.models where id = $1)",
      [model],
    );
    expect(await answers(ada)).toEqual(NONE);
  });
});

test("a grant to the plan free is for accounts without a subscription, and not for visitors", async () => {
  await owner("insert into access.plan_model_access (plan_code, model_id) values ('free', $1)", [model]);
  expect(await answers(ada)).toEqual(ALL);
  expect((await send(undefined, "{ models { totalCount } }")).data.models.totalCount).toBe(0);
  await subscribe("premium");
  expect(await answers(ada)).toEqual(NONE);
  await owner("delete from access.plan_model_access");
});

test("a grant to a plan that does not exist is NOT_FOUND", async () => {
  const create = `mutation ($row: PlanModelAccessInput!) {
    createPlanModelAccess(input: { planModelAccess: $row }) { clientMutationId }
  }`;
  expect(await failure(granter, create, { row: { planCode: "premum", modelId: model } })).toBe("NOT_FOUND");
});

test("a role that requires a second factor opens its models only in sessions that passed one", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.rows("update access.roles set requires_mfa = true where id = $1", [role]);
    await tx.rows("insert into access.role_model_access (role_id, model_id) values ($1, $2)", [role, model]);
    const [session] = await tx.rows<{ id: string }>(
      "insert into identity.user_sessions (user_id, authentication_methods) values ($1, '{pwd,mfa}') returning id",
      [ada.userId],
    );
    const can = async () =>
      (await tx.rows<{ ok: boolean }>("select access.can_use_model($1) as ok", [model]))[0]!.ok;
    await tx.asUser(ada.userId);
    expect(await can()).toBe(false);
    await tx.asUser(ada.userId, session!.id);
    expect(await can()).toBe(true);
  });
});

test("the reasons of another user are for holders of grant_model_access", async () => {
  const query = "query ($user: UUID!) { modelAccessOf(userId: $user) { nodes { source } } }";
  await owner("insert into access.user_model_access (user_id, model_id) values ($1, $2)", [
    ada.userId,
    model,
  ]);
  const bob = await signUp(api, `bob${counter}`);
  expect(await failure(bob, query, { user: ada.userId })).toBe("FORBIDDEN");
  expect((await ask(granter, query, { user: ada.userId })).modelAccessOf.nodes).toEqual([{ source: "user" }]);
});

test("the service follows the same rule for a user whom it names", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const reserve = "select private.reserve_tokens($1, $2, 10, 'key')";
    await tx.asService();
    await expectSqlState(tx.attempt(reserve, [ada.userId, model]), "PL404");
    await tx.asOwner();
    await tx.rows("insert into access.role_model_access (role_id, model_id) values ($1, $2)", [role, model]);
    await tx.asService();
    await tx.rows(reserve, [ada.userId, model]);
  });
});
