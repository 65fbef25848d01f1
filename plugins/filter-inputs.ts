import "postgraphile";

/**
 * What `includes`, `startsWith`, `endsWith` and their kin look for is a text, in which a backslash is a backslash: LIKE's own escape
 * character has to be escaped like its wildcards. (That null and `{}` in a filter mean "not given" is a setting, see the preset.)
 */
export const FilterInputsPlugin: GraphileConfig.Plugin = {
  name: "PlinthFilterInputsPlugin",
  version: "1.0.0",
  description: "Escapes backslashes in the texts that filters look for",
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
