import "../graphql/graphile-env.ts";
import { type Logger, pino } from "pino";
import { makeSchema } from "postgraphile";
import { lexicographicSortSchema, printSchema } from "postgraphile/graphql";
import { loadConfig } from "../config/config.ts";
import { makePreset } from "../graphql/preset.ts";
import { assertDatabaseReady } from "../request/database-state.ts";
import { createPool } from "../request/pool.ts";

/**
 * Returns the GraphQL schema as sorted text, so that a change in the database appears only where it belongs. The text depends only
 * on the migrations, not on settings in the environment.
 * @throws PlinthError DATABASE_UNREACHABLE, NOT_MIGRATED
 */
export async function printGraphqlSchema(options: {
  authenticatorUrl: string;
  rolePrefix: string;
}): Promise<string> {
  const { authenticatorUrl: url, rolePrefix } = options;
  const config = { ...loadConfig({}), rolePrefix };
  const logger: Logger = pino({ level: "silent" });
  const pool = createPool({
    url,
    applicationName: "plinth-schema",
    max: 1,
    settings: config.pool,
    onError: () => {},
  });
  try {
    await assertDatabaseReady(pool);
    const { schema } = await makeSchema(makePreset({ pool, config, logger }));
    return `${printSchema(lexicographicSortSchema(schema))}\n`;
  } finally {
    await pool.end();
  }
}
