import "postgraphile";
import type { PgResource, PgSelectSingleStep, PgSelectStep } from "postgraphile/@dataplan/pg";
import {
  applyTransforms,
  context,
  each,
  type FieldArgs,
  lambda,
  listen,
  object,
  type Step,
} from "postgraphile/grafast";
import type { LiveSource } from "../../src/live/live-source.ts";
import type { Statement } from "../../src/request/transaction.ts";
import { PlinthError } from "../../src/support/errors.ts";

/** Reads one row under the subscriber's claims. */
export type ReadOne = <TRow>(statement: Statement) => Promise<TRow | undefined>;

/** Makes a source of the arguments of a subscription field; throws PlinthError for what cannot be asked. */
export type SourceOf<TArguments> = (args: TArguments, readOne: ReadOne, userId: string) => LiveSource;

/** The turns of a subscription, see LiveSubscription; each is planned by the field's `plan`. */
export function liveField<TArguments>(
  names: readonly (keyof TArguments & string)[],
  sourceOf: SourceOf<TArguments>,
) {
  return (_$root: Step, args: FieldArgs): Step => {
    const $arguments = object(Object.fromEntries(names.map((name) => [name, args.getRaw(name)])));
    const $starter = lambda(context(), ({ live }) => {
      if (!live) throw new PlinthError("BAD_USER_INPUT", "Subscribe over WebSocket.");
      const { subscription, userId } = live;
      if (userId === undefined) throw new PlinthError("UNAUTHENTICATED", "Sign in to do this.");
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
  if (!resource) throw new Error(`There is no ${name} to subscribe to; has the database been migrated?`);
  return resource;
}

/** The values of an expression over all rows of a select, as one list. */
export function valuesOf($rows: PgSelectStep, value: ($row: PgSelectSingleStep) => Step): Step {
  return applyTransforms(each($rows, value as never));
}
