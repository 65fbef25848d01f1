import "../support/graphile-env.ts";
import { PgSimplifyInflectionPreset } from "@graphile/simplify-inflection";
import { getOperationAST } from "graphql";
import type { Pool } from "pg";
import type { Logger } from "pino";
import { PostGraphileConnectionFilterPreset } from "postgraphile-plugin-connection-filter";
import { PLUGINS } from "../../plugins/index.ts";
import type { ConversationMemories } from "../accounts/conversation-memory/conversation-memories.ts";
import type { Memories } from "../accounts/memories/memories.ts";
import type { ModelKeys } from "../accounts/model-keys.ts";
import type { RoomPasswords } from "../accounts/room-passwords.ts";
import type { SignIn } from "../accounts/sign-in/index.ts";
import type { Application } from "../application/application.ts";
import { leftOutModules, moduleOfPlugin, moduleOfRelation, withoutModules } from "../application/modules.ts";
import type { Config } from "../config/config.ts";
import { roleName } from "../config/roles.ts";
import type { Checkout } from "../payments/checkout.ts";
import { ConstraintFields } from "../request/constraint-fields.ts";
import { contextWithoutRequest, type RequestContext } from "../request/context.ts";
import type { UnforeseenError } from "../request/error-log.ts";
import type { RecordReads } from "../request/reads-of-others.ts";
import { requestSettings } from "../request/settings.ts";
import { Snapshot } from "../request/snapshot.ts";
import { runStatement } from "../request/transaction.ts";
import { makeMaskError } from "./mask-error.ts";
import { makePlinthPgService } from "./pg-service.ts";
import { POSTGRAPHILE_PRESET } from "./postgraphile-preset.ts";

/** Schemas of the API. `plinth` holds only helpers, `analytics` is for SQL tools, `private` is not exposed. */
export const API_SCHEMAS = ["identity", "access", "billing", "llm", "rooms", "learning", "security"] as const;

export const GRAPHQL_PATH = "/graphql";
export const GRAPHIQL_PATH = "/graphiql";

/** Plugins that add a second way to say the same thing, on every table. */
const LEFT_OUT = [
  "PgConditionArgumentPlugin", // `condition`: `filter: { column: { equalTo } }` does the same and more
  "PgConditionCustomFieldsPlugin",
  "PgConnectionArgFilterBackwardRelationsPlugin", // filters on referring rows: query those rows and their parent instead
  "PgMutationPayloadEdgePlugin", // an edge of a list that the mutation does not know
];

/**
 * Planning is pure CPU work; a plan is created once per document and cached. It is timed by the clock, which goes on while the machine
 * stands still, so that a server with patience for statements has it for plans as well.
 */
const planningTimeoutMs = (statementTimeoutMs: number) => Math.max(2_000, 0.4 * statementTimeoutMs);

/** The parts that a preset needs of the server around it. */
export interface PresetOptions {
  /** Connections as the authenticator role, created by `createPool`. */
  readonly pool: Pool;
  readonly config: Pick<Config, "rolePrefix" | "limits" | "pool"> &
    Partial<Pick<Config, "modules">> & { readonly http: Pick<Config["http"], "introspection"> };
  readonly application?: Application | undefined;
  readonly logger: Logger;
  /** If omitted, register, login, refresh and changePassword return UNAVAILABLE. */
  readonly signIn?: SignIn | undefined;
  /** Called with each error that was masked as INTERNAL. */
  readonly onUnforeseen?: ((error: UnforeseenError) => void) | undefined;
  /** If omitted, conversation memories return UNAVAILABLE. */
  readonly conversationMemories?: ConversationMemories | undefined;
  /** If omitted, memories return UNAVAILABLE. */
  readonly memories?: Memories | undefined;
  /** If omitted, createCheckout and createBillingPortal return UNAVAILABLE. */
  readonly checkout?: Checkout | undefined;
  /** If omitted, room passwords return UNAVAILABLE. */
  readonly roomPasswords?: RoomPasswords | undefined;
  /** If omitted, keys of models return UNAVAILABLE. */
  readonly modelKeys?: ModelKeys | undefined;
  /** If omitted, reads of other people's data that a permission allows fail. */
  readonly recordReads?: RecordReads | undefined;
  /** Called with the request and the number of fields of each newly planned operation. */
  readonly onPlan?: ((request: RequestContext, fields: number) => void) | undefined;
}

/**
 * The complete PostGraphile preset of Plinth's API, for `makeSchema()`. The server puts the verified `RequestContext` of each
 * request into `requestContext.plinth`; without one, the caller is a visitor. It checks each document with the limits of
 * `plinth` and masks all errors with `plinth.maskError`.
 */
export function makePreset(options: PresetOptions): GraphileConfig.Preset {
  const {
    pool,
    config,
    application = {},
    logger,
    signIn,
    conversationMemories,
    memories,
    checkout,
    roomPasswords,
    modelKeys,
    recordReads,
    onPlan,
    onUnforeseen,
  } = options;
  const { rolePrefix, limits, http } = config;
  const { statementTimeoutMs } = config.pool;
  const constraints = new ConstraintFields();
  const leftOut = leftOutModules(application.modules ?? config.modules);
  const settingsFor = (request: Parameters<typeof requestSettings>[0], readOnly: boolean) =>
    requestSettings(request, { rolePrefix, statementTimeoutMs, readOnly });

  return {
    extends: [POSTGRAPHILE_PRESET, PgSimplifyInflectionPreset, PostGraphileConnectionFilterPreset],
    plugins: [
      ...withoutModules(leftOut, PLUGINS, ({ name }) => moduleOfPlugin(name)),
      ...(application.plugins ?? []),
    ],
    disablePlugins: LEFT_OUT,
    plinth: {
      limits,
      introspection: http.introspection,
      maskError: makeMaskError({
        logger,
        constraints,
        anonymousRole: roleName(rolePrefix, "anonymous"),
        onUnforeseen,
      }),
      isLeftOut(schema, name) {
        const module = moduleOfRelation(schema, name);
        return module !== undefined && leftOut.has(module);
      },
    },
    pgServices: [makePlinthPgService({ pool, schemas: [...API_SCHEMAS, ...(application.schemas ?? [])] })],
    gather: {
      // Arguments without a default are required.
      pgStrictFunctions: true,
    },
    schema: {
      // Otherwise a name conflict is only logged and one of the two fields is missing.
      dontSwallowErrors: true,
      // Plain lists have neither cursors nor a total.
      defaultBehavior: "connection -list",
      // Clients write filters with variables and leave a variable unset to skip a filter.
      connectionFilterAllowNullInput: true,
      connectionFilterAllowEmptyObjectInput: true,
      plinthConstraints: constraints,
      plinthPageSize: limits.pageSize,
      plinthSendAlone: (settings, statement) => runStatement(pool, settings, statement),
    },
    grafast: {
      explain: false,
      timeouts: {
        planning: planningTimeoutMs(statementTimeoutMs),
        execution: statementTimeoutMs + config.pool.connectionTimeoutMs,
      },
      // Must not throw, because over HTTP that would be a 500. Tokens are verified before.
      context(requestContext, args) {
        const request = requestContext.plinth ?? contextWithoutRequest();
        const reads = requestContext.plinthReads;
        const operation = getOperationAST(args.document, args.operationName)?.operation;
        return {
          pgSettings: settingsFor(request, operation !== "mutation"),
          plinth: {
            request,
            signIn,
            conversationMemories,
            memories,
            checkout,
            roomPasswords,
            modelKeys,
            recordReads,
            onPlan: (fields) => onPlan?.(request, fields),
            openSnapshot: (settings) => reads?.openSnapshot(settings) ?? new Snapshot(pool, settings),
            sendToReplica: reads?.send,
            settingsOf: ({ userId, sessionId }) =>
              settingsFor({ ...request, claims: { userId, sessionId } }, false),
          },
        };
      },
    },
  };
}
