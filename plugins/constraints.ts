import "graphile-build-pg";
import type { PgClass } from "pg-introspection";
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

function namesOf(attributes: readonly ({ attname: string } | null)[] | undefined): string[] {
  return (attributes ?? []).flatMap((attribute) => attribute?.attname ?? []);
}

function constraintsOf(schema: string, table: PgClass): ConstraintColumns[] {
  return table.getConstraints().map((constraint) => {
    const attributes = (constraint.getAttributes() ?? []).filter(Boolean);
    return {
      schema,
      table: table.relname,
      constraint: constraint.conname,
      isForeignKey: constraint.contype === "f",
      fields: namesOf(attributes),
      descriptions: attributes.map(publicDescription),
    };
  });
}

/** PostgreSQL reports a unique index without a constraint by the index name. */
function uniqueIndexesOf(schema: string, table: PgClass): ConstraintColumns[] {
  const indexes = table.getIndexes().filter(({ indisunique }) => indisunique);
  return indexes.map((index) => ({
    schema,
    table: table.relname,
    constraint: index.getIndexClass()?.relname ?? "",
    isForeignKey: false,
    fields: namesOf(index.getKeys()),
  }));
}

/** Tells the error mask which GraphQL fields each constraint and unique index of the database is about. */
export const ConstraintsPlugin: GraphileConfig.Plugin = {
  name: "PlinthConstraintsPlugin",
  version: "1.0.0",
  description: "Maps constraints to GraphQL field names",
  gather: {
    async main(output, info) {
      const columns: ConstraintColumns[] = [];
      for (const { introspection } of await info.helpers.pgIntrospection.getIntrospection())
        for (const table of introspection.classes) {
          const schema = table.getNamespace()?.nspname;
          if (schema) columns.push(...constraintsOf(schema, table), ...uniqueIndexesOf(schema, table));
        }
      output.plinthConstraintColumns = columns;
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
