import "graphile-build-pg";
import {
  ConstantStep,
  constant,
  type FieldPlanResolver,
  type GrafastFieldConfig,
  lambda,
  type Step,
} from "grafast";
import type { ConnectionExtensions } from "../src/graphql/limits/query-cost.ts";

declare global {
  namespace GraphileBuild {
    interface SchemaOptions {
      /** Number of items that a connection returns when neither `first` nor `last` is given. */
      plinthPageSize?: number;
    }
  }
}

type Count = number | null | undefined;

interface PagedConnection {
  setFirst($first: Step): void;
  setLast($last: Step): void;
  pageInfo(): Step;
  /** Whether the rows of the page are read, and not only their total; its type leaves it out. */
  neededCollection?: boolean;
}

type Field = GrafastFieldConfig<Step>;

/**
 * A connection without `first` and `last` returns one page instead of the whole table. Larger pages are rejected before
 * execution: the query limits plugin recognizes connections by the mark set here.
 */
export const PageSizePlugin: GraphileConfig.Plugin = {
  name: "PlinthPageSizePlugin",
  version: "1.0.0",
  description: "Gives every connection a default page size",
  schema: {
    hooks: {
      GraphQLObjectType_fields_field_args_arg(arg, _build, { scope }) {
        // The field's plan, below, sets both.
        const isPageArgument = scope.argName === "first" || scope.argName === "last";
        return isPageArgument && scope.isPgFieldConnection ? { ...arg, applyPlan: undefined } : arg;
      },
      GraphQLObjectType_fields_field(field: Field, build, { scope }): Field {
        if (!scope.isPgFieldConnection || !field.plan) return field;
        const mark: ConnectionExtensions = { plinthConnection: true };
        const { plinthPageSize = 100 } = build.options;
        return {
          ...field,
          extensions: { ...field.extensions, ...mark },
          // A function is always called, because it checks its arguments.
          plan: withDefaultPage(field.plan, plinthPageSize, scope.pgFieldResource?.parameters !== undefined),
        };
      },
    },
  },
};

function withDefaultPage(
  plan: FieldPlanResolver,
  pageSize: number,
  isAlwaysRead: boolean,
): FieldPlanResolver {
  return ($parent, args, info) => {
    const $connection = plan($parent, args, info);
    const raw = (name: string): Step =>
      info.field.args.some((argument) => argument.name === name) ? args.getRaw(name) : constant(undefined);
    const $first = raw("first");
    const $last = raw("last");
    const $before = raw("before");

    const connection = $connection as unknown as PagedConnection;
    const isNeeded = connection.neededCollection;
    connection.setFirst(
      computed([$first, $last, $before], ([first, last, before]) =>
        first == null && last == null && before == null ? pageSize : first,
      ),
    );
    connection.setLast(
      computed([$first, $last, $before], ([first, last, before]) =>
        first == null && last == null && before != null ? pageSize : last,
      ),
    );
    // Setting the size says that the page is needed, but nodes and edges say so themselves. A cursor must be checked.
    if (!isAlwaysRead && [raw("after"), $before].every(isNothing)) {
      connection.neededCollection = isNeeded;
      const { pageInfo } = connection;
      connection.pageInfo = () => {
        connection.neededCollection = true;
        return pageInfo.call(connection);
      };
    }
    return $connection;
  };
}

const isNothing = ($step: Step): boolean => $step instanceof ConstantStep && $step.data == null;

/** Computes during planning if all inputs are literals, so that such a plan is as simple as without this plugin. */
function computed(inputs: readonly [Step, Step, Step], compute: (values: Count[]) => Count): Step {
  const values = inputs.map((input) => (input instanceof ConstantStep ? { data: input.data } : undefined));
  if (values.every((value) => value !== undefined)) return constant(compute(values.map(({ data }) => data)));
  return lambda(inputs, (runtimeValues) => compute([...runtimeValues] as Count[]), true);
}
