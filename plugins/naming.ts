import "graphile-build-pg";

/** The column that ties a row to its owner in composite foreign keys, see `_getBaseNameFromKeys`. */
const OWNER_COLUMN = "user_id";

/**
 * Names as a GraphQL user expects them: a column `id` stays `id`, the Relay id is `nodeId`, and no name starts with
 * its PostgreSQL schema, since table names are unique across Plinth's schemas.
 */
export const NamingPlugin: GraphileConfig.Plugin = {
  name: "PlinthNamingPlugin",
  version: "1.0.0",
  description: "Keeps `id`, calls the Relay id `nodeId` and drops schema names",
  // Changes names that the other plugin creates.
  after: ["PgSimplifyInflectionPlugin"],
  inflection: {
    replace: {
      nodeIdFieldName: () => "nodeId",
      _attributeName(_previous, _options, { attributeName, codec }) {
        const name = codec.attributes[attributeName]?.extensions?.tags?.name;
        return this.coerceToGraphQLName(typeof name === "string" ? name : attributeName);
      },
      _schemaPrefix: () => "",
      // A foreign key (chat_id, user_id) is a relation to the chat: Message.chat and Chat.messages.
      _getBaseNameFromKeys(previous, _options, keys) {
        const others = keys.filter(({ attributeName }) => attributeName !== OWNER_COLUMN);
        return previous!(others.length > 0 ? others : keys);
      },
    },
  },
};
