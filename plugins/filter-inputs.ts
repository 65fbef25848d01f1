import "graphile-build-pg";

/**
 * `includes`, `startsWith`, `endsWith` and the like search for literal text, so a backslash, which LIKE uses as escape
 * character, is escaped like its wildcards. (A preset setting makes null and `{}` in a filter mean "not given".)
 */
export const FilterInputsPlugin: GraphileConfig.Plugin = {
  name: "PlinthFilterInputsPlugin",
  version: "1.0.0",
  description: "Escapes backslashes in the texts that filters search for",
  schema: {
    hooks: {
      build: {
        after: ["PgConnectionArgFilterPlugin"],
        callback(build) {
          (build as { escapeLikeWildcards?: (text: unknown) => string }).escapeLikeWildcards = (text) =>
            String(text).replace(/[\\%_]/g, "\\$&");
          return build;
        },
      },
    },
  },
};
