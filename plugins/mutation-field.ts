import "postgraphile";
import { context, type FieldPlanResolver, type Step, sideEffect } from "postgraphile/grafast";

const processWork = new WeakSet<object>();

/** Whether a plan was made here, so that its work is done by this process and not by one SQL statement. */
export function isProcessWork(plan: FieldPlanResolver | undefined): boolean {
  return plan !== undefined && processWork.has(plan);
}

/**
 * The plan of a mutation whose work this process does. A side effect of its own and not one with a database client: that
 * would hold a transaction while passwords are hashed or another server thinks.
 */
export function mutationField<TInput, TResult>(
  work: (input: TInput, context: Grafast.Context) => Promise<TResult>,
) {
  return asProcessWork(
    (_$root: Step, args: { getRaw(path: string): Step }): Step<TResult> =>
      sideEffect([args.getRaw("input"), context()], async ([input, value]) => work(input as TInput, value)),
  );
}

/** As mutationField, for a mutation that takes nothing. */
export function mutationFieldWithoutInput<TResult>(work: (context: Grafast.Context) => Promise<TResult>) {
  return asProcessWork((): Step<TResult> => sideEffect(context(), async (value) => work(value)));
}

function asProcessWork<TPlan extends object>(plan: TPlan): TPlan {
  processWork.add(plan);
  return plan;
}
