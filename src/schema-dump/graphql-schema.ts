import { lexicographicSortSchema, printSchema } from "postgraphile/graphql";
import type { Application } from "../application/application.ts";
import { loadConfig } from "../config/config.ts";
import { readSchema } from "../graphql/read-schema.ts";

/**
 * Returns the GraphQL schema as sorted text, so that a change in the database appears only where it belongs. The text depends only
 * on the migrations and the application, not on settings in the environment.
 * @throws PlinthError DATABASE_UNREACHABLE, NOT_MIGRATED
 */
export async function printGraphqlSchema(options: {
  authenticatorUrl: string;
  rolePrefix: string;
  application?: Application | undefined;
}): Promise<string> {
  const { authenticatorUrl, rolePrefix, application } = options;
  const schema = await readSchema({ ...loadConfig({}), rolePrefix }, authenticatorUrl, application);
  return `${printSchema(lexicographicSortSchema(schema))}\n`;
}
