import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { roleName } from "../../src/config/roles.ts";
import { readCommittedMigrations } from "../../src/database/graphile-migrate.ts";
import { APPLICATION_HISTORY, applicationHistory } from "../../src/database/history.ts";
import { createMigrationTables, runMigrations } from "../../src/database/migrate.ts";
import { withMigrationSession } from "../../src/database/migration-session.ts";
import { startWorker } from "../../src/jobs/index.ts";
import { grantRole } from "../support/accounts.ts";
import { type Api, collectLog, type SignedIn, signIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { makeMigrationsFolder } from "../support/migrations-folder.ts";

// Each kind of writer changes audited data, in its real way; the logs name the whole chain behind it.

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  ada = await signUp(api, "ada");
  await withClient(db.url("owner"), (client) =>
    client.query(`
      create schema shop;
      create table shop.orders (id integer primary key);
      select plinth.track_changes('shop.orders');
      grant usage on schema shop to "${role("analyst")}";
      grant insert on shop.orders to "${role("analyst")}";`),
  );
});
afterAll(async () => {
  await api?.close();
  await db?.drop();
});

const role = (name: "authenticator" | "service" | "worker" | "analyst" | "user" | "owner") =>
  roleName(db.rolePrefix, name);
const asOwner = rowsAs("owner", () => db);

const CHAIN =
  "actor_id, actor_kind, source, acting_role, api_token_id, session_id, job_name, migration, has_ignored_claims";

/** The chain of the latest change of a table, with the nulls left out. */
async function lastChange(table: string): Promise<Record<string, unknown>> {
  const [row] = await asOwner<Record<string, unknown>>(
    `select ${CHAIN} from security.audit_trail where table_name = $1 order by id desc limit 1`,
    [table],
  );
  return withoutNulls(row!);
}

async function lastEvent(type: string): Promise<Record<string, unknown>> {
  const [row] = await asOwner<Record<string, unknown>>(
    `select ${CHAIN} from security.security_audit_log where event_type = $1 order by id desc limit 1`,
    [type],
  );
  return withoutNulls(row!);
}

const withoutNulls = (row: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null));

const rename = (token: string, displayName: string) =>
  api.ask(
    "mutation ($id: UUID!, $name: String!) { updateUserSetting(input: { userId: $id, patch: { displayName: $name } }) { userSetting { displayName } } }",
    { token, variables: { id: ada.userId, name: displayName } },
  );

describe("the actor of a change [C6, A5]", () => {
  test("is the user with the session, or the API token on the user's behalf", async () => {
    expect((await rename(ada.token, "Ada")).errors).toBeUndefined();
    const [session] = await asOwner<{ id: string }>(
      "select id from identity.user_sessions where user_id = $1",
      [ada.userId],
    );
    const byUser = {
      actor_id: ada.userId,
      actor_kind: "user",
      source: role("authenticator"),
      acting_role: role("user"),
      session_id: session!.id,
      has_ignored_claims: false,
    };
    expect(await lastChange("identity.user_settings")).toEqual(byUser);

    const { data, text } = await api.ask(
      'mutation { createApiToken(input: { name: "ci", scopes: [read, write] }) { token apiToken { id } } }',
      { token: ada.token },
    );
    expect({ text, data }).toMatchObject({ data: { createApiToken: {} } });
    expect(await lastEvent("api_token_created")).toEqual({
      ...byUser,
      source: role("service"),
      acting_role: role("service"),
    });
    const { token, apiToken } = data!.createApiToken;
    expect((await rename(token, "Ada by a program")).errors).toBeUndefined();
    const { session_id, ...chain } = byUser;
    expect(session_id).toBeDefined();
    expect(await lastChange("identity.user_settings")).toEqual({
      ...chain,
      actor_kind: "api_token",
      api_token_id: apiToken.id,
    });
  });

  test("is the API at a sign-in", async () => {
    await signIn(api, "ada");
    expect(await lastEvent("login_succeeded")).toEqual({
      actor_kind: "visitor",
      source: role("service"),
      acting_role: role("service"),
      has_ignored_claims: false,
    });
  });

  test("is the job that the worker runs", async () => {
    const grace = await signUp(api, "grace");
    await asOwner(
      `insert into identity.account_deletions (user_id, requested_at, due_at, next_attempt_at)
       values ($1, now() - interval '1 day', now(), now())`,
      [grace.userId],
    );
    let deleted: unknown;
    const worker = await startWorker({
      workerUrl: db.url("worker"),
      logger: collectLog([]),
      timetable: [
        {
          // Runs at the start.
          name: "ensure-partitions",
          cron: "0 0 29 2 *",
          does: "deletes an account",
          reason: "A test.",
          async run({ query }) {
            deleted = await query("select private.delete_due_account() as outcome", []);
            return {};
          },
        },
      ],
    });
    await worker.close();
    expect(deleted).toEqual([{ outcome: "deleted" }]);
    const byJob = {
      actor_kind: "job",
      source: role("worker"),
      acting_role: role("worker"),
      job_name: "ensure-partitions",
      has_ignored_claims: false,
    };
    expect(await lastChange("identity.users")).toEqual(byJob);
    expect(await lastEvent("account_deleted")).toEqual(byJob);
  });

  test("is the migration, but not after it", async () => {
    const folder = await makeMigrationsFolder({
      committed: { "000001-order.sql": "insert into shop.orders values (1);" },
    });
    const owner = { ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix };
    const options = { ...owner, ...applicationHistory(folder.path) };
    try {
      await withMigrationSession(options, async (session) => {
        await createMigrationTables(session);
        await runMigrations(session, await readCommittedMigrations(session.settings));
        const inMigration = {
          actor_kind: "migration",
          source: role("owner"),
          acting_role: role("owner"),
          migration: `${APPLICATION_HISTORY}/000001-order.sql`,
          has_ignored_claims: false,
        };
        expect(await lastChange("shop.orders")).toEqual(inMigration);
        await session.client.query("insert into shop.orders values (2)");
        const { migration, ...after } = inMigration;
        expect(migration).toBeDefined();
        expect(await lastChange("shop.orders")).toEqual({ ...after, actor_kind: "database_role" });
      });
    } finally {
      await folder.remove();
    }
  });

  test("is the database role in psql, whatever it claims to be", async () => {
    const claims = `
      select set_config(name, value, false) from (values
        ('jwt.claims.user_id', '${ada.userId}'), ('jwt.claims.api_token_id', '${ada.userId}'),
        ('jwt.claims.session_id', 'no uuid'), ('plinth.job', 'forged'), ('plinth.client_ip', '192.0.2.9')) s (name, value)`;
    await withClient(db.url("analyst"), async (client) => {
      await client.query("insert into shop.orders values (3)");
      const plain = {
        actor_kind: "database_role",
        source: role("analyst"),
        acting_role: role("analyst"),
        has_ignored_claims: false,
      };
      expect(await lastChange("shop.orders")).toEqual(plain);
      await client.query(`${claims}; set plinth.migration = 'forged'`);
      await client.query("insert into shop.orders values (4)");
      expect(await lastChange("shop.orders")).toEqual({ ...plain, has_ignored_claims: true });
    });
    await withClient(db.url("owner"), async (client) => {
      await client.query(claims);
      await client.query("insert into shop.orders values (5)");
      const plain = {
        actor_kind: "database_role",
        source: role("owner"),
        acting_role: role("owner"),
        has_ignored_claims: true,
      };
      expect(await lastChange("shop.orders")).toEqual(plain);
      await client.query(`set role "${role("user")}"`);
      await client.query(
        `set jwt.claims.session_id = ''; update identity.user_settings set display_name = 'forged'`,
      );
      expect(await lastChange("identity.user_settings")).toEqual({ ...plain, acting_role: role("user") });
    });
    const addresses = await asOwner("select from security.audit_trail where ip_address = '192.0.2.9'");
    expect(addresses).toEqual([]);
  });

  test("is shown to administrators, who filter by it", async () => {
    const admin = await signUp(api, "admin");
    await grantRole(db, admin.userId, "admin");
    const query = `{
      auditTrails(filter: { actorKind: { equalTo: api_token } }) {
        nodes { actorKind actingRole apiTokenId sessionId jobName migration hasIgnoredClaims actor { username } }
      }
      securityAuditLogs(filter: { jobName: { equalTo: "ensure-partitions" } }) { nodes { actorKind jobName eventType } }
    }`;
    const { token } = await signIn(api, "admin");
    const { data, text } = await api.ask(query, { token });
    expect({ text, nodes: data?.auditTrails.nodes }).toMatchObject({
      nodes: [
        {
          actorKind: "api_token",
          actingRole: role("user"),
          apiTokenId: expect.any(String),
          sessionId: null,
          jobName: null,
          migration: null,
          hasIgnoredClaims: false,
          actor: { username: "ada" },
        },
      ],
    });
    expect(data?.securityAuditLogs.nodes).toContainEqual({
      actorKind: "job",
      jobName: "ensure-partitions",
      eventType: "account_deleted",
    });
  });
});
