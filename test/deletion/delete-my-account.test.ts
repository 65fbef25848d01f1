import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { deleteDueAccounts } from "../../src/jobs/delete-due-accounts.ts";
import { grantRole } from "../support/accounts.ts";
import { type Api, codeOf, signIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { templatesTo } from "../support/mail.ts";
import { endSession } from "../support/waiting.ts";

let db: TestDatabase;
let api: Api;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);
const asWorker = rowsAs("worker", () => db);

const DELETE = "mutation { deleteMyAccount(input: {}) { result { userId requestedAt dueAt } } }";
const CANCEL = "mutation { cancelAccountDeletion(input: {}) { result { userId dueAt } } }";
const STATUS = "{ currentUser { id deletion { dueAt } } accountDeletions { nodes { userId } } }";

const runJob = () =>
  deleteDueAccounts({ query: (sql, values) => asWorker(sql, values), signal: new AbortController().signal });
const exists = async (id: string) =>
  (await asOwner("select from identity.users where id = $1", [id])).length === 1;
const makeDue = (id: string) =>
  asOwner(
    `update identity.account_deletions set requested_at = now() - interval '15 days', due_at = now() - interval '1 day',
       next_attempt_at = now() - interval '1 day' where user_id = $1`,
    [id],
  );

let counter = 0;
let name: string;
let user: { token: string; userId: string };
beforeEach(async () => {
  name = `leaver${++counter}`;
  user = await signUp(api, name);
});
const as = (token: string) => ({ token });

describe("the request", () => {
  test("keeps the account for the grace period, sends a mail, and can be repeated", async () => {
    const { data, errors } = await api.ask(DELETE, as(user.token));
    expect(errors).toBeUndefined();
    const { userId, requestedAt, dueAt } = data.deleteMyAccount.result;
    expect(userId).toBe(user.userId);
    expect(Date.parse(dueAt) - Date.parse(requestedAt)).toBe(14 * 86_400_000);
    expect((await api.ask(DELETE, as(user.token))).data.deleteMyAccount.result).toEqual(
      data.deleteMyAccount.result,
    );
    expect(
      (await templatesTo(db, `${name}@example.org`)).filter((t) => t === "account-deletion-requested"),
    ).toHaveLength(1);
    expect((await api.ask(STATUS, as(user.token))).data).toEqual({
      currentUser: { id: user.userId, deletion: { dueAt } },
      accountDeletions: { nodes: [{ userId: user.userId }] },
    });
    await runJob();
    expect(await exists(user.userId)).toBe(true);
  });

  test("uses the grace period of the settings", async () => {
    await asOwner("update identity.data_rights_settings set deletion_grace_period = '3 days'");
    const { requestedAt, dueAt } = (await api.ask(DELETE, as(user.token))).data.deleteMyAccount.result;
    await asOwner("update identity.data_rights_settings set deletion_grace_period = default");
    expect(Date.parse(dueAt) - Date.parse(requestedAt)).toBe(3 * 86_400_000);
  });

  test("ends the other sessions and the API tokens but keeps the current session", async () => {
    const other = await signIn(api, name);
    await asOwner(
      `insert into identity.api_tokens (user_id, name, token_prefix, scopes, expires_at)
       values ($1, 't', 'pla_xxxxxxxx', '{read}', now() + interval '1 day')`,
      [user.userId],
    );
    await api.ask(DELETE, as(user.token));
    const ended = await asOwner(
      "select end_reason from identity.user_sessions where user_id = $1 and ended_at is not null",
      [user.userId],
    );
    expect(ended).toEqual([{ end_reason: "account_deletion" }]);
    expect(
      await asOwner("select from identity.api_tokens where user_id = $1 and revoked_at is null", [
        user.userId,
      ]),
    ).toEqual([]);
    expect((await api.ask("{ currentUser { id } }", as(user.token))).status).toBe(200);
    expect(other.token).not.toBe(user.token);
  });

  test("requires a session with a recent sign-in and rejects visitors and API tokens", async () => {
    expect(codeOf(await api.ask(DELETE))).toBe("UNAUTHENTICATED");
    await asOwner(
      "update identity.user_sessions set authenticated_at = now() - interval '11 minutes' where user_id = $1",
      [user.userId],
    );
    const refused = await api.ask(DELETE, as(user.token));
    expect(refused.errors?.[0]?.extensions).toMatchObject({
      code: "FORBIDDEN",
      hint: "Confirm it is you with reauthenticate.",
    });
    expect(await asOwner("select from identity.account_deletions where user_id = $1", [user.userId])).toEqual(
      [],
    );
  });
});

describe("a cancellation", () => {
  test("keeps the account, also after a new sign-in, and sends a mail", async () => {
    await api.ask(DELETE, as(user.token));
    const again = await signIn(api, name);
    expect((await api.ask(CANCEL, as(again.token))).data.cancelAccountDeletion.result.userId).toBe(
      user.userId,
    );
    expect(codeOf(await api.ask(CANCEL, as(again.token)))).toBe("NOT_FOUND");
    expect(await templatesTo(db, `${name}@example.org`)).toContain("account-deletion-canceled");
    await runJob();
    expect(await exists(user.userId)).toBe(true);
  });

  test("is possible and visible only to the account, not even to an administrator", async () => {
    await api.ask(DELETE, as(user.token));
    const admin = await signUp(api, `admin${counter}`);
    await grantRole(db, admin.userId, "admin");
    for (const token of [admin.token, (await signUp(api, `other${counter}`)).token]) {
      expect(codeOf(await api.ask(CANCEL, as(token)))).toBe("NOT_FOUND");
      expect(
        (await api.ask("{ accountDeletions { nodes { userId } } }", as(token))).data.accountDeletions.nodes,
      ).toEqual([]);
    }
    expect(codeOf(await api.ask(CANCEL))).toBe("UNAUTHENTICATED");
    expect(
      await asOwner("select from identity.account_deletions where user_id = $1", [user.userId]),
    ).toHaveLength(1);
  });
});

describe("the job", () => {
  test("deletes due accounts, sends a last mail, and forgets the address when it was sent", async () => {
    await api.ask(DELETE, as(user.token));
    await makeDue(user.userId);
    expect(await runJob()).toEqual({ deleted: 1, postponed: 0, canceled: 0 });
    expect(await exists(user.userId)).toBe(false);
    expect(await templatesTo(db, `${name}@example.org`)).toEqual(["account-deleted"]);
    const taken = await asWorker<{ id: string; template: string }>(
      "select * from private.take_emails(1000)",
      [],
    );
    const last = taken.find(({ template }) => template === "account-deleted")!;
    expect(await asWorker("select private.finish_email($1, null) as status", [last.id])).toEqual([
      { status: "sent" },
    ]);
    expect(await templatesTo(db, `${name}@example.org`)).toEqual([]);
    expect(await runJob()).toEqual({ deleted: 0, postponed: 0, canceled: 0 });
  });

  test("requests the cancellation of the account's subscriptions at its payment provider", async () => {
    await asOwner(
      `insert into private.provider_subscriptions (provider, provider_subscription_id, user_id, status)
       values ('stripe', $2, $1, 'active')`,
      [user.userId, `sub_${name}`],
    );
    await api.ask(DELETE, as(user.token));
    expect(
      await asOwner("select from private.provider_cancellations where provider_subscription_id = $1", [
        `sub_${name}`,
      ]),
    ).toEqual([]);
    await makeDue(user.userId);
    await runJob();
    expect(
      await asOwner("select from private.provider_cancellations where provider_subscription_id = $1", [
        `sub_${name}`,
      ]),
    ).toHaveLength(1);
  });

  test("leaves the account whole and due when it is killed, and deletes it once with two workers", async () => {
    await api.ask(DELETE, as(user.token));
    await makeDue(user.userId);
    await withClient(db.url("worker"), async (client) => {
      const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
      await client.query("begin");
      await client.query("select private.delete_due_account()");
      // The effect of kill -9 of the worker on its connection.
      await endSession(db, rows[0]!.pid);
      await client.query("select 1").catch(() => {});
    }).catch(() => {});
    expect(await exists(user.userId)).toBe(true);
    const [one, two] = await Promise.all([runJob(), runJob()]);
    expect(one!.deleted! + two!.deleted!).toBe(1);
    expect(await exists(user.userId)).toBe(false);
  });

  test("postpones an account that cannot be deleted and deletes the others", async () => {
    const lone = user;
    await api.ask(DELETE, as(lone.token));
    const other = await signUp(api, `second${counter}`);
    await api.ask(DELETE, as(other.token));
    for (const id of [lone.userId, other.userId]) await makeDue(id);
    // No other administrator is left, as in a database that is older than the rule.
    await asOwner("alter table access.user_roles disable trigger _300_keep_last_administrator");
    await asOwner(
      "delete from access.user_roles where role_id = (select id from access.roles where role_name = 'admin')",
    );
    await asOwner("alter table access.user_roles enable trigger _300_keep_last_administrator");
    await grantRole(db, lone.userId, "admin");
    expect(await runJob()).toEqual({ deleted: 1, postponed: 1, canceled: 0 });
    expect(await exists(lone.userId)).toBe(true);
    expect(
      await asOwner("select attempts, last_failure from identity.account_deletions where user_id = $1", [
        lone.userId,
      ]),
    ).toEqual([{ attempts: 1, last_failure: "PL409" }]);
  });
});

describe("the deletion of another account", () => {
  const byId = (id: string) => `mutation { deleteUser(input: { id: "${id}" }) { clientMutationId } }`;

  test("needs a session with a recent sign-in and rejects API tokens; then the account is deleted at once", async () => {
    const other = await signUp(api, `other${counter}`);
    await grantRole(db, user.userId, "admin");
    const { data } = await api.ask(
      'mutation { createApiToken(input: { name: "script", scopes: [read, write] }) { token } }',
      as(user.token),
    );
    const byToken = await api.ask(byId(other.userId), as(data.createApiToken.token));
    expect([codeOf(byToken), byToken.errors![0]!.extensions.hint]).toEqual(["FORBIDDEN", "Sign in."]);

    const age = (by: string) =>
      asOwner(
        "update identity.user_sessions set authenticated_at = now() - $2::interval where user_id = $1",
        [user.userId, by],
      );
    await age("11 minutes");
    const late = await api.ask(byId(other.userId), as(user.token));
    expect([codeOf(late), late.errors![0]!.extensions.hint]).toEqual([
      "FORBIDDEN",
      "Confirm it is you with reauthenticate.",
    ]);
    expect(await exists(other.userId)).toBe(true);

    await age("1 minute");
    expect((await api.ask(byId(other.userId), as(user.token))).errors).toBeUndefined();
    expect(await exists(other.userId)).toBe(false);
  });
});

describe("the last administrator", () => {
  test("cannot be deleted in any way, and one of two concurrent deletions is rejected", async () => {
    await grantRole(db, user.userId, "admin");
    await asOwner(
      "delete from access.user_roles where role_id = (select id from access.roles where role_name = 'admin') and user_id <> $1",
      [user.userId],
    );
    expect(codeOf(await api.ask(DELETE, as(user.token)))).toBe("CONFLICT");
    const byId = `mutation { deleteUser(input: { id: "${user.userId}" }) { clientMutationId } }`;
    expect(codeOf(await api.ask(byId, as(user.token)))).toBe("CONFLICT");
    const second = await signUp(api, `second${counter}`);
    await grantRole(db, second.userId, "admin");
    const answers = await Promise.all([user, second].map(({ token }) => api.ask(DELETE, as(token))));
    expect(answers.map(({ errors }) => errors?.[0]?.extensions.code ?? "ok").sort()).toEqual([
      "CONFLICT",
      "ok",
    ]);
  });
});
