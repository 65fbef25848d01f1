/**
 * Building blocks of PostGraphile plugins, `plinth/graphile`. An application imports them from here, because its plugins must
 * use the same copy of each package as Plinth's.
 */
import "../support/graphile-env.ts";

export { TYPES } from "@dataplan/pg";
export * from "grafast";
export type { ObjectPlan } from "graphile-utils";
export * from "graphile-utils";
export { type SQL, sql } from "pg-sql2";
