import { SCHEMAS } from "../../database/schemas.ts";
import { type CatalogueObject, titleOf } from "../catalogue.ts";
import type { Difference } from "../compare.ts";
import { dropStatements, lossOf } from "./drop.ts";
import { defaultPrivilegeSteps, grantSteps, ownGrantStep } from "./grants.ts";
import { settingSteps } from "./settings.ts";
import type { MendContext, Phase, Step } from "./step.ts";
import { schemaOf } from "./target.ts";

/** Kinds that may be in the way of changes, or that change the meaning of others. */
const EARLY = ["policy", "rule", "trigger", "view", "materialized view", "constraint", "index", "statistics"];

/** Objects that only a superuser, or the owner of objects of the server, may drop. */
const OF_ADMINISTRATOR = ["event trigger", "cast"];

/** Whether an object that the migrations do not make is dropped before anything is created. */
export function isDroppedEarly({ kind, object }: Difference, differences: readonly Difference[]): boolean {
  if (kind !== "extra" || needsAdministrator(object)) return false;
  if (EARLY.includes(object.kind)) return true;
  // A function with the same arguments under other names cannot be replaced.
  const [name] = object.name.split("(");
  return (
    object.kind === "function" &&
    differences.some((other) => other.kind === "missing" && other.object.name.startsWith(`${name}(`))
  );
}

/** The steps that remove an object which the migrations do not make. */
export function extraSteps(object: CatalogueObject, context: MendContext): Step[] {
  switch (object.kind) {
    case "grant":
      return grantSteps(undefined, object, context);
    case "revoke":
      return [ownGrantStep(object, context)];
    case "default privileges":
      return defaultPrivilegeSteps(object, undefined, object);
    case "setting":
      return settingSteps(object, context, { isWanted: false });
    case "column":
      return isViewColumn(object, context)
        ? [{ phase: "comment", sql: context.source.comment(object) }]
        : dropSteps(object, "drop unused", context);
    case "sequence":
      return sequenceSteps(object, context);
    case "table":
      return attachSteps(object, context) ?? dropSteps(object, "drop unused", context);
    case "operator class":
      return [{ phase: "drop unused", sql: "", manual: `Drop operator class ${object.name}.` }];
    default:
      return dropSteps(object, "drop unused", context);
  }
}

/** Drops an object, unless something that the comparison does not know needs it. */
export function dropSteps(object: CatalogueObject, phase: Phase, context: MendContext): Step[] {
  const manual = lossOf(object) ?? usersOf(object, context);
  return dropStatements(object, context).map((sql) => ({
    phase: needsAdministrator(object) ? "administrator" : phase,
    sql,
    drops: titleOf(object),
    ...(manual && { manual }),
  }));
}

/** An object of another owner. */
function needsAdministrator({ kind, properties }: CatalogueObject): boolean {
  return OF_ADMINISTRATOR.includes(kind) || "owner" in properties;
}

function usersOf(object: CatalogueObject, { dependencies, found }: MendContext): string | undefined {
  const users = dependencies
    .of(object)
    .filter(({ title, kind, isNamed }) => kind !== "column default" && !(isNamed && found.has(title)));
  return users.length === 0 ? undefined : `Needed by ${users.map(({ title }) => title).join(", ")}.`;
}

export function isViewColumn({ on }: CatalogueObject, { expected, found }: MendContext): boolean {
  return [expected, found].some(
    (catalogue) => catalogue.has(`view ${on}`) || catalogue.has(`materialized view ${on}`),
  );
}

function sequenceSteps(sequence: CatalogueObject, context: MendContext): Step[] {
  const column = context.dependencies.columnOf(sequence);
  return column === undefined
    ? dropSteps(sequence, "drop unused", context)
    : [{ phase: "drop unused", sql: "", manual: `Dropped with ${column}.` }];
}

/** A detached partition keeps its rows, so it is attached again. */
function attachSteps({ name }: CatalogueObject, { expected }: MendContext): Step[] | undefined {
  const [, parent, year, month] = /^(.+?)_(?:default|(\d{4})_(\d{2}))$/.exec(name) ?? [];
  const isPartitioned = "partition key" in (expected.get(`table ${parent}`)?.properties ?? {});
  if (!isPartitioned || !SCHEMAS.some((schema) => schemaOf(name) === `${schema}.`)) return undefined;
  const bounds =
    year === undefined
      ? "default"
      : `for values from ('${year}-${month}-01 00:00:00+00') to ('${monthAfter(year, month!)}-01 00:00:00+00')`;
  return [{ phase: "alter", sql: `alter table ${parent} attach partition ${name} ${bounds};` }];
}

function monthAfter(year: string, month: string): string {
  return new Date(Date.UTC(Number(year), Number(month), 1)).toISOString().slice(0, 7);
}
