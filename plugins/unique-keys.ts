import "graphile-build-pg";
import { type PgResource, type PgResourceUnique, TYPES } from "@dataplan/pg";

/**
 * Rows are changed by their primary key only. A lookup takes one column, an id or a name (a user by `username`, an item by
 * `slug`); for several columns there are relations and `filter`. The boolean key of a table of one row is nothing to look up.
 * A key that contains the whole primary key exists only as the target of foreign keys.
 */
export const UniqueKeysPlugin: GraphileConfig.Plugin = {
  name: "PlinthUniqueKeysPlugin",
  version: "1.0.0",
  description: "Omits unneeded lookups and mutations by unique keys",
  schema: {
    entityBehavior: {
      pgResourceUnique: {
        override: {
          callback(behavior, [resource, unique]) {
            if (unique.isPrimary)
              return isLookup(resource, unique) ? behavior : [behavior, "-query:resource:single"];
            const uniques: readonly PgResourceUnique[] = resource.uniques;
            const primaryKey = uniques.find(({ isPrimary }) => isPrimary)?.attributes ?? [];
            const isTechnical =
              primaryKey.length > 0 && primaryKey.every((attribute) => unique.attributes.includes(attribute));
            return isTechnical || unique.attributes.length > 1
              ? [behavior, "-*"]
              : [behavior, "-constraint:resource:update", "-constraint:resource:delete"];
          },
        },
      },
    },
  },
};

function isLookup({ codec }: PgResource, { attributes }: PgResourceUnique): boolean {
  const [column, ...others] = attributes;
  return others.length === 0 && codec.attributes?.[column!]?.codec !== TYPES.boolean;
}
