import { pino } from "pino";
import { makeSchema } from "postgraphile";
import type { PgResource } from "postgraphile/@dataplan/pg";
import { type GraphQLObjectType, type GraphQLSchema, getNamedType, isLeafType } from "postgraphile/graphql";
import { loadConfig } from "../../src/config/config.ts";
import { makePreset } from "../../src/graphql/preset.ts";
import { createPool } from "../../src/request/pool.ts";
import type { TestDatabase } from "./database.ts";
import { PATIENT_POOL } from "./patient-pool.ts";

export type Kind = "list" | "lookup" | "create" | "update" | "delete";

/** A root field that PostGraphile generates from a table or view. */
export interface GeneratedField {
  readonly name: string;
  readonly kind: Kind;
  /** `schema.name` of the table or view. */
  readonly relation: string;
  /** Type of the row. */
  readonly type: GraphQLObjectType;
  /** Columns by their GraphQL names, also those that the type does not show. */
  readonly columns: ReadonlyMap<string, string>;
  /** Names of the row type's fields that are columns with a scalar value. */
  readonly scalars: readonly string[];
}

export interface Surface {
  readonly schema: GraphQLSchema;
  readonly generated: readonly GeneratedField[];
}

interface Found {
  readonly name: string;
  readonly kind: Kind;
  readonly resource: PgResource;
}

/** Builds the API's schema and notes what PostGraphile generates a root field from. */
export async function readSurface(db: TestDatabase): Promise<Surface> {
  const config = { ...loadConfig({}), rolePrefix: db.rolePrefix };
  const pool = createPool({
    url: db.url("authenticator"),
    applicationName: "plinth tests",
    max: 1,
    settings: PATIENT_POOL,
    onError: () => {},
  });
  const found: Found[] = [];
  const nameOf = new Map<PgResource, { type: string; columns: Map<string, string> }>();
  const noting: GraphileConfig.Plugin = {
    name: "PlinthTestNotingPlugin",
    version: "1.0.0",
    schema: {
      hooks: {
        GraphQLObjectType_fields_field(field, build, { scope }) {
          const kind = kindOf(scope);
          const { pgFieldResource: resource, fieldName: name } = scope as Partial<typeof scope> & {
            pgFieldResource?: PgResource;
          };
          if (!kind || !resource || !name) return field;
          found.push({ name, kind, resource });
          const { codec } = resource;
          const columns = Object.keys(codec.attributes ?? {}).map(
            (column) => [build.inflection.attribute({ attributeName: column, codec }), column] as const,
          );
          nameOf.set(resource, { type: build.inflection.tableType(codec), columns: new Map(columns) });
          return field;
        },
      },
    },
  };
  try {
    const preset = makePreset({ pool, config, logger: pino({ level: "silent" }) });
    const { schema } = await makeSchema({ extends: [preset], plugins: [noting] });
    // Fields are made when they are first asked for.
    for (const root of [schema.getQueryType(), schema.getMutationType()]) root!.getFields();
    const generated = found.map(({ name, kind, resource }) => {
      const { type: typeName, columns } = nameOf.get(resource)!;
      const { schemaName, name: table } = resource.codec.extensions!.pg!;
      const type = schema.getType(typeName) as GraphQLObjectType;
      const scalars = Object.values(type.getFields())
        .filter((field) => columns.has(field.name) && isLeafType(getNamedType(field.type)))
        .map((field) => field.name);
      return { name, kind, relation: `${schemaName}.${table}`, type, columns, scalars };
    });
    return { schema, generated };
  } finally {
    await pool.end();
  }
}

function kindOf(scope: GraphileBuild.ScopeObjectFieldsField): Kind | undefined {
  if (scope.isPgCreateMutation) return "create";
  if (scope.isPgUpdateMutation) return "update";
  if (scope.isPgDeleteMutation) return "delete";
  if (!scope.isRootQuery) return undefined;
  if (scope.isPgRowByUniqueConstraintField) return "lookup";
  return scope.fieldBehaviorScope === "query:resource:connection" ? "list" : undefined;
}
