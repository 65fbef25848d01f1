import { existsSync } from "node:fs";
import { DEFAULT_ROLE_PREFIX } from "../config/roles.ts";
import { withConnection } from "../database/connection.ts";
import type { EmbeddedServer } from "../database/embedded/server.ts";
import { functionFixtures } from "../database/fixtures.ts";
import { withAlternativeBodies } from "../drift/alternative-bodies.ts";
import { readCatalogue } from "../drift/read-catalogue.ts";
import { SNAPSHOT_FILE, snapshotText } from "../drift/snapshot.ts";
import { clientTypes } from "../schema-dump/client-types.ts";
import { dumpSchema } from "../schema-dump/dump.ts";
import { printGraphqlSchema } from "../schema-dump/graphql-schema.ts";
import { dumpFiles, type SchemaFiles } from "../schema-dump/schema-files.ts";
import { CLIENT_SCHEMA_FOLDER, MIGRATIONS_FOLDER, SCHEMA_FOLDER } from "../support/paths.ts";
import { withMigratedServer } from "./migrated-server.ts";

/**
 * Generates the files of migrations/schema/ and client/schema/ by running all migrations on a temporary embedded server.
 * @returns them by folder; an installed package has no folder of the client
 */
export async function generateSchemaFiles(): Promise<ReadonlyMap<string, SchemaFiles>> {
  const files = await withMigratedServer(generateOn);
  const folders = new Map<string, SchemaFiles>([[SCHEMA_FOLDER, files]]);
  if (existsSync(CLIENT_SCHEMA_FOLDER)) {
    const types = clientTypes(files.get("schema.graphql")!);
    folders.set(CLIENT_SCHEMA_FOLDER, new Map([["introspection.ts", types]]));
  }
  return folders;
}

async function generateOn(server: EmbeddedServer): Promise<Map<string, string>> {
  const rolePrefix = DEFAULT_ROLE_PREFIX;
  const fixtures = await functionFixtures(MIGRATIONS_FOLDER);
  const { dump, catalogue } = await withConnection(
    { connectionString: server.url("owner") },
    async (client) => ({
      dump: await dumpSchema(client, { rolePrefix, fixtures }),
      catalogue: await readCatalogue(client, rolePrefix),
    }),
  );
  const authenticatorUrl = server.url("authenticator");
  return dumpFiles(dump)
    .set(SNAPSHOT_FILE, snapshotText(await withAlternativeBodies(catalogue, MIGRATIONS_FOLDER)))
    .set("schema.graphql", await printGraphqlSchema({ authenticatorUrl, rolePrefix }));
}
