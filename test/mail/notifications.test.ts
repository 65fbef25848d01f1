import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { render } from "../../src/mail/render.ts";
import { TEMPLATES } from "../../src/mail/templates/index.ts";
import { grantRole, registerUser, someHash } from "../support/accounts.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { emailsTo } from "../support/mail.ts";
import { inRolledBackTransaction } from "../support/transaction.ts";

// The recipients and reasons of notifications, by the events of the audit log (private.notification_of).

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);
async function someone() {
  const username = `u${randomUUID().slice(0, 13)}`;
  return { id: await registerUser(db, username), email: `${username}@example.com` };
}
const told = async (email: string) =>
  (await emailsTo(db, email)).map(({ template, variables }) => [template, variables.event]);

describe("the owner of an account is notified [A6]", () => {
  test.each([
    ["factor_added", "mfa-changed", /A second factor was added/],
    ["factor_removed", "mfa-changed", /was removed/],
    ["mfa_locked", "mfa-changed", /too many wrong ones/],
    ["recovery_code_used", "mfa-changed", /A recovery code of your account was used/],
    ["recovery_codes_replaced", "mfa-changed", /were replaced/],
    ["passkey_cloned", "mfa-changed", /a copy of it/],
    ["provider_unlinked", "oauth-changed", /linked to or unlinked/],
    ["api_token_created", "api-token-created", /can act as you/],
    ["security_settings_changed", "security-settings-changed", /session timeout or the allowed networks/],
    ["refresh_token_reused", "session-ended", /Its token was used twice/],
    ["sessions_ended_by_administrator", "session-ended", /An administrator ended all your sessions/],
    ["suspicious_activity", "suspicious-activity", /noticed unusual activity/],
  ])("of %s", async (event, template, words) => {
    const ada = await someone();
    await asOwner("select private.record_security_event($1, $2)", [event, ada.id]);
    expect(await told(ada.email)).toEqual([[template, event]]);
    const [mail] = await emailsTo(db, ada.email);
    const context = { appName: "Plinth", appUrl: "https://app.example.org", token: "" };
    expect(render(TEMPLATES[template]!(mail!.variables, context)).text).toMatch(words);
  });

  test("of a linked provider, but not of the one they registered with", async () => {
    const ada = await someone();
    for (const by of ["registration", "link"])
      await asOwner("select private.record_security_event('provider_linked', $1, $2)", [ada.id, { by }]);
    expect(await told(ada.email)).toEqual([["oauth-changed", "provider_linked"]]);
  });

  test("of nothing if the account is unknown, has no address or is deleted", async () => {
    const ada = await someone();
    await asOwner("update identity.users set account_status = 'deleted' where id = $1", [ada.id]);
    await asOwner("select private.record_security_event('factor_added', $1)", [ada.id]);
    await asOwner("select private.record_security_event('factor_added', null)");
    await asOwner("select private.record_security_event('factor_added', $1)", [randomUUID()]);
    expect(await told(ada.email)).toEqual([]);
  });

  test("only if the event is committed", async () => {
    const ada = await someone();
    await inRolledBackTransaction(db, async (tx) => {
      await tx.rows("select private.record_security_event('factor_added', $1)", [ada.id]);
    });
    expect(await told(ada.email)).toEqual([]);
  });
});

test("the events occur in practice: settings, an administrator, a token used twice [A6]", async () => {
  const [ada, admin] = [await someone(), await someone()];
  await grantRole(db, admin.id, "admin");
  const refresh = someHash();
  await withClient(db.url("service"), async (client) => {
    await client.query("select private.finish_login($1, 'x', true, 1, $2)", [ada.id, refresh]);
    for (const successor of [someHash(), someHash()]) {
      await client.query("select private.rotate_refresh_token($1, $2, $3)", [
        refresh,
        successor,
        Buffer.from("x"),
      ]);
      // After the grace period for a lost answer.
      await asOwner(
        "update private.refresh_tokens set used_at = used_at - interval '1 hour' where used_at is not null",
      );
    }
  });
  await inCommittedTransaction(
    ada.id,
    "update identity.user_security_settings set session_timeout_minutes = 30",
  );
  await inCommittedTransaction(admin.id, `select identity.end_user_sessions('${ada.id}')`);
  expect(await told(ada.email)).toEqual(
    expect.arrayContaining([
      ["session-ended", "refresh_token_reused"],
      ["security-settings-changed", "security_settings_changed"],
      ["session-ended", "sessions_ended_by_administrator"],
    ]),
  );
});

async function inCommittedTransaction(userId: string, sql: string): Promise<void> {
  await withClient(db.url("authenticator"), async (client) => {
    await client.query("begin");
    await client.query("select set_config('role', $1, true), set_config('jwt.claims.user_id', $2, true)", [
      `${db.rolePrefix}_user`,
      userId,
    ]);
    await client.query(sql);
    await client.query("commit");
  });
}
