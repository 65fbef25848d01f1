import "graphile-build-pg";
import type { PgAttribute, PgClass } from "pg-introspection";
import type { ConstraintColumns, ConstraintFields, RenamedColumn } from "../src/request/constraint-fields.ts";

declare global {
  namespace GraphileBuild {
    interface SchemaOptions {
      /** Filled with the columns behind every constraint, for the error mask. */
      plinthConstraints?: ConstraintFields;
    }
    interface BuildInput {
      plinthConstraintColumns?: ConstraintColumns[];
      plinthRenamedColumns?: RenamedColumn[];
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

/** Names in the API, which a smart tag may change, in the spelling of SQL. */
function namesOf(attributes: readonly (PgAttribute | null)[] | undefined): string[] {
  return (attributes ?? []).flatMap((attribute) => (attribute ? apiNameOf(attribute) : []));
}

function apiNameOf(attribute: PgAttribute): string {
  const { name } = attribute.getTagsAndDescription().tags;
  return typeof name === "string" ? name : attribute.attname;
}

function renamedColumnsOf(schema: string, table: PgClass): RenamedColumn[] {
  return table
    .getAttributes()
    .map((attribute) => ({
      schema,
      table: table.relname,
      column: attribute.attname,
      field: apiNameOf(attribute),
    }))
    .filter(({ column, field }) => column !== field);
}

/**
 * A CHECK of several columns is about those that a client can change, if there are any: a bound that the row itself has, in a
 * column of its own, is not at fault.
 */
function changeableOf(attributes: PgAttribute[]): PgAttribute[] {
  const changeable = attributes.filter(({ attacl }) => attacl?.some((acl) => /=[^/]*[aw]/.test(acl)));
  return changeable.length > 0 ? changeable : attributes;
}

function constraintsOf(schema: string, table: PgClass): ConstraintColumns[] {
  return table.getConstraints().map((constraint) => {
    const all = (constraint.getAttributes() ?? []).filter((attribute) => attribute != null);
    const attributes = constraint.contype === "c" ? changeableOf(all) : all;
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
      const renamed: RenamedColumn[] = [];
      for (const { introspection } of await info.helpers.pgIntrospection.getIntrospection())
        for (const table of introspection.classes) {
          const schema = table.getNamespace()?.nspname;
          if (!schema) continue;
          columns.push(...constraintsOf(schema, table), ...uniqueIndexesOf(schema, table));
          renamed.push(...renamedColumnsOf(schema, table));
        }
      output.plinthConstraintColumns = columns;
      output.plinthRenamedColumns = renamed;
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
        for (const renamed of build.input.plinthRenamedColumns ?? [])
          plinthConstraints?.rename({ ...renamed, field: build.inflection.camelCase(renamed.field) });
        return value;
      },
    },
  },
};
