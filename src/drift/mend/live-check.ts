import type pg from "pg";
import type { Application } from "../../application/application.ts";
import { ALL_ROLES, roleName } from "../../config/roles.ts";
import { MIGRATIONS_FOLDER } from "../../support/paths.ts";
import { titleOf } from "../catalogue.ts";
import type { Difference } from "../compare.ts";
import { isDangerous } from "../danger.ts";
import { describeDifference } from "../describe.ts";
import { withPartitions } from "../partitions.ts";
import { findOwner } from "../read-catalogue.ts";
import { type Drift, readDrift } from "../read-drift.ts";
import { readDependencies } from "./dependencies.ts";
import { mendDifferences } from "./mend.ts";
import type { ObjectStep } from "./order.ts";
import { mendRoles } from "./roles.ts";
import { readSqlSource } from "./sql-source.ts";

/** An object that is not as the migrations make it. */
export interface ReportedDifference {
  readonly object: string;
  readonly description: string;
  /** Whether it may give or take access, or change results. */
  readonly dangerous: boolean;
}

export interface MendStatement {
  /** Empty for a remark about what no statement can mend. */
  readonly sql: string;
  readonly object: string;
  readonly needsAdministrator: boolean;
  /** Why a person must decide about the statement. */
  readonly decide?: string;
}

export interface LiveCheck {
  readonly database: string;
  readonly owner: string;
  readonly differences: readonly ReportedDifference[];
  /** In an order that runs in one transaction. */
  readonly statements: readonly MendStatement[];
  readonly hasApplicationSnapshot: boolean;
}

/**
 * Compares a database with what its migrations make, and returns the statements that would mend it. Reads only the system catalogues,
 * so any role may call it, and changes nothing. Undefined for a database without tables.
 */
export async function checkLive(
  client: pg.ClientBase,
  rolePrefix: string,
  { migrations }: Pick<Application, "migrations"> = {},
): Promise<LiveCheck | undefined> {
  const drift = await readDrift(client, rolePrefix, { migrations });
  if (!drift) return undefined;
  const { differences, hasApplicationSnapshot } = drift;
  const ofCompat = differences.filter(({ object }) => drift.isOfCompat(object));
  const others = differences.filter(({ object }) => !drift.isOfCompat(object));
  const { database, owner } = await readNames(client);
  const named = withRoleNames(rolePrefix, owner);
  const roles = await mendRoles(client, rolePrefix);
  const folders = [MIGRATIONS_FOLDER, ...(migrations === undefined ? [] : [migrations])];
  const steps = others.length === 0 ? [] : await mendDrift(client, drift, others, { folders, database });
  return {
    database,
    owner,
    hasApplicationSnapshot,
    differences: [
      ...roles.map(({ title, description }) => ({
        object: title,
        description: `${title}: ${description}`,
        dangerous: true,
      })),
      ...differences.map((difference) => ({
        object: named(titleOf(difference.object)),
        description: named(describeDifference(difference)),
        dangerous: isDangerous(difference),
      })),
    ],
    statements: [
      ...roles.flatMap(({ title, statements }) =>
        statements.map((sql) => ({ sql, object: title, needsAdministrator: true })),
      ),
      ...ofCompat.slice(0, 1).map(({ object }) => ({
        sql: "",
        object: named(titleOf(object)),
        needsAdministrator: false,
        decide: ENABLE_COMPAT,
      })),
      ...steps.map(({ sql, object, phase, manual }) => ({
        sql: named(sql),
        object: named(titleOf(object)),
        needsAdministrator: phase === "administrator",
        ...(manual && { decide: named(manual) }),
      })),
    ],
  };
}

/** Their files are no migrations, and are run as a whole. */
const ENABLE_COMPAT =
  "Run plinth compat enable, which makes all objects of the compatibility schemas again; no statement below does.";

async function mendDrift(
  client: pg.ClientBase,
  { expected, found }: Drift,
  differences: readonly Difference[],
  { folders, database }: { readonly folders: readonly string[]; readonly database: string },
): Promise<ObjectStep[]> {
  return mendDifferences(differences, {
    expected: withPartitions(expected, found),
    found,
    source: await readSqlSource(folders),
    dependencies: await readDependencies(client),
    database,
  });
}

async function readNames(client: pg.ClientBase): Promise<{ database: string; owner: string }> {
  const { rows } = await client.query<{ database: string; owner: string }>(
    "select quote_ident(current_database()) as database, $1::oid::regrole::text as owner",
    [await findOwner(client)],
  );
  return rows[0]!;
}

/** Replaces the placeholders of migrations. */
function withRoleNames(rolePrefix: string, owner: string): (text: string) => string {
  const names = new Map<string, string>(
    ALL_ROLES.map((role) => [role.toUpperCase(), role === "owner" ? owner : roleName(rolePrefix, role)]),
  );
  return (text) =>
    text.replaceAll(/:PLINTH_([A-Z]+)\b/gi, (found, role: string) => names.get(role.toUpperCase()) ?? found);
}
