import type { PgSelectQueryBuilder } from "@dataplan/pg";
import { type GraphQLObjectType, getNamedType, type SelectionSetNode } from "graphql";
import { type SQL, sql } from "pg-sql2";
import { addPaging } from "../paging/add-paging.ts";
import { isNamingTotal } from "../reads-by-filter.ts";
import { openedRows } from "../reads-of-others.ts";
import { type FieldSource, NotCompilable, type PagePart, sourceOf } from "./field-source.ts";
import { concatenated, type JsonText } from "./json-text.ts";
import { marked } from "./marked.ts";
import { type Compilation, collectFields, objectJson, type Selected, selectionsOf } from "./object.ts";
import { Page } from "./page.ts";
import { boundsOf } from "./page-bounds.ts";
import { applyFilter, applyInput, queryParts } from "./query-parts.ts";

/** Returns the JSON of the row with this alias. */
export type RowJson = (
  compilation: Compilation,
  type: GraphQLObjectType,
  selections: readonly SelectionSetNode[],
  alias: SQL,
) => JsonText;

const KNOWN_ARGUMENTS = new Set(["first", "last", "offset", "after", "before", "orderBy", "filter"]);

type Join = (alias: SQL) => readonly SQL[];

/**
 * Returns the JSON of one page. Where an own-rows policy and a permission are an OR, for which PostgreSQL has no good plan (see
 * OwnRowsPlugin), it chooses between two queries when it runs.
 * @param join the conditions that tie the rows to the parent row
 */
export function connectionJson(
  compilation: Compilation,
  selected: Selected,
  source: FieldSource & { kind: "connection" },
  join: Join,
  rowJson: RowJson,
): JsonText {
  const { own } = source;
  if (!own) return pageJson(compilation, selected, source, join, rowJson);
  const joinOwn: Join = (alias) => [...join(alias), own.condition(alias)];
  if (own.unless.length === 0) return pageJson(compilation, selected, source, joinOwn, rowJson);
  // Each level would double the text.
  if (compilation.isBranch) throw new NotCompilable(`${selected.field.name} is in another list with owners.`);
  const branch = { ...compilation, isBranch: true };
  const all = pageJson(branch, selected, source, join, rowJson);
  const owned = pageJson(branch, selected, source, joinOwn, rowJson);
  const held = own.unless.map((name) => sql`(select access.has_permission(${sql.literal(name)}))`);
  return [sql`case when ${sql.join(held, " or ")} then ${concatenated(all)} else ${concatenated(owned)} end`];
}

function pageJson(
  compilation: Compilation,
  selected: Selected,
  { resource, on }: FieldSource & { kind: "connection" },
  join: Join,
  rowJson: RowJson,
): JsonText {
  const { schema, variables, pageSize } = compilation;
  const { field, nodes } = selected;
  const given = variables.argumentsOf(field, nodes[0]);
  for (const name of Object.keys(given))
    if (!KNOWN_ARGUMENTS.has(name)) throw new NotCompilable(`${field.name} has an argument ${name}.`);
  const typeOf = (argument: string) => field.args.find(({ name }) => name === argument)!.type;

  const alias = sql.identifier(Symbol(resource.name));
  const parts = queryParts(resource, alias);
  parts.conditions.push(...join(alias));
  if (given.filter != null) applyFilter(schema, typeOf("filter"), given.filter, parts);
  const total = [...parts.conditions];
  if (!field.args.some(({ name }) => name === "orderBy"))
    throw new NotCompilable(`${field.name} has no order.`);
  const orderBy = (builder: PgSelectQueryBuilder) => {
    if (given.orderBy != null) applyInput(schema, typeOf("orderBy"), given.orderBy, builder);
  };
  const keys = addPaging(resource, parts.builder, orderBy, given.after as string, given.before as string);
  if (keys.length === 0) throw new NotCompilable(`${field.name} has no order.`);

  const type = getNamedType(field.type) as GraphQLObjectType;
  const selections = selectionsOf(selected);
  const hasPageInfo = [...collectFields(compilation, type, selections).values()].some(
    (part) => typeof part === "object" && part.field.name === "pageInfo",
  );
  const page = new Page({
    ...boundsOf(given, pageSize),
    keys,
    orders: parts.orders,
    isNumbered: hasPageInfo,
  });
  let countsTotal = false;
  let hasRows = false;
  const node = (part: Selected) => rowJson(compilation, objectTypeOf(part), selectionsOf(part), alias);
  const json = objectJson(compilation, type, selections, (part) => {
    const objectOf = (memberJson: (member: Selected) => JsonText) =>
      objectJson(compilation, objectTypeOf(part), selectionsOf(part), memberJson);
    switch (partOf(part)) {
      case "nodes":
        hasRows = true;
        return page.list(marked(node(part), resource, alias));
      case "edges": {
        hasRows = true;
        const edge = objectOf((member) => (partOf(member) === "node" ? node(member) : page.cursor));
        return page.list(marked(edge, resource, alias));
      }
      case "pageInfo":
        return objectOf((member) => page.info(partOf(member)));
      case "totalCount":
        countsTotal = true;
        // The planner marks the people of all pages.
        if (
          isNamingTotal(
            openedRows(resource),
            given.filter,
            on.map(([, remote]) => remote),
          )
        )
          throw new NotCompilable(`The total of ${field.name} names people.`);
        return [sql`(select count(*)::text from ${resource.from as SQL} as ${alias}${where(total)})`];
      default:
        throw new NotCompilable(`${part.field.name} is not a part of a connection.`);
    }
  });
  // Its cursors contain values of rows that no mark would name.
  if (openedRows(resource) && !hasRows && hasPageInfo) throw new NotCompilable(`${field.name} has no rows.`);
  // Then the statement would not ask whether the caller may read the table.
  if (!page.isAsked && !countsTotal) throw new NotCompilable(`${field.name} reads nothing.`);
  return page.query(json, sql`${resource.from as SQL} as ${alias}${where(parts.conditions)}`);
}

const objectTypeOf = ({ field }: Selected) => getNamedType(field.type) as GraphQLObjectType;

function partOf({ field }: Selected): PagePart {
  const source = sourceOf(field);
  if (source.kind !== "page") throw new NotCompilable(`${field.name} is not a part of a connection.`);
  return source.part;
}

export function where(conditions: readonly SQL[]): SQL {
  return conditions.length === 0
    ? sql.blank
    : sql` where ${sql.join(
        conditions.map((condition) => sql.parens(condition)),
        " and ",
      )}`;
}
