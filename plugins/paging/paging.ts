import "graphile-build-pg";
import { type PgResource, type PgSelectQueryBuilder, PgSelectStep, TYPES } from "@dataplan/pg";
import {
  applyInput,
  type ConnectionStep,
  ConstantStep,
  constant,
  type FieldArgs,
  type FieldInfo,
  type FieldPlanResolver,
  type GrafastFieldConfig,
  lambda,
  type Step,
} from "grafast";
import { sql } from "pg-sql2";
import { type ApplyOrders, addPaging, type Cursor } from "./add-paging.ts";
import { rowNumberOf } from "./cursor.ts";

type InputStep = Parameters<typeof applyInput>[1];

/** Arguments that the field's plan, below, reads. */
const READ_HERE: ReadonlySet<string> = new Set(["orderBy", "after", "before"]);

/**
 * Pages every list in every order so that each row appears exactly once, in both directions. Replaces PostGraphile's
 * handling of `orderBy`, `after` and `before`, which loses or repeats rows with nulls, ties and infinities.
 *
 *   { payments(orderBy: PLAN_ID_ASC, first: 2, after: "…") { nodes { id } } }
 *   … where ((plan_id, id) > ('…', '…') or plan_id is null) order by plan_id asc, id asc limit 2
 */
export const PagingPlugin: GraphileConfig.Plugin = {
  name: "PlinthPagingPlugin",
  version: "1.0.0",
  description: "Makes every order unique and every cursor point at one row",
  schema: {
    hooks: {
      GraphQLObjectType_fields_field_args_arg(arg, _build, { scope }) {
        return scope.isPgFieldConnection && READ_HERE.has(scope.argName)
          ? { ...arg, applyPlan: undefined }
          : arg;
      },
      GraphQLObjectType_fields_field(field: GrafastFieldConfig<Step>, _build, { scope }) {
        return scope.isPgFieldConnection && field.plan ? { ...field, plan: withPaging(field.plan) } : field;
      },
    },
  },
};

function withPaging(plan: FieldPlanResolver): FieldPlanResolver {
  return ($parent, args, info) => {
    const $connection = plan($parent, args, info) as ConnectionStep<unknown>;
    const $select = $connection.getSubplan();
    if (!($select instanceof PgSelectStep))
      throw new Error(`${info.field.name} pages an unknown kind of step.`);
    const orderBy = info.field.args.find(({ name }) => name === "orderBy");
    if (orderBy)
      $select.apply(
        lambda(
          [
            applyInput(orderBy.type, args.getRaw("orderBy") as InputStep),
            raw("after", args, info),
            raw("before", args, info),
          ],
          pagingOf($select.resource),
        ),
      );
    else pageByNumber($select, args, info);
    return $connection;
  };
}

const raw = (name: string, args: FieldArgs, { field }: FieldInfo): Step =>
  field.args.some((arg) => arg.name === name) ? args.getRaw(name) : constant(undefined);

type Paging = (
  inputs: readonly [ApplyOrders, Cursor, Cursor],
) => (queryBuilder: PgSelectQueryBuilder) => void;

/** A single step per resource, so that Grafast can merge two fields with the same arguments. */
const pagings = new WeakMap<PgResource, Paging>();

function pagingOf(resource: PgResource): Paging {
  const paging = pagings.get(resource) ?? makePaging(resource);
  pagings.set(resource, paging);
  return paging;
}

function makePaging(resource: PgResource): Paging {
  return ([applyOrders, after, before]) =>
    (queryBuilder) => {
      // A total covers all pages.
      if (queryBuilder.mode !== "aggregate") addPaging(resource, queryBuilder, applyOrders, after, before);
    };
}

/**
 * A function's rows are returned in the function's order, and their cursors are row numbers. The last rows are found by
 * counting from the end.
 */
function pageByNumber($select: PgSelectStep, args: FieldArgs, info: FieldInfo): void {
  const $after = raw("after", args, info);
  const $before = raw("before", args, info);
  if (!isNothing($after)) $select.setAfter(lambda($after, numberAfter));
  if (!isNothing($before)) $select.setBefore(lambda($before, numberBefore));
  const $last = raw("last", args, info);
  if (!isNothing($last)) $select.apply(lambda([$last, $before], fromTheEnd));
}

const isNothing = ($step: Step): boolean => $step instanceof ConstantStep && $step.data == null;

const numberAfter = (cursor: Cursor) => natural(cursor, "after");
const numberBefore = (cursor: Cursor) => natural(cursor, "before");

/** A parsed cursor in PostGraphile's form for lists without an order. */
function natural(cursor: Cursor, argument: string): [string, number] | null {
  return cursor == null ? null : ["natural", rowNumberOf(cursor, argument)];
}

const fromTheEnd =
  ([last, before]: readonly [number | null | undefined, Cursor]) =>
  (queryBuilder: PgSelectQueryBuilder): void => {
    if (last == null || before != null || queryBuilder.mode === "aggregate") return;
    queryBuilder.orderBy({
      fragment: sql`(row_number() over ())`,
      codec: TYPES.int,
      direction: "ASC",
      nullable: false,
    });
    queryBuilder.setOrderIsUnique();
  };
