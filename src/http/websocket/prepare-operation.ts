import { hookArgs } from "grafast";
import { type ExecutionArgs, GraphQLError, getOperationAST } from "graphql";
import type { SubscribePayload } from "graphql-ws";
import type { GraphqlEngine } from "../../graphql/engine.ts";
import type { Subscriber } from "../../live/batch-groups.ts";
import type { OpenSubscription } from "../../live/index.ts";
import { watchContext } from "../../live/personal-context.ts";
import type { RequestContext } from "../../request/context.ts";
import type { Statement, TransactionSettings } from "../../request/transaction.ts";

export interface PreparedOperation {
  readonly args: ExecutionArgs;
  readonly isSubscription: boolean;
  readonly type: string;
  readonly subscriber: Subscriber;
}

/** Prepares an operation with the verified request of its socket. */
export async function prepareOperation(
  engine: GraphqlEngine,
  request: RequestContext,
  payload: SubscribePayload,
): Promise<PreparedOperation | readonly GraphQLError[]> {
  const { schema, parseAndValidate, resolvedPreset } = engine;
  const { query, operationName, variables } = payload;
  const contextValue = Object.create(null);
  if (typeof query !== "string")
    return [new GraphQLError("`query` must be a string.", { extensions: { code: "BAD_REQUEST" } })];
  const { errors, document } = parseAndValidate(query);
  if (errors) return errors;
  const args: object = {
    schema,
    document,
    rootValue: null,
    contextValue,
    variableValues: variables ?? undefined,
    operationName: operationName ?? undefined,
    resolvedPreset,
    requestContext: { plinth: request },
  };
  await hookArgs(args as Parameters<typeof hookArgs>[0]);
  const type = getOperationAST(document, operationName)?.operation ?? "unknown";
  const subscriber = {
    operation: JSON.stringify([query, operationName, variables]),
    settings: (contextValue as Grafast.Context).pgSettings as TransactionSettings,
  };
  return { args: args as ExecutionArgs, isSubscription: type === "subscription", type, subscriber };
}

/**
 * Turns an operation into a live one: its plans find the subscription in the context, its reads are pipelined with those of
 * others, and only its planning has a timeout. (Grafast measures execution time from the start of the operation, so every
 * later answer would exceed it. Each statement has its own timeout.)
 */
export function makeLive(args: ExecutionArgs, { subscription, member }: OpenSubscription): ExecutionArgs {
  const liveArgs = args as ExecutionArgs & { resolvedPreset: GraphileConfig.ResolvedPreset };
  const context = args.contextValue as Grafast.Context;
  const client = { query: (statement: Statement) => member.read(statement) };
  const live = {
    subscription,
    userId: context.plinth.request.claims?.userId,
    read: <TRow>(statement: Statement) => member.readAlone<TRow>(statement),
  };
  const withPgClient = Object.assign(
    async (_settings: unknown, callback: (reader: typeof client) => unknown) => callback(client),
    { send: (_settings: unknown, statement: Statement) => member.read(statement) },
  );
  return {
    ...liveArgs,
    contextValue: watchContext(context, { live, withPgClient: withPgClient as never }, () =>
      member.optOutOfSharing(),
    ),
    resolvedPreset: withoutExecutionTimeout(liveArgs.resolvedPreset),
  } as ExecutionArgs;
}

const presets = new WeakMap<GraphileConfig.ResolvedPreset, GraphileConfig.ResolvedPreset>();

function withoutExecutionTimeout(preset: GraphileConfig.ResolvedPreset): GraphileConfig.ResolvedPreset {
  const known = presets.get(preset);
  if (known) return known;
  const { planning } = preset.grafast?.timeouts ?? {};
  const timeouts = planning === undefined ? {} : { planning };
  const livePreset = { ...preset, grafast: { ...preset.grafast, timeouts } };
  presets.set(preset, livePreset);
  return livePreset;
}
