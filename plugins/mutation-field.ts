import "graphile-build-pg";
import { context, type FieldPlanResolver, type Step, sideEffect } from "grafast";

const processWork = new WeakSet<object>();

/** Whether a plan was created here, so that this process does its work and not a single SQL statement. */
export function isProcessWork(plan: FieldPlanResolver | undefined): boolean {
  return plan !== undefined && processWork.has(plan);
}

/**
 * The plan of a mutation whose work this process does. Its side effect gets no database client, which would hold a
 * transaction open while passwords are hashed or another server responds.
 */
export function mutationField<TInput, TResult>(
  work: (input: TInput, context: Grafast.Context) => Promise<TResult>,
) {
  return asProcessWork(
    (_$root: Step, args: { getRaw(path: string): Step }): Step<TResult> =>
      sideEffect([args.getRaw("input"), context()], async ([input, value]) => work(input as TInput, value)),
  );
}

/** Like mutationField, for a mutation without input. */
export function mutationFieldWithoutInput<TResult>(work: (context: Grafast.Context) => Promise<TResult>) {
  return asProcessWork((): Step<TResult> => sideEffect(context(), async (value) => work(value)));
}

function asProcessWork<TPlan extends object>(plan: TPlan): TPlan {
  processWork.add(plan);
  return plan;
}
