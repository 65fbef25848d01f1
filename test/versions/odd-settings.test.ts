import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { examineDatabase } from "../../src/cli/doctor/doctor.ts";
import { loadConfig } from "../../src/config/config.ts";
import { openDatabase } from "../../src/database/database.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import { QUEUES, TIMETABLE } from "../../src/jobs/index.ts";
import { openWorkerDatabase } from "../../src/jobs/worker-database.ts";
import { SEED_OF_VIEWS } from "../analytics/seed.ts";
import { databaseEnv } from "../cli/run-cli.ts";
import { type Api, type SignedIn, signUp, startApi } from "../support/api.ts";
import { enableSystems } from "../support/compat.ts";
import { inTransaction, type TestDatabase, testSetup, withClient } from "../support/database.ts";
import { createOddDatabase } from "../support/odd-database.ts";
import { makeRandom, SEED } from "../support/random.ts";

// A database whose administrator has changed every setting that could matter, in one database of the server of the other tests.

const { adminIsSuperuser } = testSetup();

(adminIsSuperuser ? describe : describe.skip)(
  `in a database with unusual settings${adminIsSuperuser ? "" : " (only a superuser can create one)"}`,
  () => {
    let db: TestDatabase;
    let api: Api;
    let ada: SignedIn;
    let applied: readonly string[];

    beforeAll(async () => {
      db = await createOddDatabase();
      ({ applied } = await migrateDatabase(migration()));
      api = await startApi(db);
      ada = await signUp(api, "ada");
    });
    afterAll(async () => {
      await api?.close();
      await db.drop();
    });

    const migration = () => ({ ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, queues: QUEUES });
    const findings = async () => {
      const config = loadConfig(databaseEnv(db));
      return examineDatabase(config, await openDatabase(config));
    };

    test("migrations make the same objects, roll back and apply again", async () => {
      expect(applied.length).toBeGreaterThan(20);
      const { rolledBack } = await rollback({ ...migration(), steps: 1 });
      expect((await migrateDatabase(migration())).applied).toEqual(rolledBack);
      // Only settings that can change the meaning of policies and names count as changes of the schema.
      const failed = (await findings()).filter(({ status }) => status === "fail");
      expect(failed).toMatchObject([
        {
          check: "drift-access",
          details: ["row_security", "search_path"].map(
            (name) => `setting ${name} of the database: not created by the migrations`,
          ),
        },
      ]);
    });

    test("doctor warns about the settings that other programs would meet", async () => {
      const warned = (await findings()).filter(({ status }) => status === "warn").map(({ check }) => check);
      expect(warned).toEqual(
        expect.arrayContaining([
          "string-literals",
          "row-security-setting",
          "isolation",
          "password-encryption",
        ]),
      );
    });

    test("the API answers with times in UTC, exact numbers, and rows that policies allow", async () => {
      const create = `mutation { createChat(input: { chat: { title: "It\\\\'s" } }) { chat { id title createdAt } } }`;
      const { chat } = (await api.ask(create, { token: ada.token })).data.createChat;
      expect(chat.title).toBe("It\\'s");
      expect(chat.createdAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|\+00:00)$/);
      const eve = await signUp(api, "eve");
      const read = (token: string) => api.ask(`{ chat(id: "${chat.id}") { title } }`, { token });
      expect((await read(ada.token)).data.chat).toEqual({ title: "It\\'s" });
      expect((await read(eve.token)).data.chat).toBeNull();
    });

    test("requests that meet wait for each other instead of failing", async () => {
      const created = await api.ask(
        'mutation { createChat(input: { chat: { title: "busy" } }) { chat { id } } }',
        { token: ada.token },
      );
      const { id } = created.data.createChat.chat;
      const write = (content: number) =>
        api.ask(
          `mutation { createMessage(input: { message: { chatId: "${id}", role: user, content: "${content}" } }) { message { id } } }`,
          { token: ada.token },
        );
      const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => write(i)));
      expect(answers.flatMap(({ errors }) => errors ?? [])).toEqual([]);
    });

    test("words of Plinth's own have ASCII letters in a Turkish database", async () => {
      await withClient(db.url("owner"), async (client) => {
        const { rows } = await client.query(
          `select lower('I') as turkish, private.mentioned_names('@IRIS and @Ilse') as names`,
        );
        expect(rows[0].turkish).toBe("ı");
        expect(rows.flatMap(({ names }) => names)).toEqual(["iris", "ilse"]);
      });
    });

    test("every job of the timetable succeeds", async () => {
      const worker = openWorkerDatabase(db.url("worker"), () => {});
      try {
        const failed: string[] = [];
        for (const { name, run } of TIMETABLE)
          await run({
            query: async (sql: string, values?: unknown[]) =>
              (await worker.runJobSql(sql, values, name)).rows,
            signal: new AbortController().signal,
            payload: {},
          } as never).catch((error: Error & { code?: string }) =>
            failed.push(`${name}: ${error.code} ${error.message}`),
          );
        expect(failed).toEqual([]);
      } finally {
        await worker.close();
      }
    });

    test("analysts read the same rows of each view with the odd settings and with the usual ones", async () => {
      await inTransaction(db.url("owner"), async (client) => {
        await client.query("set standard_conforming_strings = on; set transform_null_equals = off");
        await client.query("select setseed($1)", [makeRandom(SEED)(2_000) / 1_000 - 1]);
        await client.query(SEED_OF_VIEWS);
        await client.query("refresh materialized view analytics.content_popularity");
        await client.query("refresh materialized view analytics.subscription_metrics");
      });
      const odd = new pg.Client({ connectionString: db.url("analyst") });
      const usual = new pg.Client({ connectionString: db.url("analyst") });
      await Promise.all([odd.connect(), usual.connect()]);
      try {
        // The driver can read no other style.
        await odd.query("set datestyle = 'ISO'; set intervalstyle = 'postgres'; set extra_float_digits = 1");
        await usual.query(USUAL);
        const views = await usual.query<{ name: string }>(
          "select viewname as name from pg_views where schemaname = 'analytics' union select matviewname from pg_matviews where schemaname = 'analytics' order by 1",
        );
        expect(views.rows.length).toBeGreaterThan(20);
        for (const { name } of views.rows) {
          const read = async (client: pg.Client) => {
            const { rows } = await client.query(`select * from analytics.${name}`);
            return rows.map((row) => JSON.stringify(row)).sort();
          };
          // A view may change with the time: only what it showed before and after is what it showed between.
          let after = await read(odd);
          let [before, between]: string[][] = [[], []];
          do {
            before = after;
            between = await read(usual);
            after = await read(odd);
          } while (JSON.stringify(before) !== JSON.stringify(after));
          expect({ name, rows: after }).toEqual({ name, rows: between });
        }
      } finally {
        await Promise.all([odd.end(), usual.end()]);
      }
    });

    test("compatibility schemas are created, and their views can be read", async () => {
      await enableSystems(db);
      const failed = (await findings()).filter(({ status }) => status === "fail");
      expect(failed.map(({ check }) => check)).toEqual(["drift-access"]);
      await withClient(db.url("application"), async (client) => {
        const { rows } = await client.query<{ name: string }>(
          `select format('%I.%I', n.nspname, c.relname) as name
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
           where n.nspname like 'compat!_%' escape '!' and c.relkind = 'v' and has_table_privilege(c.oid, 'select')`,
        );
        expect(rows.length).toBeGreaterThan(20);
        for (const { name } of rows) await client.query(`select * from ${name}`);
      });
    });
  },
);

/** The settings of the views' definitions, as Plinth's own connections set them. */
const USUAL = `
  set default_transaction_isolation = 'read committed'; set row_security = on; set standard_conforming_strings = on;
  set transform_null_equals = off; set array_nulls = on; set timezone = 'UTC'; set timezone_abbreviations = 'Default';
  set datestyle = 'ISO'; set intervalstyle = 'postgres'; set bytea_output = 'hex'; set extra_float_digits = 1;
  set default_text_search_config = 'pg_catalog.simple'; set plan_cache_mode = auto; set search_path = ''`;
