import { roleName } from "../../config/roles.ts";
import { type CompiledDocuments, createCompiledDocuments } from "../../graphql/compiled-documents.ts";
import { createEngine, type GraphqlEngine } from "../../graphql/engine.ts";
import { explainConflicts } from "../../graphql/name-conflict.ts";
import { makePreset } from "../../graphql/preset.ts";
import { assertSchemasUsable } from "../../request/application-schemas.ts";
import type { ConstraintFields } from "../../request/constraint-fields.ts";
import { createReadRecorder } from "../../request/reads-of-others.ts";
import { requestSettings } from "../../request/settings.ts";
import { runStatement, type StatementResult } from "../../request/transaction.ts";
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
  { apiPool, callPrivateFunction, errorLog, replicas }: Connections,
  { signIn, conversationMemories, memories, checkout, roomPasswords, modelKeys, rateLimit }: Services,
): Promise<{
  engine: GraphqlEngine;
  compiled: CompiledDocuments | undefined;
  constraints: ConstraintFields;
}> {
  await assertSchemasUsable(apiPool, application?.schemas ?? [], roleName(config.rolePrefix, "user"));
  const recordReads = createReadRecorder(callPrivateFunction);
  const preset = makePreset({
    pool: apiPool,
    config,
    application,
    logger,
    signIn,
    conversationMemories,
    memories,
    checkout,
    roomPasswords,
    modelKeys,
    recordReads,
    onPlan: ({ clientIp }, fields) => rateLimit.chargePlanning(clientIp, fields),
    onUnforeseen: errorLog.record,
  });
  const engine = await explainConflicts(application ?? {}, () => createEngine(preset));
  const { rolePrefix, limits, http } = config;
  const { statementTimeoutMs } = config.pool;
  const compiled = createCompiledDocuments({
    schema: engine.schema,
    parseAndValidate: engine.parseAndValidate,
    limits,
    settingsFor: (request) => requestSettings(request, { rolePrefix, statementTimeoutMs, readOnly: true }),
    send(settings, statement, operation) {
      const onPrimary = () => runStatement(apiPool, settings, statement);
      if (!replicas) return onPrimary();
      return replicas.read<StatementResult<unknown>>(
        operation,
        (reads) => reads.send(settings, statement),
        onPrimary,
      );
    },
    recordReads,
    onPlan: ({ clientIp }, fields) => rateLimit.chargePlanning(clientIp, fields),
    logger,
    usesBefore: http.compiledDocuments === "always" ? 0 : USES_BEFORE_COMPILING,
  });
  const { plinthConstraints: constraints } = engine.resolvedPreset.schema ?? {};
  return {
    engine,
    compiled: http.compiledDocuments === "never" ? undefined : compiled,
    constraints: constraints!,
  };
}
