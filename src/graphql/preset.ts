import "./graphile-env.ts";
import "postgraphile";
import { PgSimplifyInflectionPreset } from "@graphile/simplify-inflection";
import type { Pool } from "pg";
import type { Logger } from "pino";
import { getOperationAST } from "postgraphile/graphql";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { PostGraphileConnectionFilterPreset } from "postgraphile-plugin-connection-filter";
import { PLUGINS } from "../../plugins/index.ts";
import type { ConversationMemories } from "../accounts/conversation-memory/conversation-memories.ts";
import type { RoomPasswords } from "../accounts/room-passwords.ts";
import type { SignIn } from "../accounts/sign-in/index.ts";
import type { Config } from "../config/config.ts";
import { roleName } from "../config/roles.ts";
import type { Checkout } from "../payments/checkout.ts";
import { ConstraintFields } from "../request/constraint-fields.ts";
import { contextWithoutRequest, type RequestContext } from "../request/context.ts";
import type { UnforeseenError } from "../request/error-log.ts";
import { requestSettings } from "../request/settings.ts";
import { makeMaskError } from "./mask-error.ts";
import { makePlinthPgService } from "./pg-service.ts";

/** Schemas the API is generated from. `plinth` holds only helpers, `analytics` is for SQL tools, `private` for nobody. */
export const API_SCHEMAS = ["identity", "access", "billing", "llm", "rooms", "learning", "security"] as const;

export const GRAPHQL_PATH = "/graphql";
export const GRAPHIQL_PATH = "/graphiql";
/** With a slash at its end: grafserv takes it for a prefix. */
const GRAPHIQL_STATIC_PATH = "/graphiql/static/";

/** Planning is pure CPU work; a plan is made once per document and kept. */
const PLANNING_TIMEOUT_MS = 2_000;

export interface PresetOptions {
  /** Connections as the authenticator role, made by `createPool`. */
  readonly pool: Pool;
  readonly config: Pick<Config, "rolePrefix" | "limits" | "pool"> & {
    readonly http: Pick<Config["http"], "bodyLimitBytes" | "graphiql" | "introspection">;
  };
  readonly logger: Logger;
  /** Without it register, login, refresh and changePassword answer UNAVAILABLE. */
  readonly signIn?: SignIn | undefined;
  /** Told about errors that became INTERNAL. */
  readonly onUnforeseen?: ((error: UnforeseenError) => void) | undefined;
  /** Without it conversation memories answer UNAVAILABLE. */
  readonly memories?: ConversationMemories | undefined;
  /** Without it createCheckout and createBillingPortal answer UNAVAILABLE. */
  readonly checkout?: Checkout | undefined;
  /** Without it passwords of rooms answer UNAVAILABLE. */
  readonly roomPasswords?: RoomPasswords | undefined;
  /** Told whose request took the work of planning an operation with so many fields. */
  readonly onPlan?: ((request: RequestContext, fields: number) => void) | undefined;
}

/**
 * Everything that makes PostGraphile Plinth's API, for `postgraphile()` and `makeSchema()`. Whoever serves it puts the
 * verified `RequestContext` of each request into `requestContext.plinth`; without one, a visitor asks.
 */
export function makePreset(options: PresetOptions): GraphileConfig.Preset {
  const { pool, config, logger, signIn, memories, checkout, roomPasswords, onPlan, onUnforeseen } = options;
  const { rolePrefix, limits, http } = config;
  const { statementTimeoutMs } = config.pool;
  const constraints = new ConstraintFields();
  const settings = { rolePrefix, statementTimeoutMs };

  return {
    extends: [PostGraphileAmberPreset, PgSimplifyInflectionPreset, PostGraphileConnectionFilterPreset],
    plugins: [...PLUGINS],
    plinth: { limits, introspection: http.introspection },
    pgServices: [makePlinthPgService({ pool, schemas: API_SCHEMAS })],
    gather: {
      // An argument without a default has to be given.
      pgStrictFunctions: true,
    },
    schema: {
      // Otherwise a conflict of names is logged and one of the two fields is missing.
      dontSwallowErrors: true,
      // Plain lists have neither cursors nor a total.
      defaultBehavior: "connection -list",
      // Clients write filters with variables, and leave one unset where there is nothing to filter by.
      connectionFilterAllowNullInput: true,
      connectionFilterAllowEmptyObjectInput: true,
      plinthConstraints: constraints,
      plinthPageSize: limits.pageSize,
    },
    grafserv: {
      graphqlPath: GRAPHQL_PATH,
      graphqlOverGET: false,
      graphiql: http.graphiql,
      graphiqlPath: GRAPHIQL_PATH,
      graphiqlStaticPath: GRAPHIQL_STATIC_PATH,
      graphiqlOnGraphQLGET: false,
      watch: false,
      websockets: false,
      maxRequestLength: http.bodyLimitBytes,
      maskError: makeMaskError({
        logger,
        constraints,
        anonymousRole: roleName(rolePrefix, "anonymous"),
        onUnforeseen,
      }),
    },
    grafast: {
      explain: false,
      timeouts: {
        planning: PLANNING_TIMEOUT_MS,
        execution: statementTimeoutMs + config.pool.connectionTimeoutMs,
      },
      // Must not throw: over HTTP that would be a 500. Tokens are verified before grafserv sees the request.
      context(requestContext, args) {
        const request = requestContext.plinth ?? contextWithoutRequest();
        const operation = getOperationAST(args.document, args.operationName)?.operation;
        return {
          pgSettings: requestSettings(request, { ...settings, readOnly: operation !== "mutation" }),
          plinth: {
            request,
            signIn,
            memories,
            checkout,
            roomPasswords,
            onPlan: (fields) => onPlan?.(request, fields),
            settingsOf: ({ userId, sessionId }) =>
              requestSettings(
                { ...request, claims: { userId, sessionId } },
                { ...settings, readOnly: false },
              ),
          },
        };
      },
    },
  };
}
