import { SCHEMAS } from "../../database/schemas.ts";
import type { CatalogueObject } from "../catalogue.ts";
import { subjectOf } from "../compare.ts";
import { newColumnSteps } from "./create-column.ts";
import { grantSteps } from "./grants.ts";
import { constraintStep, enabledStep, indexSql, policySql, triggerSql } from "./relation-parts.ts";
import { isPartition, type MendContext, remark, type Step } from "./step.ts";
import { schemaOf, targetOf } from "./target.ts";

/**
 * The steps that create an object with its parts, its comment and its grants. Each object whose text only the files have is created
 * with their statement, the others from the properties that the comparison knows.
 */
export function createSteps(object: CatalogueObject, context: MendContext): Step[] {
  const parts = partsOf(object, context).flatMap((part) =>
    part.kind === "grant" ? grantSteps(part, undefined, context) : createSteps(part, context),
  );
  const hasColumns = /^(table|view|materialized view)$/.test(object.kind);
  const comments = hasColumns ? context.source.commentsOfColumns(object.name) : [];
  return [
    ...ownSteps(object, context),
    ...parts,
    ...commentSteps(object, context),
    ...comments.map((sql) => ({ phase: "comment", sql }) as const),
  ];
}

function commentSteps(object: CatalogueObject, { source }: MendContext): Step[] {
  return source.hasComment(object) ? [{ phase: "comment", sql: source.comment(object) }] : [];
}

/** The columns of a table are created with it. */
function partsOf(object: CatalogueObject, { expected }: MendContext): CatalogueObject[] {
  if (object.on !== undefined) return [];
  const subject = subjectOf(object);
  return [...expected.values()].filter(({ kind, on }) => on === subject && kind !== "column");
}

function ownSteps(object: CatalogueObject, context: MendContext): Step[] {
  const { kind, properties } = object;
  switch (kind) {
    case "table":
      return tableSteps(object, context);
    case "column":
      return newColumnSteps(object);
    case "constraint":
      return [constraintStep(object)];
    case "index":
      return [{ phase: "index", sql: indexSql(object) }];
    case "trigger":
      return [
        { phase: "trigger", sql: triggerSql(object) },
        ...("enabled" in properties ? [enabledStep(object)] : []),
      ];
    case "rule":
    case "statistics":
      return [{ phase: "trigger", sql: `${properties.definition!.replace(/;$/, "")};` }];
    case "policy":
      return [{ phase: "policy", sql: policySql(object) }];
    case "sequence":
      return isOfIdentity(object, context) ? [] : fromFiles(object, context);
    default:
      return fromFiles(object, context);
  }
}

/** The statements of the files. The arguments of a function may need other objects, its body only when it runs. */
function fromFiles(object: CatalogueObject, { source }: MendContext): Step[] {
  const statements = source.create(object);
  if (statements.length === 0)
    return [remark("create", `No file has the definition of ${targetOf(object)}: restore it from a backup.`)];
  return statements.map((sql) => ({ phase: "create", sql, makes: object.name.split("(")[0]! }));
}

/** Constraints follow in their own phase, so that tables may refer to each other. */
function tableSteps(table: CatalogueObject, context: MendContext): Step[] {
  const { name, properties } = table;
  const [created, ...none] = fromFiles(table, context);
  const sql = withoutConstraints(created!.sql);
  const steps: Step[] = [
    { ...created!, sql },
    ...none,
    remark("create", `The rows of ${name} must come from a backup.`),
  ];
  if ("row security" in properties)
    steps.push({ phase: "policy", sql: `alter table ${name} enable row level security;` });
  if ("partition key" in properties)
    steps.push(
      SCHEMAS.some((schema) => schemaOf(name) === `${schema}.`)
        ? { phase: "finish", sql: "select private.ensure_partitions();" }
        : remark("finish", `Create the partitions of ${name}.`),
    );
  return steps;
}

/** A line begins with two spaces; the lines of a longer expression do not. */
function withoutConstraints(create: string): string {
  const [head = "", end = ""] = [/^.*\(\n/.exec(create)?.[0], /\n\)[^\n]*$/.exec(create)?.[0]];
  const lines = create.slice(head.length, create.length - end.length).split(/,\n(?= {2}\S)/);
  return `${head}${lines.filter((line) => !line.startsWith("  constraint ")).join(",\n")}${end}`;
}

/** The sequence of an identity column comes with the column. */
function isOfIdentity({ name }: CatalogueObject, { expected }: MendContext): boolean {
  return [...expected.values()].some(
    ({ kind, name: column, on, properties }) =>
      kind === "column" && "identity" in properties && name === `${on}_${column}_seq`,
  );
}

/** Whether the part came to a partition from its parent, with which it is created and dropped. */
export const isInheritedPart = (object: CatalogueObject, { expected }: MendContext): boolean =>
  object.on !== undefined && isPartition(object, expected);
