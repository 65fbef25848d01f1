import type { CatalogueObject } from "../drift/catalogue.ts";
import { tidyCondition } from "../schema-dump/policies.ts";
import { lowerCaseKeywords } from "../schema-dump/sql-text.ts";
import type { Catalogued } from "./catalogued.ts";
import { idOf, namesOf, unquoted } from "./identifiers.ts";
import type { Reference, Relation } from "./model.ts";
import type { PageColumn, PageDefinition, PagePolicy, PageReference, PageRelation } from "./page-data.ts";
import { grantsOf, roleLabel } from "./page-grants.ts";
import { shortType } from "./short-type.ts";

/** A table or view of the page: its columns, and what the catalogue says about it. */
export function relationOf(
  relation: Relation,
  references: readonly Reference[],
  catalogued: Catalogued,
): PageRelation {
  const { schema, name, kind, comment, columns, primaryKey } = relation;
  const written = writtenName(relation, catalogued);
  const object =
    catalogued.objects.get(`${kind} ${written}`) ?? catalogued.objects.get(`materialized view ${written}`);
  const parts = catalogued.parts.get(written) ?? [];
  const properties = object?.properties ?? {};
  return withoutEmpty({
    schema,
    name,
    kind: object?.kind === "materialized view" ? "materialized view" : kind,
    comment,
    columns: columns.map((column) => columnOf(column, relation, parts, catalogued)),
    primaryKey,
    constraints: definitionsOf("constraint", parts, catalogued),
    references: references
      .filter(({ from }) => from.schema === schema && from.name === name)
      .map(referenceOf)
      .sort((a, b) => columns.findIndex(isFirstOf(a)) - columns.findIndex(isFirstOf(b))),
    indexes: definitionsOf("index", parts, catalogued),
    policies: parts
      .filter(isKind("policy"))
      .map((policy) => policyOf(policy, catalogued))
      .sort((a, b) => rankOf(a) - rankOf(b) || (a.name < b.name ? -1 : 1)),
    triggers: definitionsOf("trigger", parts, catalogued),
    grants: grantsOf(written, catalogued),
    hasRowSecurity: properties["row security"] === "yes",
    partitionKey: properties["partition key"] ?? "",
    isInvoker: /security_invoker=(true|on)/.test(properties.options ?? ""),
    query: catalogued.queries.get(written) ?? "",
  });
}

/** The name as SQL writes it: only the catalogue knows which words need quotes. */
function writtenName({ schema, name }: Relation, { objects }: Catalogued): string {
  const plain = `${schema}.${name}`;
  if (/^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$/.test(plain)) return plain;
  const found = [...objects.values()].find(({ kind, name: written }) => {
    const [first, second, ...more] = /table|view/.test(kind) ? namesOf(written) : [];
    return first === schema && second === name && more.length === 0;
  });
  return found?.name ?? plain;
}

function columnOf(
  { name, type, isRequired, default: value, comment }: Relation["columns"][number],
  { schema, name: relation }: Relation,
  parts: readonly CatalogueObject[],
  { classes }: Catalogued,
): PageColumn {
  const properties =
    parts.find((part) => part.kind === "column" && unquoted(part.name) === name)?.properties ?? {};
  return withoutEmpty({
    name,
    type: shortType(type),
    comment,
    isRequired,
    // A text needs no cast to be read.
    default: (value ?? "").replace(/^('(?:[^']|'')*')::text$/, "$1"),
    generated: properties.generated
      ? `computed: ${lowerCaseKeywords(properties.default ?? "")}`
      : properties.identity
        ? "numbered by PostgreSQL"
        : "",
    personalData: classes.get(`${schema}.${relation}.${name}`) ?? "",
  });
}

function referenceOf({ columns, to, toColumns, onDelete }: Reference): PageReference {
  return { columns, to: idOf(to.schema, to.name), toColumns, onDelete };
}

function policyOf(policy: CatalogueObject, { comments }: Catalogued): PagePolicy {
  const { command, to, using, "with check": check, restrictive } = policy.properties;
  return withoutEmpty({
    name: unquoted(policy.name),
    command: command!,
    roles: to!.split(", ").map(roleLabel),
    comment: comments.get(`policy ${policy.name} on ${policy.on}`) ?? "",
    isRestrictive: restrictive === "yes",
    using: using === undefined ? "" : tidyCondition(using),
    check: check === undefined ? "" : tidyCondition(check),
  });
}

/** Foreign keys are shown as references, and the primary key at its columns. */
function definitionsOf(
  kind: string,
  parts: readonly CatalogueObject[],
  { comments }: Catalogued,
): PageDefinition[] {
  return parts
    .filter(isKind(kind))
    .filter(({ properties }) => !/^(FOREIGN|PRIMARY) KEY/.test(properties.definition ?? ""))
    .map(({ name, on, properties: { definition = "", unique } }) =>
      withoutEmpty({
        name: unquoted(name),
        text: `${unique ? "unique " : ""}${lowerCaseKeywords(definition)}`.replace(
          /^create (constraint )?trigger (".*?"|\w+) /,
          "",
        ),
        ...(comments.has(`${kind} ${name} on ${on}`) && {
          comment: comments.get(`${kind} ${name} on ${on}`)!,
        }),
      }),
    )
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

const COMMANDS = ["all", "select", "insert", "update", "delete"];
const rankOf = ({ command }: PagePolicy) => COMMANDS.indexOf(command);

const isFirstOf =
  ({ columns }: PageReference) =>
  ({ name }: { name: string }) =>
    columns[0] === name;

const isKind = (kind: string) => (object: CatalogueObject) => object.kind === kind;

/** Leaves out what is false or empty, apart from comments: the page is read as often as it is large. */
function withoutEmpty<T extends object>(object: T): T {
  const isEmpty = (value: unknown) =>
    value === "" ||
    value === false ||
    (typeof value === "object" && value !== null && Object.keys(value).length === 0);
  return Object.fromEntries(
    Object.entries(object).filter(([key, value]) => key === "comment" || !isEmpty(value)),
  ) as T;
}
