import { lexicographicSortSchema, printSchema } from "graphql";
import { loadConfig } from "../config/config.ts";
import { readSchema } from "../graphql/read-schema.ts";

/**
 * Returns the GraphQL schema as sorted text, so that a change in the database appears only where it belongs. The text depends only
 * on the migrations, not on settings in the environment.
 * @throws PlinthError DATABASE_UNREACHABLE, NOT_MIGRATED
 */
export async function printGraphqlSchema(options: {
  authenticatorUrl: string;
  rolePrefix: string;
}): Promise<string> {
  const { authenticatorUrl, rolePrefix } = options;
  const schema = await readSchema({ ...loadConfig({}), rolePrefix }, authenticatorUrl);
  return `${printSchema(lexicographicSortSchema(schema))}\n`;
}
