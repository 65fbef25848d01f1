import "postgraphile";
import type { ConstraintColumns, ConstraintFields } from "../src/request/constraint-fields.ts";

declare global {
  namespace GraphileBuild {
    interface SchemaOptions {
      /** Filled with the columns behind every constraint, for the error mask. */
      plinthConstraints?: ConstraintFields;
    }
    interface BuildInput {
      plinthConstraintColumns?: ConstraintColumns[];
    }
  }
}

/** Returns a column's comment without its smart tags; undefined for columns omitted from the schema. */
function publicDescription(attribute: {
  getTagsAndDescription(): { tags: Record<string, unknown>; description: string | undefined };
}): string | undefined {
  const { tags, description } = attribute.getTagsAndDescription();
  const isLeftOut = tags.omit !== undefined || String(tags.behavior).includes("-*");
  return isLeftOut ? undefined : description || undefined;
}

/** Tells the error mask which GraphQL fields each constraint and unique index of the database is about. */
export const ConstraintsPlugin: GraphileConfig.Plugin = {
  name: "PlinthConstraintsPlugin",
  version: "1.0.0",
  description: "Maps constraints to GraphQL field names",
  gather: {
    async main(output, info) {
      output.plinthConstraintColumns = [];
      for (const { introspection } of await info.helpers.pgIntrospection.getIntrospection())
        for (const table of introspection.classes) {
          const schema = table.getNamespace()?.nspname;
          if (!schema) continue;
          const names = (attributes: readonly ({ attname: string } | null)[] | undefined) =>
            (attributes ?? []).flatMap((attribute) => attribute?.attname ?? []);
          for (const constraint of table.getConstraints()) {
            const attributes = (constraint.getAttributes() ?? []).filter(Boolean);
            output.plinthConstraintColumns.push({
              schema,
              table: table.relname,
              constraint: constraint.conname,
              isForeignKey: constraint.contype === "f",
              fields: names(attributes),
              descriptions: attributes.map(publicDescription),
            });
          }
          // PostgreSQL reports a unique index without a constraint by the index name.
          for (const index of table.getIndexes())
            if (index.indisunique)
              output.plinthConstraintColumns.push({
                schema,
                table: table.relname,
                constraint: index.getIndexClass()?.relname ?? "",
                isForeignKey: false,
                fields: names(index.getKeys()),
              });
        }
    },
  },
  schema: {
    hooks: {
      init(value, build) {
        const { plinthConstraints } = build.options;
        for (const columns of build.input.plinthConstraintColumns ?? [])
          plinthConstraints?.add({
            ...columns,
            fields: columns.fields.map((column) => build.inflection.camelCase(column)),
          });
        return value;
      },
    },
  },
};
