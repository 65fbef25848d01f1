import "postgraphile";
import type { PgResourceUnique } from "postgraphile/@dataplan/pg";

/**
 * One way to change a row: by its primary key. Another unique key stays a lookup where it is one column, as a name is (a user
 * by `username`, an item by `slug`); for several columns there is `filter`. A key that holds the whole primary key exists only
 * for foreign keys to point at.
 */
export const UniqueKeysPlugin: GraphileConfig.Plugin = {
  name: "PlinthUniqueKeysPlugin",
  version: "1.0.0",
  description: "Leaves out lookups and mutations by unique keys that nobody needs",
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
