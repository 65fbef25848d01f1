import type { SubscribePayload } from "graphql-ws";
import { hookArgs } from "postgraphile/grafast";
import { parseGraphQLJSONBody } from "postgraphile/grafserv";
import { type ExecutionArgs, GraphQLError, getOperationAST } from "postgraphile/graphql";
import type { PlinthGrafserv } from "../../graphql/grafserv.ts";
import type { Subscriber } from "../../live/batch-groups.ts";
import type { OpenSubscription } from "../../live/index.ts";
import { watchContext } from "../../live/personal-context.ts";
import type { RequestContext } from "../../request/context.ts";
import type { Statement, TransactionSettings } from "../../request/transaction.ts";

export interface PreparedOperation {
  readonly args: ExecutionArgs;
  readonly isSubscription: boolean;
  readonly subscriber: Subscriber;
}

/** Prepares an operation like grafserv does for its own sockets, with the verified request instead of connection parameters. */
export async function prepareOperation(
  serv: PlinthGrafserv,
  request: RequestContext,
  payload: SubscribePayload,
): Promise<PreparedOperation | readonly GraphQLError[]> {
  const requestContext = { plinth: request };
  const { schema, parseAndValidate, resolvedPreset, execute, subscribe, contextValue } =
    await serv.getExecutionConfig(requestContext);
  const { query, operationName, variableValues } = parseGraphQLJSONBody(payload as never);
  if (typeof query !== "string")
    return [new GraphQLError("`query` must be a string.", { extensions: { code: "BAD_REQUEST" } })];
  const { errors, document } = parseAndValidate(query);
  if (errors) return errors;
  const args: object = {
    execute,
    subscribe,
    schema,
    document,
    rootValue: null,
    contextValue,
    variableValues,
    operationName,
    resolvedPreset,
    requestContext,
  };
  await hookArgs(args as Parameters<typeof hookArgs>[0]);
  const isSubscription =
    getOperationAST(document, operationName as string | undefined)?.operation === "subscription";
  const subscriber = {
    operation: JSON.stringify([query, operationName, variableValues]),
    settings: (contextValue as unknown as Grafast.Context).pgSettings as TransactionSettings,
  };
  return { args: args as ExecutionArgs, isSubscription, subscriber };
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
