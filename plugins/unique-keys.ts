import "postgraphile";
import type { PgResourceUnique } from "postgraphile/@dataplan/pg";

/**
 * Rows are changed by their primary key only. Another unique key remains a lookup if it is one column, such as a name (a user by
 * `username`, an item by `slug`); for several columns there is `filter`. A key that contains the whole primary key exists only as
 * the target of foreign keys.
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
            if (unique.isPrimary) return behavior;
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
