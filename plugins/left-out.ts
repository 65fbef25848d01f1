import "graphile-build-pg";

/**
 * Treats the tables, views and functions of modules that are left out like those of the schema `private`, which the API does not
 * know: they have no types, fields or relations, whatever refers to them.
 */
export const LeftOutPlugin: GraphileConfig.Plugin = {
  name: "PlinthLeftOutPlugin",
  version: "1.0.0",
  description: "Hides the tables and functions of modules that are left out",
  gather: {
    hooks: {
      pgIntrospection_introspection: {
        // Smart tags name tables by their own schema.
        after: ["PgFakeConstraintsPlugin"],
        callback(info, { introspection }) {
          const isLeftOut = info.resolvedPreset.plinth?.isLeftOut;
          const hidden = introspection.getNamespace({ name: "private" });
          if (!isLeftOut || !hidden) return;
          for (const table of introspection.classes) {
            if (!isLeftOut(table.getNamespace()?.nspname ?? "", table.relname)) continue;
            table.relnamespace = hidden._id;
            table.getNamespace = () => hidden;
          }
          for (const procedure of introspection.procs) {
            if (!isLeftOut(procedure.getNamespace()?.nspname ?? "", procedure.proname)) continue;
            procedure.pronamespace = hidden._id;
            procedure.getNamespace = () => hidden;
          }
        },
      },
    },
  },
};
