import { createServer, type Server } from "node:http";
import pg from "pg";
import type { CheckGroup, DoctorContext, Finding } from "../../../src/cli/doctor/check.ts";
import { loadConfig } from "../../../src/config/config.ts";
import { roleName, rolePlaceholders } from "../../../src/config/roles.ts";
import { openDatabase } from "../../../src/database/database.ts";
import { migrateDatabase } from "../../../src/database/migrate.ts";
import { databaseUrl, type ScratchDatabase } from "../../../src/database/scratch-database.ts";
import { QUEUES } from "../../../src/jobs/index.ts";
import { createEmptyTestDatabase, testSetup } from "../../support/database.ts";
import { startSmtpServer, type TestSmtpServer } from "../../support/smtp.ts";
import { databaseEnv } from "../run-cli.ts";

/** A way in which an installation breaks. */
export interface Broken {
  readonly title: string;
  readonly group: CheckGroup;
  readonly check: string;
  readonly status?: "warn" | "fail";
  /** A part of the finding that says what is wrong. */
  readonly says: RegExp;
  /** Breaks it as a superuser, in a transaction that is rolled back; with placeholders for roles. */
  readonly sql?: string | (() => string);
  /** Breaks it outside the transaction. @returns how to mend it */
  readonly broken?: () => Promise<() => Promise<unknown>>;
  /** Settings that differ. */
  readonly env?: () => Record<string, string>;
  /** Shortens the patience of a check. */
  readonly patience?: RegExp;
  /** The server's answer; for things that a test cannot break. */
  readonly reading?: Record<string, unknown>;
  readonly context?: Partial<DoctorContext>;
}

/** A database with roles of its own, which is broken, examined and mended, and the services that it uses. */
export class Installation {
  db!: ScratchDatabase;
  /** As a superuser. */
  admin!: pg.Client;
  smtp!: TestSmtpServer;
  /** A sign-in provider that names another issuer. */
  issuer!: Server;
  readonly #connections: pg.Client[] = [];

  async open(): Promise<void> {
    this.db = await createEmptyTestDatabase();
    const { db } = this;
    await migrateDatabase({ ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, queues: QUEUES });
    this.admin = new pg.Client({ connectionString: databaseUrl(testSetup().adminUrl, db.name) });
    await this.admin.connect();
    // As many as are wanted, also if a month begins during the tests.
    await this.admin.query("select private.ensure_partitions(4)");
    this.smtp = await startSmtpServer({
      authOptional: false,
      onAuth: (_auth, _session, callback) => callback(new Error("wrong password")),
      allowInsecureAuth: true,
    });
    this.issuer = createServer((_request, response) => {
      response.end(JSON.stringify({ issuer: "https://another.example.com" }));
    }).listen(0, "127.0.0.1");
  }

  async close(): Promise<void> {
    this.issuer.close();
    await this.smtp.close();
    await this.admin.end();
    await this.db.drop();
  }

  env(): Record<string, string> {
    return databaseEnv(this.db);
  }

  /** A connection as the owner, which ends with the examination. */
  async owner(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.db.url("owner") });
    client.on("error", () => {});
    await client.connect();
    this.#connections.push(client);
    return client;
  }

  /** The URL of a role with another user, database or port. */
  url(role: Parameters<ScratchDatabase["url"]>[0], changes: Partial<URL>): string {
    return Object.assign(new URL(this.db.url(role)), changes).href;
  }

  /** As if the database were external. */
  get external(): Partial<DoctorContext> {
    const url = (role: never) => this.db.url(role);
    return { database: { kind: "external", url } as unknown as DoctorContext["database"] };
  }

  async findingsOf(broken: Broken): Promise<Finding[]> {
    const { admin } = this;
    const config = loadConfig({ ...this.env(), ...broken.env?.() });
    const database = { ...(await openDatabase(config)), kind: "embedded" as const };
    const mend = await broken.broken?.();
    await admin.query("begin");
    try {
      const sql = typeof broken.sql === "function" ? broken.sql() : broken.sql;
      if (sql) await admin.query(this.#inSql(sql));
      return await broken.group({
        role: "owner",
        freeSpace: async () => ({ free: 50e9, size: 100e9 }),
        config,
        database,
        client: altered(admin, broken),
        ...broken.context,
      });
    } finally {
      await admin.query("rollback");
      await mend?.();
      await Promise.all(this.#connections.splice(0).map((client) => client.end()));
    }
  }

  #inSql(text: string): string {
    const { rolePrefix } = this.db;
    const names = {
      ...rolePlaceholders(rolePrefix, roleName(rolePrefix, "owner")),
      ":PLINTH_STRANGER": `${rolePrefix}_stranger`,
    };
    return Object.entries(names).reduce(
      (sql, [placeholder, name]) => sql.replaceAll(placeholder, name),
      text,
    );
  }
}

/** A client whose statements have less patience, or whose first row has other values. */
function altered(client: pg.Client, { patience, reading }: Broken): pg.Client {
  const query = async (text: string, values?: unknown[]) => {
    const result = await client.query(patience ? text.replaceAll(patience, "interval '0'") : text, values);
    const row = result.rows[0];
    for (const name of Object.keys(reading ?? {})) if (row && name in row) row[name] = reading![name];
    return result;
  };
  return Object.assign(Object.create(client), { query });
}
