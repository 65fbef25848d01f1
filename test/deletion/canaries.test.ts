import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { IDS, SEED, withIds } from "../support/access-probes.ts";
import { grantRole, registerUser, someHash } from "../support/accounts.ts";
import { CANARY, CANARY_ADDRESS, plantCanaries } from "../support/canaries.ts";
import {
  asRole,
  createTestDatabase,
  inTransaction,
  type TestDatabase,
  withClient,
} from "../support/database.ts";
import { tablesWith } from "../support/whole-database.ts";

// A deleted account leaves no trace. Every column of text, addresses and JSON of an account's rows gets a canary; after the
// deletion the whole database is searched. The columns come from the catalog, so a new table is covered automatically.

let db: TestDatabase;
beforeEach(async () => {
  db = await createTestDatabase();
});
afterEach(async () => {
  await db.drop();
});

const ada = IDS.ada!;

/** Columns that hold a word of the product and never one of a person. */
const WORDS_OF_THE_PRODUCT: ReadonlySet<string> = new Set([
  "billing.daily_usage.currency",
  "billing.usage_events.currency",
  "billing.usage_events.kind",
  "billing.usage_events.source",
  "security.audit_trail.table_name",
  "security.audit_trail.row_key", // ids
  "security.audit_trail.changed_columns",
  "security.audit_trail.source",
  "security.error_logs.error_code",
  "security.error_logs.source",
  "security.login_attempts.failure_reason",
  "security.security_audit_log.event_type",
  "security.security_audit_log.source",
]);

/** Tables whose rows outlive their author, with their texts. */
const STAYS: ReadonlySet<string> = new Set([
  "billing.payments", // bookkeeping: ids of the payment provider, no name
  "learning.content_items", // published content belongs to the product
  "learning.content_versions", // likewise
  "learning.skill_evidence", // a note on another user's skill
  "rooms.chat_rooms", // a room continues with its other members
  "rooms.general_chat_mutes", // the reason of another user's mute
  "rooms.room_bans", // the reason of another user's ban
]);

/** A row of each kind that SEED lacks, and sign-ins by names that only later become an account's. */
const MORE_ROWS = `
  update identity.users set email = 'ada@example.com' where id = :ada;
  insert into private.mail_outbox (user_id, to_address, template) values (:ada, 'x@example.com', 'password-changed');
  insert into private.user_verifications (user_id, kind, new_value, token_hash, expires_at)
    values (:ada, 'email', 'x@example.com', sha256('x'), now() + interval '1 day');
  insert into security.login_attempts (user_id, status, created_at)
    select :ada, 'failed', now() - interval '1 month' * n from generate_series(-2, 30, 4) n;
  insert into security.security_audit_log (user_id, event_type, created_at)
    select :ada, 'probe', now() - interval '1 month' * n from generate_series(-2, 30, 4) n;
  insert into security.audit_trail (user_id, actor_id, table_name, operation, row_key, transaction_number, source)
    values (:ada, :ada, 'probe', 'INSERT', '{}', 1, 'probe');
  insert into security.security_audit_log (user_id, actor_id, event_type, ip_address, user_agent)
    values (:bob, :ada, 'probe_by_ada', '${CANARY_ADDRESS}', '${CANARY}');
  insert into learning.content_versions (item_id, version, created_by) select id, 2, :ada from learning.content_items where id = :shown;
  insert into learning.skill_evidence (user_id, skill_id, kind, delta, note, recorded_by)
    values (:bob, :shown, 'assessment', 1, 'x', :ada);
  update rooms.chat_rooms set creator_id = :ada;
  update rooms.general_chat_mutes set muted_by = :ada where user_id = :bob;
  update rooms.room_bans set banned_by = :ada;`;

/** Sign-ins by the account's names before they belonged to an account, such as before it was registered. */
async function tryUnknownNames(): Promise<void> {
  await inTransaction(db.url("service"), async (client) => {
    await client.query(
      `select set_config('plinth.client_ip', '${CANARY_ADDRESS}', true), set_config('plinth.user_agent', '${CANARY}', true)`,
    );
    for (const name of [`${CANARY}@example.com`, CANARY])
      await client.query("select from private.finish_login(null, $1, false, null, sha256($2))", [name, name]);
  });
}

async function seed(): Promise<Set<string>> {
  await tryUnknownNames();
  return withClient(db.url("owner"), async (client) => {
    await client.query(withIds(SEED));
    await client.query(withIds(MORE_ROWS));
    const planted = await plantCanaries(client, ada, WORDS_OF_THE_PRODUCT);
    // An action of another person on the account came from that person's address, and an action of the account on another person
    // is about that person.
    await client.query(
      withIds(`
        update security.security_audit_log set event_data = '{}', metadata = '{}' where user_id = :bob and actor_id = :ada;
        update security.security_audit_log set ip_address = '192.0.2.2', user_agent = 'bob', correlation_id = 'bob'
          where user_id = :ada and actor_id = :bob;
        update security.audit_trail set ip_address = '192.0.2.2', correlation_id = 'bob'
          where user_id = :ada and actor_id = :bob;`),
    );
    return planted;
  });
}

/** Tables that still contain the person; partitions by the name of their table. */
async function remains(): Promise<string[]> {
  const found = [...(await tablesWith(db, CANARY)), ...(await tablesWith(db, CANARY_ADDRESS))];
  return [...new Set(found.map((table) => table.replace(/_(\d{4}_\d{2}|default)$/, "")))];
}

/** The columns with traces in the original issue. */
const MUST_BE_PLANTED = [
  "identity.users.username",
  "identity.users.email",
  "identity.user_sessions.ip_address",
  "llm.messages.content",
  "private.mail_outbox.to_address",
  "rooms.room_messages.content",
  "security.audit_trail.ip_address",
  "security.audit_trail.old_values",
  "security.error_logs.context",
  "security.login_attempts.email",
  "security.login_attempts.ip_address",
  "security.login_attempts.user_agent",
  "security.security_audit_log.event_data",
  "security.security_audit_log.ip_address",
  "security.security_audit_log.user_agent",
];

const WAYS: Readonly<Record<string, () => Promise<unknown>>> = {
  "plain SQL": () =>
    withClient(db.url("owner"), (client) => client.query("delete from identity.users where id = $1", [ada])),
  "an administrator": () =>
    inTransaction(db.url("authenticator"), async (client) => {
      await grantRole(db, IDS.chief!, "admin");
      await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: IDS.chief! });
      const deleted = await client.query("delete from identity.users where id = $1", [ada]);
      expect(deleted.rowCount).toBe(1);
    }),
  "an administrator's own hand": () =>
    inTransaction(db.url("authenticator"), async (client) => {
      for (const administrator of [ada, IDS.chief!]) await grantRole(db, administrator, "admin");
      await client.query(
        `select set_config('plinth.client_ip', '${CANARY_ADDRESS}', true),
           set_config('plinth.user_agent', '${CANARY}', true), set_config('plinth.correlation_id', '${CANARY}', true)`,
      );
      await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: ada });
      const deleted = await client.query("delete from identity.users where id = $1", [ada]);
      expect(deleted.rowCount).toBe(1);
    }),
};

test.each(Object.keys(WAYS))("leaves no canary in the database after a deletion by %s", async (way) => {
  const planted = await seed();
  // Otherwise nothing below could fail.
  expect(MUST_BE_PLANTED.filter((column) => !planted.has(column))).toEqual([]);
  expect(planted.size).toBeGreaterThan(80);
  await WAYS[way]!();
  // An exception that no longer occurs fails as well.
  expect((await remains()).sort()).toEqual([...STAYS].sort());
  expect(await tablesWith(db, "192.0.2.2")).toEqual([
    expect.stringMatching(/^security\.audit_trail_/),
    expect.stringMatching(/^security\.security_audit_log_/),
  ]);
});

test("deletes accounts that acted on each other at the same moment, while others sign in to them", async () => {
  for (let round = 0; round < 8; round++) {
    const pair = await Promise.all(["a", "b"].map((name) => registerUser(db, `${name}${round}`)));
    await withClient(db.url("owner"), (client) =>
      client.query(
        `insert into security.security_audit_log (user_id, actor_id, event_type)
         select case n % 2 when 0 then $1 else $2 end::uuid, case n % 2 when 0 then $2 else $1 end::uuid, 'probe'
         from generate_series(1, 200) n`,
        pair,
      ),
    );
    await Promise.all(
      pair.flatMap((user, index) => [
        withClient(db.url("service"), async (client) => {
          for (let i = 0; i < 10; i++)
            await client.query("select from private.finish_login($1, 'x@example.com', false, null, $2)", [
              user,
              someHash(),
            ]);
        }),
        withClient(db.url("owner"), (client) =>
          client.query("delete from identity.users where username = $1", [`${"ab"[index]}${round}`]),
        ),
      ]),
    );
  }
  const left = await withClient(db.url("owner"), (client) =>
    client.query(
      "select from security.security_audit_log where event_type = 'probe' and coalesce(user_id, actor_id) is not null",
    ),
  );
  expect(left.rowCount).toBe(0);
});
