import "graphile-build-pg";
import type { PgResource } from "@dataplan/pg";

/** The column that ties a row to its owner in composite foreign keys, see `_getBaseNameFromKeys`. */
const OWNER_COLUMN = "user_id";

/**
 * Names as a GraphQL user expects them, see docs/api.md#names: a column `id` stays `id`, the Relay id is `nodeId`, and no name
 * starts with its PostgreSQL schema, since table names are unique across Plinth's schemas. Relations say no more than is needed to
 * tell them apart: `User.sessions`, `SubscriptionPlan.payments`.
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
      singleRelation(previous, _options, details) {
        return shortRelation(previous!(details), details, this._singularizedCodecName(details.codec));
      },
      singleRelationBackwards(previous, _options, details) {
        return shortRelation(previous!(details), details, this._singularizedCodecName(details.codec));
      },
      manyRelationConnection(previous, _options, details) {
        return shortRelation(previous!(details), details, this._singularizedCodecName(details.codec));
      },
      // An argument that sets a column of the returned row has the column's name.
      argument(previous, _options, details) {
        const { param, resource } = details;
        const attributeName = param.name ?? "";
        const { codec } = resource as PgResource;
        return codec.attributes?.[attributeName]?.extensions?.tags?.name
          ? this.attribute({ attributeName, codec: codec as never })
          : previous!(details);
      },
    },
  },
};

/**
 * Drops the column (`paymentsByPlanId`), unless it tells two relations to the same type apart or names the user's act
 * (`promptVersionsByCreatedBy`), and the name of the type that has the field (`User.userSessions`). Names by smart tags stay.
 */
function shortRelation(
  name: string,
  { registry, codec, relationName }: GraphileBuild.PgRelationsPluginRelationDetails,
  owner: string,
): string {
  const relations = registry.pgRelations[codec.name]!;
  const relation = relations[relationName]!;
  const { fieldName, foreignFieldName } = relation.extensions?.tags ?? {};
  if (relation.isReferencee ? foreignFieldName : fieldName) return name;
  const alike = Object.values(relations).filter(
    (each) =>
      each.remoteResource.codec === relation.remoteResource.codec &&
      Boolean(each.isReferencee) === Boolean(relation.isReferencee),
  );
  const columns = relation.isReferencee ? relation.remoteAttributes : relation.localAttributes;
  const isAct = columns.some((column) => String(column).endsWith("_by"));
  const short = alike.length === 1 && !isAct ? name.replace(/By[A-Z]\w*$/, "") : name;
  return relation.isReferencee ? withoutOwner(short, owner) : short;
}

/** @param owner the type in the spelling of SQL, such as token_hold for `tokenHoldAllocations` */
function withoutOwner(name: string, owner: string): string {
  const prefix = owner.replaceAll("_", "").toLowerCase();
  const rest = name.slice(prefix.length);
  return name.toLowerCase().startsWith(prefix) && /^[A-Z]/.test(rest)
    ? rest.charAt(0).toLowerCase() + rest.slice(1)
    : name;
}
