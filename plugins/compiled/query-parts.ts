import { PgCondition, type PgResource, type PgSelectQueryBuilder } from "@dataplan/pg";
import { ApplyInputStep } from "grafast";
import { type GraphQLInputType, type GraphQLSchema, getNamedType } from "graphql";
import { $$toSQL, type SQL, sql } from "pg-sql2";
import { NotCompilable } from "./field-source.ts";

type Order = Parameters<PgSelectQueryBuilder["orderBy"]>[0] & object;
export type OrderTerm = Extract<Order, { fragment: SQL }>;

export interface QueryParts {
  readonly conditions: SQL[];
  readonly orders: OrderTerm[];
  /** What PostGraphile's plugins add conditions and orders to while an operation runs. */
  readonly builder: PgSelectQueryBuilder;
}

/** Collects the conditions and orders that plugins add to the query of a resource. */
export function queryParts(resource: PgResource, alias: SQL): QueryParts {
  const conditions: SQL[] = [];
  const orders: OrderTerm[] = [];
  const refuse = (what: string) => (): never => {
    throw new NotCompilable(`A filter or an order of ${resource.name} needs ${what}.`);
  };
  const builder = {
    mode: "normal",
    alias,
    [$$toSQL]: () => alias,
    where(given: unknown) {
      const condition = scoped(given) as SQL | { attribute: string; callback: (column: SQL) => SQL };
      conditions.push(
        sql.isSQL(condition)
          ? condition
          : condition.callback(sql`${alias}.${sql.identifier(condition.attribute)}`),
      );
    },
    orderBy: (given: unknown) => orders.push(scoped(given) as OrderTerm),
    setOrderIsUnique() {},
    whereBuilder: () => new PgCondition(builder as never),
    join: refuse("a join"),
    singleRelation: refuse("a join"),
    groupBy: refuse("groups"),
    having: refuse("groups"),
    havingBuilder: refuse("groups"),
    selectAndReturnIndex: refuse("a column"),
    setMeta: refuse("the planner"),
    getMetaRaw: refuse("the planner"),
  };
  return { conditions, orders, builder: builder as unknown as PgSelectQueryBuilder };
}

const scoped = (given: unknown): unknown => (typeof given === "function" ? given(sql) : given);

/** Applies an input value to a target as the planned operation does when it runs: each input type knows how. */
export function applyInput(
  schema: GraphQLSchema,
  type: GraphQLInputType,
  value: unknown,
  target: object,
  targetOf?: (target: object) => object,
): void {
  const { grafast } = getNamedType(type).extensions as { grafast?: { applyScope?: unknown } };
  if (grafast?.applyScope) throw new NotCompilable(`${getNamedType(type)} needs the planner.`);
  const step = { operationPlan: { schema }, inputType: type, getTargetFromParent: targetOf };
  const apply = ApplyInputStep.prototype.unbatchedExecute.call(
    step as never,
    undefined as never,
    value,
    undefined,
  );
  (apply as unknown as (target: object) => void)(target);
}

/** Adds the conditions of a `filter` argument. */
export function applyFilter(
  schema: GraphQLSchema,
  type: GraphQLInputType,
  value: unknown,
  parts: QueryParts,
): void {
  if (value != null)
    applyInput(schema, type, value, parts.builder, (builder) => new PgCondition(builder as never));
}
