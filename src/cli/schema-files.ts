import { existsSync } from "node:fs";
import type pg from "pg";
import type { Application } from "../application/application.ts";
import { DEFAULT_ROLE_PREFIX } from "../config/roles.ts";
import { COMPAT_FOLDER } from "../database/compat/systems.ts";
import { withConnection } from "../database/connection.ts";
import type { EmbeddedServer } from "../database/embedded/server.ts";
import { functionFixtures } from "../database/fixtures.ts";
import { migrateDatabase } from "../database/migrate.ts";
import { SCHEMAS } from "../database/schemas.ts";
import { findUserDataGaps, type UserDataGap } from "../database/user-data-gaps.ts";
import { withAlternativeBodies } from "../drift/alternative-bodies.ts";
import { applicationPart, schemaFolderOf } from "../drift/application-snapshot.ts";
import { generateCompatCatalogues } from "../drift/compat-catalogues.ts";
import { readCatalogue } from "../drift/read-catalogue.ts";
import { SNAPSHOT_FILE, snapshotText } from "../drift/snapshot.ts";
import { listSchemas } from "../schema-dump/catalog.ts";
import { clientTypes } from "../schema-dump/client-types.ts";
import { dumpSchema } from "../schema-dump/dump.ts";
import { printGraphqlSchema } from "../schema-dump/graphql-schema.ts";
import { dumpFiles, type SchemaFiles } from "../schema-dump/schema-files.ts";
import { CLIENT_SCHEMA_FOLDER, MIGRATIONS_FOLDER, SCHEMA_FOLDER } from "../support/paths.ts";
import { withMigratedServer } from "./migrated-server.ts";
import { showProgress } from "./progress/progress.ts";

const rolePrefix = DEFAULT_ROLE_PREFIX;

export interface GeneratedFiles {
  /** The files by folder; an installed package has no folder of the client. */
  readonly folders: ReadonlyMap<string, SchemaFiles>;
  /** The gaps of an application's tables. */
  readonly gaps?: readonly UserDataGap[];
}

/**
 * Generates the files that show the schema by running all migrations on a temporary embedded server: those of the application's own
 * schemas, if it has migrations, otherwise Plinth's with the types of its client.
 */
export async function generateSchemaFiles(application: Application): Promise<GeneratedFiles> {
  const { migrations } = application;
  return withMigratedServer(async (server) => {
    if (migrations !== undefined)
      return {
        folders: new Map([
          [schemaFolderOf(migrations), await filesOfApplication(server, application, migrations)],
        ]),
        gaps: await withConnection({ connectionString: server.url("owner") }, findUserDataGaps),
      };
    const files = await filesOfPlinth(server);
    const folders = new Map<string, SchemaFiles>([
      [SCHEMA_FOLDER, files],
      [COMPAT_FOLDER, await filesOfCompatSchemas(server)],
    ]);
    if (existsSync(CLIENT_SCHEMA_FOLDER)) {
      const types = clientTypes(files.get("schema.graphql")!);
      folders.set(CLIENT_SCHEMA_FOLDER, new Map([["introspection.ts", types]]));
    }
    return { folders };
  });
}

async function filesOfPlinth(server: EmbeddedServer): Promise<Map<string, string>> {
  const fixtures = await functionFixtures(MIGRATIONS_FOLDER);
  const { dump, catalogue } = await withConnection(
    { connectionString: server.url("owner") },
    async (client) => ({
      dump: await dumpSchema(client, { rolePrefix, fixtures }),
      catalogue: await readCatalogue(client, rolePrefix),
    }),
  );
  showProgress({ step: "Printing the GraphQL schema" });
  const authenticatorUrl = server.url("authenticator");
  return dumpFiles(dump)
    .set(SNAPSHOT_FILE, snapshotText(await withAlternativeBodies(catalogue, MIGRATIONS_FOLDER)))
    .set("schema.graphql", await printGraphqlSchema({ authenticatorUrl, rolePrefix }));
}

/** The expected state of each compatibility schema, which is in no other file. */
async function filesOfCompatSchemas(server: EmbeddedServer): Promise<SchemaFiles> {
  showProgress({ step: "Reading the compatibility schemas" });
  const ownerUrl = server.url("owner");
  return withConnection({ connectionString: ownerUrl }, (client) =>
    generateCompatCatalogues(client, { ownerUrl, rolePrefix, adminUrl: server.superuserUrl() }),
  );
}

/** The GraphQL schema is the whole API's, which the application's clients use. */
async function filesOfApplication(
  server: EmbeddedServer,
  application: Application,
  migrations: string,
): Promise<SchemaFiles> {
  const fixtures = await functionFixtures(migrations);
  const ownerUrl = server.url("owner");
  const readBoth = async (client: pg.Client) => {
    const schemas = (await listSchemas(client)).filter((name) => !SCHEMAS.some((each) => each === name));
    return { schemas, catalogue: await readCatalogue(client, rolePrefix, [...SCHEMAS, ...schemas]) };
  };
  const { dump, catalogue } = await withConnection({ connectionString: ownerUrl }, async (client) => {
    const before = await readBoth(client);
    await migrateDatabase({ ownerUrl, rolePrefix, applicationMigrations: migrations });
    const after = await readBoth(client);
    return {
      dump: await dumpSchema(client, { rolePrefix, schemas: after.schemas, fixtures }),
      catalogue: applicationPart(before.catalogue, after.catalogue),
    };
  });
  showProgress({ step: "Printing the GraphQL schema" });
  const authenticatorUrl = server.url("authenticator");
  return dumpFiles(dump)
    .set(SNAPSHOT_FILE, snapshotText(await withAlternativeBodies(catalogue, migrations)))
    .set("schema.graphql", await printGraphqlSchema({ authenticatorUrl, rolePrefix, application }));
}
