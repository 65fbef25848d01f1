import "graphile-build-pg";

/**
 * Omits reading and changing rows by node id per type (`chatByNodeId`, `updateChatByNodeId` …), which duplicates the primary
 * key on every table. Clients that store node ids, such as Relay, use `node`.
 */
export const NodeIdsPlugin: GraphileConfig.Plugin = {
  name: "PlinthNodeIdsPlugin",
  version: "1.0.0",
  description: "Keeps `node` as the only field that takes a node id",
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
