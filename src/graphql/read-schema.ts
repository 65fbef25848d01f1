import "../support/graphile-env.ts";
import { pino } from "pino";
import { makeSchema } from "postgraphile";
import type { GraphQLSchema } from "postgraphile/graphql";
import type { Application } from "../application/application.ts";
import type { Config } from "../config/config.ts";
import { roleName } from "../config/roles.ts";
import { assertSchemasUsable } from "../request/application-schemas.ts";
import { assertDatabaseReady } from "../request/database-state.ts";
import { createPool } from "../request/pool.ts";
import { explainConflicts } from "./name-conflict.ts";
import { makePreset } from "./preset.ts";

/**
 * Builds the API's GraphQL schema without a server, to print it or to validate documents.
 * @throws PlinthError DATABASE_UNREACHABLE, NOT_MIGRATED, SCHEMA_MISSING, SCHEMA_CLOSED, NAME_CONFLICT
 */
export async function readSchema(
  config: Config,
  authenticatorUrl: string,
  application: Application = {},
): Promise<GraphQLSchema> {
  const pool = createPool({
    url: authenticatorUrl,
    applicationName: "plinth-schema",
    max: 1,
    settings: config.pool,
    onError: () => {},
  });
  try {
    await assertDatabaseReady(pool);
    await assertSchemasUsable(pool, application.schemas ?? [], roleName(config.rolePrefix, "user"));
    const preset = makePreset({ pool, config, application, logger: pino({ level: "silent" }) });
    const { schema } = await explainConflicts(application, () => makeSchema(preset));
    return schema;
  } finally {
    await pool.end();
  }
}
