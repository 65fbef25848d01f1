import { postgraphile } from "postgraphile";
import { type CompiledDocuments, createCompiledDocuments } from "../../graphql/compiled-documents.ts";
import { PlinthGrafserv } from "../../graphql/grafserv.ts";
import { parserOf } from "../../graphql/limits/parse-and-validate.ts";
import { makePreset } from "../../graphql/preset.ts";
import type { ConstraintFields } from "../../request/constraint-fields.ts";
import { requestSettings } from "../../request/settings.ts";
import { runStatement } from "../../request/transaction.ts";
import type { Connections } from "./connections.ts";
import type { ServerOptions } from "./options.ts";
import type { Services } from "./services.ts";

/** Compiling takes about as long as planning, so a document must be used this often before it is compiled. */
const USES_BEFORE_COMPILING = 3;

/** Builds the GraphQL schema from the database. */
export async function createGraphql(
  { config, application, logger }: ServerOptions,
  { apiPool, errorLog }: Connections,
  { signIn, memories, checkout, roomPasswords, rateLimit }: Services,
  stack: AsyncDisposableStack,
): Promise<{
  serv: PlinthGrafserv;
  compiled: CompiledDocuments | undefined;
  constraints: ConstraintFields;
}> {
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
  const schema = await pgl.getSchema();
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
  const { plinthConstraints: constraints } = pgl.getResolvedPreset().schema ?? {};
  return {
    serv,
    compiled: http.compiledDocuments === "never" ? undefined : compiled,
    constraints: constraints!,
  };
}
