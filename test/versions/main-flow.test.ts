import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { examineDatabase } from "../../src/cli/doctor/doctor.ts";
import { loadConfig } from "../../src/config/config.ts";
import { LOGIN_ROLES, type LoginRole, roleName } from "../../src/config/roles.ts";
import { openDatabase } from "../../src/database/database.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import { createScratchDatabase, type ScratchDatabase } from "../../src/database/scratch-database.ts";
import { QUEUES } from "../../src/jobs/index.ts";
import { DOMAINS } from "../../src/schema-docs/domains.ts";
import { readPageData } from "../../src/schema-docs/read-page-data.ts";
import { databaseEnv } from "../cli/run-cli.ts";
import { type Api, ask, codeOf, type SignedIn, signIn, signUp, startApi } from "../support/api.ts";
import { copyDatabase } from "../support/copy-of-database.ts";
import { expectSqlState, testSetup, withClient } from "../support/database.ts";
import { findPgDump } from "../support/pg-dump.ts";
import { hasPrograms } from "../support/postgres-programs.ts";
import { pageDataOf } from "../support/schema-page.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

// The other tests run on one server. These use the oldest supported version and a container beside it, where there are any.

const PERMISSION_DENIED = "42501";

const runMajor = await withClient(testSetup().adminUrl, async (client) => {
  const { rows } = await client.query<{ major: number }>(
    "select current_setting('server_version_num')::integer / 10000 as major",
  );
  return rows[0]!.major;
});

/** Programs that can read each version: older ones refuse a newer server. */
const pgDump = new Map([[15, await findPgDump(15)]]);

interface Place {
  readonly name: string;
  readonly isHere: boolean;
  readonly missing: string;
  readonly major: number;
  start(): Promise<TestServer>;
}

const PLACES: readonly Place[] = [
  {
    name: "PostgreSQL 15",
    isHere: hasPrograms(15),
    missing: "its programs are not installed",
    major: 15,
    start: () => startTestServer({ TEST_POSTGRES_VERSION: "15" }),
  },
  {
    name: "a container",
    isHere: spawnSync("docker", ["info"], { stdio: "ignore", timeout: 10_000 }).status === 0,
    missing: "no engine answers",
    major: 18,
    start: () => startTestServer({ TEST_DATABASE: "testcontainers" }),
  },
];

for (const { name, isHere, missing, major, start } of PLACES)
  (isHere ? describe : describe.skip)(`on ${name}${isHere ? "" : ` (${missing})`}`, () => {
    const resources = new AsyncDisposableStack();
    let db: ScratchDatabase;
    let api: Api;
    let ada: SignedIn;
    let chatId: string;

    beforeAll(async () => {
      const server = await start();
      resources.defer(() => server.stop());
      db = await createScratchDatabase(server.adminUrl);
      resources.defer(() => db.drop());
    });
    afterAll(() => resources.disposeAsync());

    const migration = () => ({ ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, queues: QUEUES });
    const as = (role: LoginRole, sql: string) => withClient(db.url(role), (client) => client.query(sql));
    const title = async (token: string | undefined) =>
      (await ask(api.url, `{ chat(id: "${chatId}") { title } }`, { token })).data.chat;

    test("migrates as an owner without rights on the server", async () => {
      const { applied } = await migrateDatabase(migration());
      expect(applied.length).toBeGreaterThan(20);
      const { rows } = await as(
        "owner",
        `select rolsuper as is_superuser, current_setting('server_version_num')::integer / 10000 as major
         from pg_roles where rolname = current_user`,
      );
      expect(rows).toEqual([{ is_superuser: false, major }]);
    });

    test("has the same page of the schema as the server of the other tests", async () => {
      const page = await withClient(db.url("owner"), (client) =>
        readPageData(client, { title: "Plinth", domains: DOMAINS, rolePrefix: db.rolePrefix }),
      );
      expect(page).toEqual(pageDataOf());
    });

    test("lets each role sign in, and none but the owner read accounts or change a table", async () => {
      for (const role of LOGIN_ROLES) {
        const { rows } = await as(role, "select current_user::text as name");
        expect(rows).toEqual([{ name: roleName(db.rolePrefix, role) }]);
        if (role === "owner") continue;
        await expectSqlState(as(role, "select from private.user_passwords"), PERMISSION_DENIED);
        await expectSqlState(as(role, "select email from identity.users"), PERMISSION_DENIED);
        await expectSqlState(as(role, "alter table identity.users add column x text"), PERMISSION_DENIED);
      }
    });

    test("serves sign-up, a chat, and a token that reads only, to their owner alone", async () => {
      api = await startApi({ ...db, adminUrl: db.url("owner"), adminIsSuperuser: false });
      resources.defer(() => api.close());
      ada = await signUp(api, "ada");
      const eve = await signUp(api, "eve");
      const create = 'mutation { createChat(input: { chat: { title: "Ada\'s chat" } }) { chat { id } } }';
      chatId = (await api.ask(create, { token: ada.token })).data.createChat.chat.id;
      const message = (id: string) =>
        `mutation { createMessage(input: { message: { chatId: "${id}", role: user, content: "hello" } }) { message { content } } }`;
      expect((await api.ask(message(chatId), { token: ada.token })).data.createMessage.message).toEqual({
        content: "hello",
      });
      expect(codeOf(await api.ask(message(chatId), { token: eve.token }))).toMatch(
        /NOT_FOUND|BAD_USER_INPUT/,
      );

      const issued = await api.ask(
        'mutation { createApiToken(input: { name: "script", scopes: [read] }) { token } }',
        { token: ada.token },
      );
      const { token } = issued.data.createApiToken;
      expect(await Promise.all([ada.token, token, eve.token, undefined].map(title))).toEqual([
        { title: "Ada's chat" },
        { title: "Ada's chat" },
        null,
        null,
      ]);
      expect(codeOf(await api.ask(create, { token }))).toBe("FORBIDDEN");
    });

    test("rolls the latest migration back, migrates again and keeps the data", async () => {
      const { rolledBack } = await rollback({ ...migration(), steps: 1 });
      expect((await migrateDatabase(migration())).applied).toEqual(rolledBack);
      expect(await title(ada.token)).toEqual({ title: "Ada's chat" });
    });

    const expectHealthy = async (database: ScratchDatabase) => {
      const config = loadConfig(databaseEnv(database));
      const findings = await examineDatabase(config, await openDatabase(config));
      expect(findings.filter(({ status }) => status === "fail")).toEqual([]);
      expect(findings.filter(({ status }) => status === "ok").length).toBeGreaterThan(10);
    };

    test("satisfies the doctor", () => expectHealthy(db));

    const programs = major < runMajor ? pgDump.get(major) : undefined;
    const reason = major < runMajor ? "pg_dump is not installed" : "that version is not newer";
    (programs ? test : test.skip)(
      `moves to the version of the other tests with pg_dump and pg_restore${programs ? "" : ` (${reason})`}`,
      async () => {
        const copy = await copyDatabase(programs!, db, testSetup().adminUrl);
        let moved: Api | undefined;
        try {
          await expectHealthy(copy);
          moved = await startApi({ ...copy, adminUrl: copy.url("owner"), adminIsSuperuser: false });
          const again = await signIn(moved, "ada");
          expect(again.userId).toBe(ada.userId);
          const read = (token: string) =>
            ask(moved!.url, `{ chat(id: "${chatId}") { title messages { nodes { content } } } }`, { token });
          const chat = { title: "Ada's chat", messages: { nodes: [{ content: "hello" }] } };
          // Also with a token that the other server issued.
          for (const token of [again.token, ada.token]) expect((await read(token)).data.chat).toEqual(chat);
          const eve = await signIn(moved, "eve");
          expect((await read(eve.token)).data.chat).toBeNull();
        } finally {
          await moved?.close();
          await copy.drop();
        }
      },
    );
  });
