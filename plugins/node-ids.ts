import "postgraphile";

/**
 * Leaves out reading and changing rows by node id type by type (`chatByNodeId`, `updateChatByNodeId` …): they are one way more than
 * the primary key, on every table. Whoever keeps node ids, as Relay does, has `node`.
 */
export const NodeIdsPlugin: GraphileConfig.Plugin = {
  name: "PlinthNodeIdsPlugin",
  version: "1.0.0",
  description: "Leaves `node` as the one field that takes a node id",
  schema: {
    entityBehavior: {
      pgCodec: {
        override: {
          callback: (behavior) => [behavior, "-nodeId:resource:update", "-nodeId:resource:delete"],
        },
      },
    },
    hooks: {
      GraphQLObjectType_fields: {
        after: ["NodeAccessorPlugin"],
        callback(fields, build, { scope }) {
          if (!scope.isRootQuery) return fields;
          const accessors = new Set(
            build.getNodeTypeNames?.().map((name) => build.inflection.nodeById(name)),
          );
          return Object.fromEntries(Object.entries(fields).filter(([name]) => !accessors.has(name)));
        },
      },
    },
  },
};
