import pg from "pg";
import { runBootstrap } from "../../src/database/bootstrap.ts";
import { dropDatabase } from "../../src/database/drop-database.ts";
import { createScratchDatabase, databaseUrl } from "../../src/database/scratch-database.ts";
import { withClient } from "./client.ts";
import { type TestDatabase, testSetup } from "./test-database.ts";

/** Settings that a database administrator may have chosen, all unlike PostgreSQL's own. */
const ODD_SETTINGS: Readonly<Record<string, string>> = {
  default_transaction_isolation: "serializable",
  standard_conforming_strings: "off",
  escape_string_warning: "off",
  row_security: "off",
  transform_null_equals: "on",
  array_nulls: "off",
  timezone: "Australia/Lord_Howe",
  timezone_abbreviations: "Australia",
  datestyle: "German",
  intervalstyle: "sql_standard",
  bytea_output: "escape",
  extra_float_digits: "-10",
  quote_all_identifiers: "on",
  default_text_search_config: "pg_catalog.german",
  search_path: "odd, pg_catalog",
  jit: "on",
  synchronous_commit: "off",
  password_encryption: "md5",
  default_table_access_method: "heap",
  plan_cache_mode: "force_generic_plan",
  check_function_bodies: "off",
  client_min_messages: "debug1",
  xmloption: "document",
};

/** Settings whose value a server may lack: messages in German (whose catalogues are a package), compression (chosen at the build). */
const WHERE_KNOWN: Readonly<Record<string, string>> = {
  lc_messages: "de_DE.UTF-8",
  lc_numeric: "de_DE.UTF-8",
  default_toast_compression: "lz4",
};

/**
 * An empty database with roles of its own in which everything is unusual: settings, a Turkish locale (whose lower case of I is ı), and no
 * schema `public`. Needs a superuser.
 */
export async function createOddDatabase(): Promise<TestDatabase> {
  const { adminUrl, rolePrefix: family } = testSetup();
  const db = await createScratchDatabase(adminUrl, family);
  const name = pg.escapeIdentifier(db.name);
  const ownUrl = databaseUrl(adminUrl, db.name);
  await withClient(adminUrl, async (client) => {
    await dropDatabase(client, db.name);
    await client.query(
      `create database ${name} template template0 encoding 'UTF8' locale 'C' locale_provider icu icu_locale 'tr-TR'`,
    );
    for (const [setting, value] of Object.entries(ODD_SETTINGS))
      await client.query(`alter database ${name} set ${setting} = ${listed(value)}`);
    for (const [setting, value] of Object.entries(WHERE_KNOWN))
      await client.query(`alter database ${name} set ${setting} = '${value}'`).catch(() => {});
  });
  await withClient(ownUrl, async (client) => {
    await client.query("drop schema public");
    await runBootstrap(client, { prefix: db.rolePrefix, ownerIsCurrentUser: false });
  });
  return { ...db, adminUrl: ownUrl, adminIsSuperuser: true };
}

/** Each name of a list by itself, as search_path needs. */
function listed(value: string): string {
  return value
    .split(", ")
    .map((each) => `'${each}'`)
    .join(", ");
}
