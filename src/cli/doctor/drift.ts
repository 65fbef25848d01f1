import { ALL_ROLES, roleName } from "../../config/roles.ts";
import { type CatalogueObject, titleOf } from "../../drift/catalogue.ts";
import type { Difference } from "../../drift/compare.ts";
import { isDangerous } from "../../drift/danger.ts";
import { describeDifference } from "../../drift/describe.ts";
import { readDrift } from "../../drift/read-drift.ts";
import { oneLine } from "../output.ts";
import { type CheckGroup, type Finding, fail, ok, warn } from "./check.ts";

/** A check of the differences that belong to it. */
interface DriftCheck {
  readonly check: string;
  readonly fine: string;
  readonly message: string;
  readonly hint: string;
}

const PRINTED = "plinth schema check --live prints the statements";

const CHECKS = {
  access: {
    check: "drift-access",
    fine: "Policies, grants and settings of roles match the migrations.",
    message: "Policies, grants or settings of roles differ from the migrations.",
    hint: `Undo the change, or run the statements of the table's fixture (migrations/fixtures/*/policies/) again as the owner; ${PRINTED}.`,
  },
  functions: {
    check: "drift-functions",
    fine: "Functions match the migrations.",
    message: "Functions differ from the migrations.",
    hint: `Run the function's fixture (migrations/fixtures/*/functions/ or private/) again as the owner; ${PRINTED}.`,
  },
  structure: {
    check: "drift-structure",
    fine: "Tables, views, constraints, indexes and triggers match the migrations.",
    message: "Tables, views, constraints, indexes or triggers differ from the migrations.",
    hint: `Change them back as the owner (alter table …, enable trigger, reindex); ${PRINTED}.`,
  },
  extra: {
    check: "drift-extra",
    fine: "The schemas contain only objects of the migrations.",
    message: "Plinth's schemas or tables have objects that no migration creates.",
    hint: "Drop them, or move your own objects to a separate schema.",
  },
} as const satisfies Record<string, DriftCheck>;

/** Only for a database that has such schemas. */
const COMPAT: DriftCheck = {
  check: "drift-compat",
  fine: "Compatibility schemas are as plinth compat enable makes them.",
  message: "Compatibility schemas differ from what plinth compat enable makes.",
  hint: "Run plinth compat enable, which makes all of their objects again.",
};

const ACCESS_KINDS = ["grant", "revoke", "policy", "default privileges", "setting"];
const FUNCTION_KINDS = ["function", "procedure", "aggregate"];

/** Other checks name these: row-security and ownership. */
const CHECKED_ELSEWHERE = ["row security", "owner"];

const MOST_DETAILS = 50;

/**
 * Compares the database with what Plinth's migrations and the application's make. Reads only the system catalogues, so every role sees
 * all differences.
 */
export const checkDrift: CheckGroup = async ({ client, config, role, application }) => {
  const drift = await readDrift(client, config.rolePrefix, application);
  // The check of row security reports a database without tables.
  if (!drift) return [];
  const ofCompat = drift.differences.filter(({ object }) => drift.isOfCompat(object));
  const differences = drift.differences
    .filter(({ object }) => !drift.isOfCompat(object))
    .flatMap(withoutOtherChecks);
  const missing = differences.filter(isMissingObject);
  const rest = Map.groupBy(
    differences.filter((difference) => !isMissingObject(difference)),
    checkOf,
  );
  const named = (text: string) => oneLine(withRoleNames(text, config.rolePrefix));
  const pending = role === "owner" ? "" : " If migrations are pending, run plinth migrate first.";
  return [
    ...(drift.hasApplicationSnapshot ? [] : [NOT_COMPARED]),
    describeMissing(missing, drift.expected.size, pending),
    ...Object.values(CHECKS).map((each) => {
      const list = rest.get(each) ?? [];
      return report({ ...each, hint: each.hint + pending }, list, named);
    }),
    ...(ofCompat.length > 0 ? [report(COMPAT, ofCompat, named)] : []),
  ];
};

const NOT_COMPARED = warn(
  "drift-application",
  "The application's schemas are not compared, because its migrations have no schema/catalogue.json.",
  "Run plinth schema dump, and commit the files with each migration.",
);

function withoutOtherChecks(difference: Difference): Difference[] {
  if (difference.kind !== "changed") return [difference];
  const changes = difference.changes.filter(({ property }) => !CHECKED_ELSEWHERE.includes(property));
  return changes.length === 0 ? [] : [{ ...difference, changes }];
}

function isMissingObject({ kind, object }: Difference): boolean {
  return kind === "missing" && (object.kind === "policy" || !ACCESS_KINDS.includes(object.kind));
}

function checkOf({ kind, object, changes }: Difference): DriftCheck {
  const isAccess = changes.some(({ property }) => property === "forced row security");
  if (ACCESS_KINDS.includes(object.kind) || (kind === "changed" && isAccess)) return CHECKS.access;
  if (kind === "extra") return CHECKS.extra;
  return FUNCTION_KINDS.includes(object.kind) ? CHECKS.functions : CHECKS.structure;
}

function report(
  { check, fine, message, hint }: DriftCheck,
  differences: readonly Difference[],
  named: (text: string) => string,
): Finding {
  if (differences.length === 0) return ok(check, fine);
  const dangerous = differences.filter(isDangerous);
  const harmless = differences.filter((difference) => !isDangerous(difference));
  const details = limited(
    [dangerous, harmless].flatMap((list) => list.map(describeDifference).map(named).sort()),
  );
  return (dangerous.length > 0 ? fail : warn)(check, message, hint, details);
}

/** An interrupted restore leaves a complete history but an incomplete schema. */
function describeMissing(missing: readonly Difference[], all: number, pending: string): Finding {
  const check = "schema";
  if (missing.length === 0) return ok(check, "All objects of the migrations exist.");
  return fail(
    check,
    `${missing.length} of ${all} objects of the migrations are missing.`,
    `After a restore, restore the database again; see Backups in docs/operations.md. Otherwise create them again as the owner; ${PRINTED}.${pending}`,
    limited(missing.map(({ object }) => oneLine(missingName(object)))),
  );
}

function missingName(object: CatalogueObject): string {
  if (object.on === undefined && /^(table|view|materialized view)$/.test(object.kind))
    return `table or view ${object.name}`;
  return FUNCTION_KINDS.includes(object.kind)
    ? `${object.kind} ${object.name.split("(")[0]}`
    : titleOf(object);
}

function limited(lines: readonly string[]): string[] {
  const more = lines.length - MOST_DETAILS;
  return more > 0 ? [...lines.slice(0, MOST_DETAILS), `… and ${more} more`] : [...lines];
}

/** Replaces the placeholders of migrations, which a DBA does not know. */
function withRoleNames(text: string, prefix: string): string {
  return ALL_ROLES.reduce<string>(
    (result, role) =>
      result.replaceAll(
        `:PLINTH_${role.toUpperCase()}`,
        role === "owner" ? "the owner" : roleName(prefix, role),
      ),
    text,
  );
}
