import "../support/graphile-env.ts";
import {
  AddNodeInterfaceToSuitableTypesPlugin,
  defaultPreset as graphileBuildPreset,
  MutationPayloadQueryPlugin,
  NodeAccessorPlugin,
  NodePlugin,
  QueryQueryPlugin,
  SwallowErrorsPlugin,
} from "graphile-build";
import {
  defaultPreset as graphileBuildPgPreset,
  PgAllRowsPlugin,
  PgAttributesPlugin,
  PgBasicsPlugin,
  PgCodecsPlugin,
  PgCustomTypeFieldPlugin,
  PgIntrospectionPlugin,
  PgMutationCreatePlugin,
  PgMutationPayloadEdgePlugin,
  PgMutationUpdateDeletePlugin,
  PgOrderAllAttributesPlugin,
  PgOrderByPrimaryKeyPlugin,
  PgOrderCustomFieldsPlugin,
  PgRelationsPlugin,
  PgRowByUniquePlugin,
  PgTablesPlugin,
  PgTypesPlugin,
} from "graphile-build-pg";

/**
 * PostGraphile's Amber preset. The package `postgraphile`, which exports it, also installs a code editor of 300 MB.
 * The order of the plugins is that of the fields in the schema. `test/graphql/postgraphile-preset.test.ts` compares the two.
 */
export const POSTGRAPHILE_PRESET: GraphileConfig.Preset = {
  extends: [
    {
      plugins: [
        QueryQueryPlugin,
        PgBasicsPlugin,
        PgCodecsPlugin,
        PgTypesPlugin,
        PgIntrospectionPlugin,
        PgTablesPlugin,
        AddNodeInterfaceToSuitableTypesPlugin,
        NodePlugin,
        PgAllRowsPlugin,
        PgRowByUniquePlugin,
        PgAttributesPlugin,
        MutationPayloadQueryPlugin,
        PgRelationsPlugin,
        PgMutationCreatePlugin,
        PgMutationUpdateDeletePlugin,
        PgCustomTypeFieldPlugin,
        NodeAccessorPlugin,
        PgOrderAllAttributesPlugin,
        PgOrderCustomFieldsPlugin,
        PgOrderByPrimaryKeyPlugin,
        PgMutationPayloadEdgePlugin,
      ],
    },
    graphileBuildPreset,
    graphileBuildPgPreset,
  ],
  plugins: [SwallowErrorsPlugin],
};
