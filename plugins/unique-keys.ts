import "postgraphile";
import type { PgResourceUnique } from "postgraphile/@dataplan/pg";

/**
 * Rows are changed by their primary key only. Other unique keys remain lookups (a model by provider and name), unless they
 * contain the whole primary key and exist only as targets of foreign keys.
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
            return isTechnical
              ? [behavior, "-*"]
              : [behavior, "-constraint:resource:update", "-constraint:resource:delete"];
          },
        },
      },
    },
  },
};
