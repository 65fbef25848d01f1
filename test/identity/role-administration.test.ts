import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { connect, listen, makeRoom, post } from "../live/support.ts";
import { grantRole } from "../support/accounts.ts";
import { type Api, codeOf, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";

// Roles and permissions, administered over GraphQL by users who hold manage_roles and not more.

let db: TestDatabase;
let api: Api;
let admin: SignedIn;
const owner = rowsAs("owner", () => db);
const analyst = rowsAs("analyst", () => db);
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  admin = await signUp(api, "admin");
  await grantRole(db, admin.userId, "admin");
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

const CREATE_ROLE = `mutation ($name: String!) {
  createRole(input: { role: { name: $name, description: "Writes the library." } }) { role { id } }
}`;
const ADD = `mutation ($role: UUID!, $permission: UUID!) {
  createRolePermission(input: { rolePermission: { roleId: $role, permissionId: $permission } }) { clientMutationId }
}`;
const REMOVE = `mutation ($role: UUID!, $permission: UUID!) {
  deleteRolePermission(input: { roleId: $role, permissionId: $permission }) { clientMutationId }
}`;
const GRANT = `mutation ($user: UUID!, $role: String!, $until: Datetime, $reason: String) {
  grantRole(input: { userId: $user, roleName: $role, expiresAt: $until, reason: $reason }) {
    result { userId expiresAt reason grantedBy isExpired }
  }
}`;
const REVOKE = `mutation ($user: UUID!, $role: String!) {
  revokeRole(input: { userId: $user, roleName: $role }) { result { userId } }
}`;
const HOLDERS = `query ($role: String!) {
  userRoles(filter: { role: { name: { equalTo: $role } } }) {
    nodes { userId grantedBy reason expiresAt isExpired }
  }
}`;
const EFFECTIVE = `query ($user: UUID!) {
  effectivePermissions(filter: { userId: { equalTo: $user } }, orderBy: PERMISSION_NAME_ASC) {
    nodes { permissionName roleName expiresAt requiresMfa }
  }
}`;
const PERMISSION = "query ($name: String!) { hasPermission(permission: $name) }";

const ids = async (table: "roles" | "permissions", name: string): Promise<string> => {
  const column = table === "roles" ? "role_name" : "permission_name";
  const [row] = await owner<{ id: string }>(`select id from access.${table} where ${column} = $1`, [name]);
  return row!.id;
};
const inHours = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString();
const holds = async (person: SignedIn, name: string): Promise<boolean> =>
  (await ask(person, PERMISSION, { name })).hasPermission;
const effective = async (reader: SignedIn, user: SignedIn) =>
  (await ask(reader, EFFECTIVE, { user: user.userId })).effectivePermissions.nodes;
/** Lets a role expire as if its time had come. */
const expire = (person: SignedIn) =>
  owner(
    `update access.user_roles set granted_at = now() - interval '2 days', expires_at = now() - interval '1 second'
     where user_id = $1`,
    [person.userId],
  );

let counter = 0;
let manager: SignedIn;
let ada: SignedIn;
let role: string;
/** A manager of roles who holds manage_roles and edit_content; the role "editors…" gives edit_content. */
beforeEach(async () => {
  const n = ++counter;
  [manager, ada] = [await signUp(api, `manager${n}`), await signUp(api, `ada${n}`)];
  const managers = `managers${n}`;
  const created = await ask(admin, CREATE_ROLE, { name: managers });
  for (const name of ["manage_roles", "edit_content"])
    await ask(admin, ADD, { role: created.createRole.role.id, permission: await ids("permissions", name) });
  await ask(admin, GRANT, { user: manager.userId, role: managers });
  role = `editors${n}`;
});

/** The role, made and filled by the manager. */
async function makeRole(): Promise<string> {
  const created = await ask(manager, CREATE_ROLE, { name: role });
  const { id } = created.createRole.role;
  await ask(manager, ADD, { role: id, permission: await ids("permissions", "edit_content") });
  return id;
}

test("a holder of manage_roles makes a role, grants it with expiry and reason, lists its holders and revokes it", async () => {
  await makeRole();
  const until = inHours(1);
  const granted = await ask(manager, GRANT, { user: ada.userId, role, until, reason: "Covers for Bob." });
  expect(granted.grantRole.result).toMatchObject({ reason: "Covers for Bob.", isExpired: false });
  expect(await holds(ada, "edit_content")).toBe(true);
  const { nodes } = (await ask(manager, HOLDERS, { role })).userRoles;
  expect(nodes).toEqual([
    {
      userId: ada.userId,
      grantedBy: manager.userId,
      reason: "Covers for Bob.",
      expiresAt: expect.anything(),
      isExpired: false,
    },
  ]);
  expect(Date.parse(nodes[0].expiresAt)).toBe(Date.parse(until));
  expect(
    await owner(
      `select actor_id, event_data ->> 'reason' as reason from security.security_audit_log
       where user_id = $1 and event_type = 'role_granted' and event_data ->> 'role_name' = $2`,
      [ada.userId, role],
    ),
  ).toEqual([{ actor_id: manager.userId, reason: "Covers for Bob." }]);
  await ask(manager, REVOKE, { user: ada.userId, role });
  expect(await holds(ada, "edit_content")).toBe(false);
  expect((await ask(manager, HOLDERS, { role })).userRoles.nodes).toEqual([]);
});

test("effective permissions name their role and expiry, for the user and for managers only", async () => {
  await makeRole();
  const until = inHours(1);
  await ask(manager, GRANT, { user: ada.userId, role, until });
  const expected = [
    {
      permissionName: "edit_content",
      roleName: role,
      expiresAt: expect.anything(),
      requiresMfa: false,
    },
  ];
  for (const reader of [ada, manager, admin]) expect(await effective(reader, ada)).toEqual(expected);
  const bob = await signUp(api, `bob${counter}`);
  expect(await effective(bob, ada)).toEqual([]);
  await expire(ada);
  expect(await effective(ada, ada)).toEqual([]);
});

test("a new permission belongs to the role admin, and only its holders may give it to other roles", async () => {
  const id = await makeRole();
  const name = `carve${counter}`;
  const create = `mutation ($name: String!) {
    createPermission(input: { permission: { name: $name } }) { permission { id } }
  }`;
  const { id: permission } = (await ask(manager, create, { name })).createPermission.permission;
  expect(await holds(admin, name)).toBe(true);
  expect(await failure(manager, ADD, { role: id, permission })).toBe("FORBIDDEN");
  await ask(admin, ADD, { role: id, permission });
});

test("errors name the fields of the API, which may have another name than the column", async () => {
  const create = `mutation ($name: String!) { createRole(input: { role: { name: $name } }) { role { id } } }`;
  for (const [name, code] of [
    ["moderator", "CONFLICT"],
    ["No Name", "BAD_USER_INPUT"],
  ] as const) {
    const { errors } = await api.ask(create, { token: manager.token, variables: { name } });
    expect(errors?.map(({ extensions }) => extensions)).toMatchObject([{ code, field: "name" }]);
  }
});

describe("a holder of manage_roles who lacks a permission", () => {
  const rename = `mutation ($id: UUID!, $name: String!) {
    updatePermission(input: { id: $id, patch: { name: $name } }) { clientMutationId }
  }`;
  const weaken = `mutation ($id: UUID!) {
    updateRole(input: { id: $id, patch: { requiresMfa: false } }) { clientMutationId }
  }`;
  const deletePermission =
    "mutation ($id: UUID!) { deletePermission(input: { id: $id }) { clientMutationId } }";
  const deleteRole = "mutation ($id: UUID!) { deleteRole(input: { id: $id }) { clientMutationId } }";

  test("neither grants it, adds it to a role, nor renames another one to it", async () => {
    const id = await makeRole();
    const permission = await ids("permissions", "view_audit_log");
    for (const user of [manager, ada])
      expect(await failure(manager, GRANT, { user: user.userId, role: "admin" })).toBe("FORBIDDEN");
    expect(await failure(manager, ADD, { role: id, permission })).toBe("FORBIDDEN");
    expect((await send(manager, rename, { id: permission, name: "seen" })).errors).toHaveLength(1);
    expect(await holds(manager, "view_audit_log")).toBe(false);
    expect(await holds(ada, "view_audit_log")).toBe(false);
  });

  test("does not take it from others", async () => {
    const [adminRole, permission] = [await ids("roles", "admin"), await ids("permissions", "view_audit_log")];
    for (const [query, variables] of [
      [REMOVE, { role: adminRole, permission }],
      [REVOKE, { user: admin.userId, role: "admin" }],
      [weaken, { id: adminRole }],
      [deleteRole, { id: adminRole }],
      [deletePermission, { id: permission }],
    ] as const)
      expect([query, await failure(manager, query, variables)]).toEqual([query, "NOT_FOUND"]);
    expect(await failure(manager, GRANT, { user: admin.userId, role: "admin", until: inHours(1) })).toBe(
      "FORBIDDEN",
    );
    expect(await holds(admin, "view_audit_log")).toBe(true);
  });

  test("does not grant a role with models that they may not use", async () => {
    const id = await makeRole();
    await owner(
      `with p as (insert into llm.model_providers (name) values ($1) returning id),
       m as (insert into llm.models (provider_id, name, display_name) select id, 'm', 'M' from p returning id)
       insert into access.role_model_access (role_id, model_id) select $2, id from m`,
      [role, id],
    );
    expect(await failure(manager, GRANT, { user: manager.userId, role })).toBe("FORBIDDEN");
    await ask(admin, GRANT, { user: manager.userId, role });
    await ask(manager, GRANT, { user: ada.userId, role });
  });
});

test("a temporary holder of manage_roles grants nothing beyond their own expiry", async () => {
  const id = await makeRole();
  await ask(admin, GRANT, { user: ada.userId, role: `managers${counter}`, until: inHours(2) });
  const bob = await signUp(api, `bob${counter}`);
  expect(await failure(ada, GRANT, { user: ada.userId, role: `managers${counter}` })).toBe("FORBIDDEN");
  expect(await failure(ada, GRANT, { user: bob.userId, role })).toBe("FORBIDDEN");
  expect(await failure(ada, GRANT, { user: bob.userId, role, until: inHours(3) })).toBe("FORBIDDEN");
  await ask(ada, GRANT, { user: bob.userId, role, until: inHours(1) });
  const permission = await ids("permissions", "manage_roles");
  expect(await failure(ada, ADD, { role: id, permission })).toBe("FORBIDDEN");
  await ask(ada, REVOKE, { user: bob.userId, role });
});

test("models are granted for no longer than the caller has them, or the permission to grant them", async () => {
  const id = await makeRole();
  const [{ model }] = (await owner<{ model: string }>(
    `with p as (insert into llm.model_providers (name) values ($1) returning id)
     insert into llm.models (provider_id, name, display_name, is_public) select id, 'm', 'M', true from p returning id as model`,
    [role],
  )) as [{ model: string }];
  await owner("insert into access.role_model_access (role_id, model_id) values ($1, $2)", [id, model]);
  // The model may cease to be public, and a plan may end.
  expect(await failure(manager, GRANT, { user: ada.userId, role })).toBe("FORBIDDEN");
  await owner("update llm.models set is_public = false where id = $1", [model]);
  await owner("insert into access.plan_model_access (plan_code, model_id) values ('free', $1)", [model]);
  expect(await failure(manager, GRANT, { user: ada.userId, role })).toBe("FORBIDDEN");

  const granters = `granters${counter}`;
  const created = await ask(admin, CREATE_ROLE, { name: granters });
  const permission = await ids("permissions", "grant_model_access");
  await ask(admin, ADD, { role: created.createRole.role.id, permission });
  await ask(admin, GRANT, { user: manager.userId, role: granters, until: inHours(2) });
  const grantModel = `mutation ($user: UUID!, $model: UUID!, $until: Datetime) {
    createUserModelAccess(input: { userModelAccess: { userId: $user, modelId: $model, expiresAt: $until } }) { clientMutationId }
  }`;
  for (const until of [undefined, inHours(3)]) {
    expect(await failure(manager, grantModel, { user: manager.userId, model, until })).toBe("FORBIDDEN");
    expect(await failure(manager, GRANT, { user: ada.userId, role, until })).toBe("FORBIDDEN");
  }
  await ask(manager, grantModel, { user: manager.userId, model, until: inHours(1) });
  await ask(manager, GRANT, { user: ada.userId, role, until: inHours(1) });
});

test("an expiry in the past names the argument", async () => {
  await makeRole();
  const answer = await send(manager, GRANT, { user: ada.userId, role, until: inHours(-1) });
  expect(answer.errors?.[0]?.extensions).toMatchObject({ code: "BAD_USER_INPUT", field: "expiresAt" });
});

test("an expired role is seen as expired, and its renewal names the account that renewed it", async () => {
  await makeRole();
  await ask(manager, GRANT, { user: ada.userId, role, until: inHours(1), reason: "first" });
  await expire(ada);
  expect(await holds(ada, "edit_content")).toBe(false);
  expect((await ask(ada, HOLDERS, { role })).userRoles.nodes).toEqual([
    expect.objectContaining({ grantedBy: manager.userId, isExpired: true }),
  ]);
  await ask(admin, GRANT, { user: ada.userId, role, until: inHours(1), reason: "second" });
  expect(await holds(ada, "edit_content")).toBe(true);
  expect((await ask(ada, HOLDERS, { role })).userRoles.nodes).toEqual([
    expect.objectContaining({ grantedBy: admin.userId, reason: "second", isExpired: false }),
  ]);
});

test("an expiry takes effect at once on open sockets and in live subscriptions", async () => {
  const [member, muted] = [ada, await signUp(api, `muted${counter}`)];
  await ask(admin, GRANT, { user: member.userId, role: "moderator", until: inHours(1) });
  await owner("insert into rooms.general_chat_mutes (user_id) values ($1)", [muted.userId]);
  const room = await makeRoom(api, [muted, member]);
  const client = connect(api, member);
  // Mutes are visible to users with moderate_general_chat.
  const events = listen(
    client,
    `subscription ($room: UUID!) {
      roomEvents(roomId: $room) { events { profile { generalChatMute { userId } } } }
    }`,
    { room },
  );
  const mutes = () =>
    events.answers.flatMap(({ events: each }) =>
      each.map(
        ({ profile }: { profile: { generalChatMute: object | null } }) => profile.generalChatMute !== null,
      ),
    );
  const onSocket = async () => {
    const heard = listen(client, '{ hasPermission(permission: "moderate_general_chat") }');
    await until(() => heard.ended !== undefined);
    return heard.answers[0];
  };
  await until(() => events.answers.length > 0);
  await post(api, muted, room, "one");
  await until(() => mutes().length === 1);
  expect(await onSocket()).toBe(true);
  await expire(member);
  expect(await onSocket()).toBe(false);
  await post(api, muted, room, "two");
  await until(() => mutes().length === 2);
  expect(mutes()).toEqual([true, false]);
  await client.dispose();
});

test("errors of administration are typed", async () => {
  await makeRole();
  const user = ada.userId;
  const unknown = "00000000-0000-7000-8000-000000000000";
  const cases = [
    [manager, GRANT, { user, role: "nonsense" }, "NOT_FOUND"],
    [manager, GRANT, { user, role, until: inHours(-1) }, "BAD_USER_INPUT"],
    [manager, GRANT, { user, role, reason: "" }, "BAD_USER_INPUT"],
    [manager, GRANT, { user: unknown, role }, "BAD_USER_INPUT"],
    [manager, REVOKE, { user, role }, "NOT_FOUND"],
    [manager, REVOKE, { user: unknown, role }, "NOT_FOUND"],
    [manager, CREATE_ROLE, { name: role }, "CONFLICT"],
    [manager, CREATE_ROLE, { name: "No name" }, "BAD_USER_INPUT"],
    [ada, CREATE_ROLE, { name: "mine" }, "FORBIDDEN"],
    [ada, GRANT, { user, role }, "FORBIDDEN"],
    [undefined, GRANT, { user, role }, "UNAUTHENTICATED"],
    [admin, REVOKE, { user: admin.userId, role: "admin" }, "CONFLICT"],
  ] as const;
  for (const [person, query, variables, code] of cases)
    expect([variables, await failure(person, query, variables)]).toEqual([variables, code]);
});

test("effective permissions and hasPermission agree for every account and permission", async () => {
  await makeRole();
  await ask(admin, GRANT, { user: ada.userId, role, until: inHours(1) });
  await expire(ada);
  const all = await owner<{ name: string }>("select permission_name as name from access.permissions");
  for (const person of [admin, manager, ada]) {
    const held = [];
    for (const { name } of all) if (await holds(person, name)) held.push(name);
    const seen = (await effective(person, person)).map(
      ({ permissionName }: { permissionName: string }) => permissionName,
    );
    expect(seen).toEqual(held.sort());
  }
});

test("analysts count the holders of a permission without seeing them", async () => {
  const counts = async () =>
    (
      await analyst<Record<string, unknown>>(
        `select users::integer, users_without_expiry::integer as lasting, roles::integer, next_expiry_at is null as stays
         from permission_holders where permission_name = $1`,
        [name],
      )
    )[0];
  const name = `polish${counter}`;
  await owner("insert into access.permissions (permission_name) values ($1)", [name]);
  expect(await counts()).toEqual({ users: 1, lasting: 1, roles: 1, stays: true });
  const id = await makeRole();
  await ask(admin, ADD, { role: id, permission: await ids("permissions", name) });
  await ask(admin, GRANT, { user: ada.userId, role, until: inHours(1) });
  expect(await counts()).toEqual({ users: 2, lasting: 1, roles: 2, stays: false });
  await expire(ada);
  expect(await counts()).toEqual({ users: 1, lasting: 1, roles: 1, stays: true });
});
