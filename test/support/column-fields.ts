import { pino } from "pino";
import { makeSchema } from "postgraphile";
import type { PgCodec } from "postgraphile/@dataplan/pg";
import type { GraphQLInputType, GraphQLOutputType, GraphQLSchema } from "postgraphile/graphql";
import { loadConfig } from "../../src/config/config.ts";
import { makePreset } from "../../src/graphql/preset.ts";
import { createPool } from "../../src/request/pool.ts";
import type { TestDatabase } from "./database.ts";

/** A field of a type or an input that is a column. */
export interface ColumnField {
  /** `schema.table.column` */
  readonly path: string;
  /** `Type.field` */
  readonly place: string;
  readonly type: GraphQLOutputType | GraphQLInputType;
}

interface ColumnScope {
  readonly pgCodec?: PgCodec;
  readonly pgFieldAttribute?: object;
  readonly pgAttribute?: object;
  readonly fieldName?: string;
}

/** Builds the API's schema and notes which of its fields are columns. */
export async function readColumnFields(
  db: TestDatabase,
): Promise<{ schema: GraphQLSchema; fields: readonly ColumnField[] }> {
  const config = { ...loadConfig({}), rolePrefix: db.rolePrefix };
  const pool = createPool({
    url: db.url("authenticator"),
    applicationName: "plinth tests",
    max: 1,
    settings: config.pool,
    onError: () => {},
  });
  const fields: ColumnField[] = [];
  const note = <T extends { type: GraphQLOutputType | GraphQLInputType }>(
    field: T,
    scope: ColumnScope,
    typeName: string,
  ): T => {
    const attribute = scope.pgFieldAttribute ?? scope.pgAttribute;
    const { schemaName, name } = scope.pgCodec?.extensions?.pg ?? {};
    const [column] =
      Object.entries(scope.pgCodec?.attributes ?? {}).find(([, each]) => each === attribute) ?? [];
    // A filter of a column has its operators as type.
    if (attribute && column && !String(field.type).endsWith("Filter"))
      fields.push({
        path: `${schemaName}.${name}.${column}`,
        place: `${typeName}.${scope.fieldName}`,
        type: field.type,
      });
    return field;
  };
  const noting: GraphileConfig.Plugin = {
    name: "PlinthTestColumnFieldsPlugin",
    version: "1.0.0",
    schema: {
      hooks: {
        GraphQLObjectType_fields_field: (field, _build, { scope, Self }) =>
          note(field, scope as ColumnScope, Self.name),
        GraphQLInputObjectType_fields_field: (field, _build, { scope, Self }) =>
          note(field, scope as ColumnScope, Self.name),
      },
    },
  };
  try {
    const preset = makePreset({ pool, config, logger: pino({ level: "silent" }) });
    const { schema } = await makeSchema({ extends: [preset], plugins: [noting] });
    // Fields are made when they are first asked for.
    for (const type of Object.values(schema.getTypeMap()))
      if ("getFields" in type) (type as { getFields(): object }).getFields();
    return { schema, fields };
  } finally {
    await pool.end();
  }
}
