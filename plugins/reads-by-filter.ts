import "graphile-build-pg";
import {
  type PgCodec,
  type PgCodecRelation,
  PgCondition,
  type PgResource,
  type PgSelectQueryBuilder,
  PgSelectStep,
} from "@dataplan/pg";
import {
  type ConnectionStep,
  constant,
  type FieldPlanResolver,
  type GrafastFieldConfig,
  lambda,
  type Step,
} from "grafast";
import { type SQL, sql } from "pg-sql2";
import { markOf } from "../src/request/reads-of-others.ts";
import { openedRows, peopleOf } from "./reads-of-others.ts";

/** Number of people of a total that are named; the log names as many of one read. */
const NAMED = 1_000;

/**
 * Records whose data decided an answer without being in it: the people whose rows a total counts, and those of related rows that a
 * filter compares.
 *
 *   { modelProviders(filter: { userByCreatedBy: { email: { startsWith: "ada@" } } }) { nodes { name } } }
 *   select …, (select case when … then 'read_…_0_' || users.id end from identity.users where users.id = model_providers.created_by)
 *   from llm.model_providers where exists (…)
 *
 * A compiled document has no such columns, so these operations are planned.
 */
export const ReadsByFilterPlugin: GraphileConfig.Plugin = {
  name: "PlinthReadsByFilterPlugin",
  version: "1.0.0",
  description: "Records reads of other people's personal data by filters and totals",
  schema: {
    hooks: {
      GraphQLInputObjectType_fields_field(field, build, { scope }) {
        const { isPgConnectionFilterField, pgCodec, fieldName } = scope as typeof scope & {
          isPgConnectionFilterField?: boolean;
          pgCodec?: PgCodec;
        };
        const { apply } = field as { apply?: Apply };
        const relation =
          isPgConnectionFilterField && apply && pgCodec ? relationOf(build, pgCodec, fieldName) : undefined;
        return relation ? { ...field, apply: withMarks(apply!, relation) } : field;
      },
      GraphQLObjectType_fields_field(field: GrafastFieldConfig<Step>, _build, { scope }) {
        const { isPgFieldConnection, pgFieldResource: resource, pgRelationDetails: relation } = scope;
        if (!isPgFieldConnection || !resource || !field.plan || !openedRows(resource)) return field;
        const referring = relation
          ? relation.registry.pgRelations[relation.codec.name]![relation.relationName]!.remoteAttributes
          : [];
        return { ...field, plan: withMarkedTotal(field.plan, resource, referring.map(String)) };
      },
    },
  },
};

/**
 * Whether a total names people: a filter can confirm a guess at a value, and a list of one person counts the person's rows.
 * @param referring the columns that tie the list to its parent row
 */
export function isNamingTotal(
  rows: ReturnType<typeof openedRows>,
  filter: unknown,
  referring: readonly string[],
): boolean {
  return rows !== undefined && (saysSomething(filter) || referring.includes(rows.column));
}

/** An empty filter allows every row. */
const saysSomething = (value: unknown): boolean =>
  value != null && (typeof value !== "object" || Object.keys(value).length > 0);

function withMarkedTotal(
  plan: FieldPlanResolver,
  resource: PgResource,
  referring: readonly string[],
): FieldPlanResolver {
  const rows = openedRows(resource)!;
  // A function's rows are those of its arguments.
  const isFunction = resource.parameters !== undefined;
  const markTotal = (filter: unknown) => (builder: PgSelectQueryBuilder) => {
    if (builder.mode !== "aggregate" || !(isFunction || isNamingTotal(rows, filter, referring))) return;
    for (const { id, isMarked } of peopleOf(rows, builder.alias, sql`false`))
      mark(builder, rows.relation, sql`case when ${isMarked} then ${id} end`);
  };
  return ($parent, args, info) => {
    const $connection = plan($parent, args, info) as ConnectionStep<unknown>;
    const $select = $connection.getSubplan();
    if (!($select instanceof PgSelectStep))
      throw new Error(`${info.field.name} reads an unknown kind of step.`);
    const hasFilter = info.field.args.some(({ name }) => name === "filter");
    $select.apply(lambda((hasFilter ? args.getRaw("filter") : constant(undefined)) as Step, markTotal));
    return $connection;
  };
}

type Builder = Pick<PgSelectQueryBuilder, "mode" | "selectAndReturnIndex">;

/** @param person the id of a person in SQL, null for rows that are not marked */
function mark({ mode, selectAndReturnIndex }: Builder, relation: string, person: SQL): void {
  const start = sql.literal(markOf(relation));
  if (mode !== "aggregate") {
    selectAndReturnIndex(sql`${start} || ${person}::text`);
    return;
  }
  const people = sql`array_remove(array_agg(distinct ${person}), null)`;
  const named = sql`${start} || array_to_string(nullif((${people})[1:${sql.literal(NAMED)}], '{}'), ${start})`;
  const rest = sql`count(distinct ${person}) - ${sql.literal(NAMED)}`;
  selectAndReturnIndex(named);
  selectAndReturnIndex(sql`case when ${rest} > 0 then ${start} || 'and' || (${rest})::text end`);
}

type Apply = (target: PgCondition, value: unknown, ...rest: unknown[]) => unknown;

/** Finds the relation of a filter's field on a related row: the row's own filter, or whether it exists. */
function relationOf(
  { input, inflection }: GraphileBuild.Build,
  codec: PgCodec,
  fieldName: string,
): PgCodecRelation | undefined {
  const { pgRegistry: registry } = input;
  const names = inflection as unknown as Record<string, (...given: unknown[]) => string>;
  return Object.entries((registry.pgRelations[codec.name] ?? {}) as Record<string, PgCodecRelation>).find(
    ([relationName, { isReferencee }]) => {
      if (isReferencee) return false;
      const name = names.singleRelation!({ registry, codec, relationName });
      return (
        fieldName === names.filterSingleRelationFieldName!(name) ||
        fieldName === names.filterForwardRelationExistsFieldName!(name)
      );
    },
  )?.[1];
}

/** Returns a value of the row that a condition is about, as a value of the row that the query returns. */
type Lift = (expressionOf: (alias: SQL) => SQL) => SQL;
const lifts = new WeakMap<object, Lift>();

function withMarks(
  apply: Apply,
  { remoteResource, localAttributes, remoteAttributes }: PgCodecRelation,
): Apply {
  const table = remoteResource.from as SQL;
  const rows = openedRows(remoteResource);
  return (target, value, ...rest) => {
    const related = apply(target, value, ...rest);
    if (!saysSomething(value)) return related;
    const { builder, lift } = rootOf(target);
    const liftRelated: Lift = (expressionOf) =>
      lift((alias) => {
        const other = sql.identifier(Symbol(remoteResource.name));
        const on = localAttributes.map(
          (local, i) =>
            sql`${alias}.${sql.identifier(String(local))} = ${other}.${sql.identifier(String(remoteAttributes[i]))}`,
        );
        return sql`(select ${expressionOf(other)} from ${table} as ${other} where ${sql.join(on, " and ")})`;
      });
    if (related instanceof PgCondition) lifts.set(related, liftRelated);
    if (rows)
      for (const n of peopleOf(rows, sql.blank, sql`false`).keys())
        mark(
          builder,
          rows.relation,
          liftRelated((alias) => {
            const { id, isMarked } = peopleOf(rows, alias, sql`false`)[n]!;
            return sql`case when ${isMarked} then ${id} end`;
          }),
        );
    return related;
  };
}

/** The query that a condition belongs to. */
function rootOf(target: PgCondition): { builder: PgSelectQueryBuilder; lift: Lift } {
  let lift: Lift | undefined;
  let each: unknown = target;
  while (each instanceof PgCondition) {
    lift ??= lifts.get(each);
    each = each.dangerouslyGetParent();
  }
  const builder = each as PgSelectQueryBuilder;
  return { builder, lift: lift ?? ((expressionOf) => expressionOf(builder.alias)) };
}
