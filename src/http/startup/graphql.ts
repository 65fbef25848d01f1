import { postgraphile } from "postgraphile";
import { roleName } from "../../config/roles.ts";
import { type CompiledDocuments, createCompiledDocuments } from "../../graphql/compiled-documents.ts";
import { PlinthGrafserv } from "../../graphql/grafserv.ts";
import { parserOf } from "../../graphql/limits/parse-and-validate.ts";
import { explainConflicts } from "../../graphql/name-conflict.ts";
import { makePreset } from "../../graphql/preset.ts";
import { assertSchemasUsable } from "../../request/application-schemas.ts";
import { requestSettings } from "../../request/settings.ts";
import { runStatement } from "../../request/transaction.ts";
import type { Connections } from "./connections.ts";
import type { ServerOptions } from "./options.ts";
import type { Services } from "./services.ts";

/** Compiling takes about as long as planning, so a document must be used this often before it is compiled. */
const USES_BEFORE_COMPILING = 3;

/**
 * Builds the GraphQL schema from the database.
 * @throws PlinthError SCHEMA_MISSING, SCHEMA_CLOSED, NAME_CONFLICT
 */
export async function createGraphql(
  { config, application, logger }: ServerOptions,
  { apiPool, errorLog }: Connections,
  { signIn, memories, checkout, roomPasswords, rateLimit }: Services,
  stack: AsyncDisposableStack,
): Promise<{ serv: PlinthGrafserv; compiled: CompiledDocuments | undefined }> {
  await assertSchemasUsable(apiPool, application?.schemas ?? [], roleName(config.rolePrefix, "user"));
  const pgl = postgraphile(
    makePreset({
      pool: apiPool,
      config,
      application,
      logger,
      signIn,
      memories,
      checkout,
      roomPasswords,
      onPlan: ({ clientIp }, fields) => rateLimit.chargePlanning(clientIp, fields),
      onUnforeseen: errorLog.record,
    }),
  );
  stack.defer(() => pgl.release());
  const serv = pgl.createServ((parts) => new PlinthGrafserv(parts));
  const schema = await explainConflicts(application ?? {}, async () => pgl.getSchema());
  await serv.ready();
  const { rolePrefix, limits, http } = config;
  const { statementTimeoutMs } = config.pool;
  const compiled = createCompiledDocuments({
    schema,
    parseAndValidate: parserOf(schema, limits, http),
    limits,
    settingsFor: (request) => requestSettings(request, { rolePrefix, statementTimeoutMs, readOnly: true }),
    send: (settings, statement) => runStatement(apiPool, settings, statement),
    onPlan: ({ clientIp }, fields) => rateLimit.chargePlanning(clientIp, fields),
    logger,
    usesBefore: http.compiledDocuments === "always" ? 0 : USES_BEFORE_COMPILING,
  });
  return { serv, compiled: http.compiledDocuments === "never" ? undefined : compiled };
}
