import "graphile-build-pg";
import type { PgResource, PgSelectSingleStep, PgSelectStep } from "@dataplan/pg";
import { applyTransforms, context, each, type FieldArgs, lambda, listen, object, type Step } from "grafast";
import type { LiveSource } from "../../src/live/live-source.ts";
import type { Statement } from "../../src/request/transaction.ts";
import { PlinthError } from "../../src/support/errors.ts";

/** Reads one row under the subscriber's claims. */
export type ReadOne = <TRow>(statement: Statement) => Promise<TRow | undefined>;

/** Creates a source from the arguments of a subscription field; throws PlinthError for invalid arguments. */
export type SourceOf<TArguments> = (args: TArguments, readOne: ReadOne, userId: string) => LiveSource;

/** The batches of a subscription, see LiveSubscription; the field's `plan` plans each batch. */
export function liveField<TArguments>(
  names: readonly (keyof TArguments & string)[],
  sourceOf: SourceOf<TArguments>,
) {
  return (_$root: Step, args: FieldArgs): Step => {
    const $arguments = object(Object.fromEntries(names.map((name) => [name, args.getRaw(name)])));
    const $starter = lambda(context(), ({ live }) => {
      if (!live) throw new PlinthError("BAD_USER_INPUT", "Subscribe over WebSocket.");
      const { subscription, userId } = live;
      if (userId === undefined) throw new PlinthError("UNAUTHENTICATED", "You must be signed in.");
      const readOne: ReadOne = async <TRow>(statement: Statement) =>
        (await live.read<TRow>(statement)).rows[0];
      return { subscribe: (asked: TArguments) => subscription.start(sourceOf(asked, readOne, userId)) };
    });
    return listen($starter as never, $arguments as never);
  };
}

/** A table or view by its name in `pgResources`. */
export function resourceOf(build: GraphileBuild.Build, name: string): PgResource {
  const resource = (build.pgResources as Readonly<Record<string, PgResource>>)[name];
  if (!resource) throw new Error(`The table or view ${name} is missing. Migrate the database.`);
  return resource;
}

/** Returns the values of an expression over all rows of a select as one list. */
export function valuesOf($rows: PgSelectStep, value: ($row: PgSelectSingleStep) => Step): Step {
  return applyTransforms(each($rows, value as never));
}
